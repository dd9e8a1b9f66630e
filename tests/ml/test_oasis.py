"""OASIS-1's form is read as it is handed out, on phantoms in its place; once on the real folder."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ml.data.cohort import split_by_person
from ml.data.mri import OffGridError, coarsened, grid, grid_of
from ml.data.oasis import OasisError, read_oasis
from tests.ml.oasis_case import FAILED, LOST, YOUNG, write_oasis

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "oasis1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_oasis(tmp_path_factory.mktemp("oasis"), people=24)


def change(folder, tmp_path, table, old, new):
    """A copy of the tables with one text changed, beside the same scans."""
    for name in ("oasis_cross-sectional.csv", "registration_qc.csv"):
        text = (folder / name).read_text()
        if name.startswith(table):
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / name).write_text(text)
    (tmp_path / "volumes").symlink_to(folder / "volumes")
    return tmp_path


def test_sessions_become_participants_and_two_sessions_of_a_person_stay_together(folder):
    cohort = read_oasis(folder).cohort
    assert cohort.persons["sub-OAS10000MR1"] == cohort.persons["sub-OAS10000MR2"] == "OAS1_0000"
    for seed in range(20):
        parts = split_by_person(cohort.persons, seed=seed, fractions={"a": 0.5, "b": 0.5})
        [part] = [ids for ids in parts.values() if "sub-OAS10000MR1" in ids]
        assert "sub-OAS10000MR2" in part


def test_dementia_is_a_cdr_above_0_and_an_empty_one_is_no_label(folder):
    cohort = read_oasis(folder).cohort
    assert Counter(cohort.labels.values())[None] == YOUNG + 1
    for record in cohort.records.values():
        label = cohort.labels[record.patient]
        assert label == (None if "cdr" not in record.values else int(record.values["cdr"] > 0))


def test_cells_become_concepts_in_the_units_of_the_dictionary(folder):
    values = read_oasis(folder).cohort.records["sub-OAS10015MR1"].values
    assert values["icv_mm3"] == 1_400_000
    assert values["female"] in {0.0, 1.0}
    assert values["education_level"] in {1, 2, 3, 4, 5}
    assert set(values) == {
        *("age", "female", "education_level", "socioeconomic_status"),
        *("mmse", "cdr", "brain_fraction", "icv_mm3"),
    }


def test_scans_that_were_registered_wrongly_are_refused_and_counted(folder):
    oasis = read_oasis(folder)
    assert len(oasis.refused) == FAILED
    assert len(oasis.without_scan) == LOST
    scanned = oasis.cohort.ids_with_scan()
    assert len(scanned) == len(oasis.cohort.ids) - FAILED - LOST
    assert not set(scanned) & set(oasis.refused)
    assert set(oasis.refused) <= set(oasis.cohort.records)


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("oasis", "OAS1_0003_MR1", "OAS2_0003_MR1", "line 6: ID must be a session of OASIS-1"),
        ("oasis", "OAS1_0003_MR1", "OAS1_0002_MR1", "line 6: this session is there twice"),
        ("oasis", "CDR", "CDRSOB", "lacks the column CDR"),
        ("oasis", ",0.5,", ",half,", "column CDR: It is not a number"),
        ("oasis", ",R,20,", ",R,200,", "line 2, column Age: It is out of range"),
        ("registration", "0.61", "good", "line 2: corr_mni must be a number"),
        ("registration", "0.61", "61", "line 2: corr_mni must be a number between"),
        ("registration", "OAS1_0003_MR1", "OAS1_9999_MR1", "1 of 24 scans .* lack a row"),
    ],
)
def test_a_fault_is_named_with_its_place(folder, tmp_path, table, old, new, message):
    with pytest.raises(OasisError, match=message):
        read_oasis(change(folder, tmp_path, table, old, new))


def test_a_folder_of_something_else_is_told_what_is_missing(tmp_path):
    with pytest.raises(OasisError, match=r"no oasis_cross-sectional\.csv"):
        read_oasis(tmp_path)


def test_scans_are_read_on_their_own_grid_and_never_on_a_finer_one(folder):
    cohort = read_oasis(folder).cohort
    ids = cohort.ids_with_scan()[:2]
    assert cohort.normalised_volumes(ids, grid(8.0)).shape == (2, *grid(8.0).shape)
    with pytest.raises(OffGridError, match="Choose a profile of 8 mm or coarser"):
        cohort.normalised_volumes(ids, grid(4.0))


def test_a_coarser_grid_sees_the_same_places():
    fine, coarse = grid(2.0), grid(4.0)
    x, y, z = fine.coordinates_mm()
    smooth = (x + 2 * y + 3 * z).astype(np.float32)
    inner = tuple(slice(3, -3) for _ in range(3))
    cx, cy, cz = coarse.coordinates_mm()
    seen = coarsened(smooth, fine, coarse)
    assert seen.shape == coarse.shape
    np.testing.assert_allclose(seen[inner], (cx + 2 * cy + 3 * cz)[inner], atol=0.01)


@pytest.mark.skipif(not REAL.exists(), reason="OASIS-1 is not on this machine")
def test_the_real_oasis_1_is_read():
    oasis = read_oasis(REAL)
    cohort = oasis.cohort
    assert (len(cohort.ids), len(set(cohort.persons.values()))) == (308, 292)
    assert (len(oasis.refused), len(oasis.without_scan)) == (24, 0)
    assert Counter(cohort.labels.values()) == {None: 143, 0: 95, 1: 70}
    scan = cohort.scan_path(cohort.ids_with_scan()[0])
    assert grid_of(scan) == cohort.scan_grid == grid(2.0)
