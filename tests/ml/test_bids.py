"""BIDS folders become cohorts, and cohorts of any source become folders that training reads."""

import shutil

import pytest

from ml.data.bids import BidsError, read_bids, write_cohort
from ml.data.cohort import Cohort, CohortError
from ml.data.mri import grid
from ml.data.oasis import read_oasis
from tests.ml.oasis_case import FAILED, LOST, write_oasis

TABLE = (
    "participant_id\tage\tsex\tdiagnosis\tscanner\tMMSE\n"
    "sub-01\t71\tF\tAD\tA\t22\n"
    "sub-02\t66\tM\tMCI\tB\tn/a\n"
    "sub-03\tn/a\tM\tCN\tB\t30\n"
)
SESSIONS = "session_id\tage\tdiagnosis\nses-M00\t71\tCN\nses-M12\t72\tn/a\n"


@pytest.fixture(scope="module")
def oasis(tmp_path_factory):
    return write_oasis(tmp_path_factory.mktemp("oasis"), people=16)


@pytest.fixture
def folder(tmp_path, oasis):
    scan = next((oasis / "volumes").iterdir())
    top = tmp_path / "bids"
    for name in (
        "sub-01/ses-M00/anat/sub-01_ses-M00_run-1_T1w.nii.gz",
        "sub-01/ses-M00/anat/sub-01_ses-M00_run-2_T1w.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scan, top / name)
    (top / "participants.tsv").write_text(TABLE)
    (top / "sub-01" / "sub-01_sessions.tsv").write_text(SESSIONS)
    return top


def test_sessions_are_participants_of_one_person(folder):
    bids = read_bids(folder)
    cohort = bids.cohort
    assert cohort.ids == ("sub-01sesM00", "sub-01sesM12", "sub-02", "sub-03")
    assert cohort.persons["sub-01sesM00"] == cohort.persons["sub-01sesM12"] == "sub-01"
    assert cohort.ids_with_scan() == ("sub-01sesM00", "sub-02")
    assert (bids.left_out, bids.further_scans) == (("scanner",), 1)


def test_a_session_speaks_before_its_person_and_a_silent_one_does_not(folder):
    cohort = read_bids(folder).cohort
    assert cohort.labels == {"sub-01sesM00": 0, "sub-01sesM12": 1, "sub-02": None, "sub-03": 0}
    assert cohort.records["sub-01sesM12"].values == {"age": 72.0, "female": 1.0, "mmse": 22.0}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("participant_id", "name", "participants.tsv lacks the column participant_id"),
        ("sub-02", "../etc", "line 3: participant_id must be"),
        ("sub-02", "sub-01", "line 3: this person is there twice"),
        ("66", "660", "line 3, column age: It is out of range"),
        ("MCI", "FTD", "line 3, column diagnosis: the diagnosis is not known"),
        ("n/a\tM", "n/a\tM\t1\t2\t3", "line 4: there are more cells than columns"),
    ],
)
def test_a_fault_is_named_with_its_place(folder, old, new, message):
    (folder / "participants.tsv").write_text(TABLE.replace(old, new, 1))
    with pytest.raises(BidsError, match=message):
        read_bids(folder)


def test_a_cohort_of_another_form_is_written_as_training_reads_it(oasis, tmp_path):
    there = read_oasis(oasis).cohort
    assert write_cohort(there, tmp_path / "cohort") == grid(8.0)
    cohort = Cohort.load(tmp_path / "cohort")
    assert cohort.labels == there.labels
    assert cohort.persons == there.persons
    assert len(cohort.ids_with_scan()) == len(there.ids) - FAILED - LOST
    written = {name for record in cohort.records.values() for name in record.values}
    assert written == {"age", "female"}
    scans = cohort.normalised_volumes(cohort.ids_with_scan()[:1], grid(8.0))
    assert (scans == there.normalised_volumes(there.ids_with_scan()[:1], grid(8.0))).all()
    with pytest.raises(CohortError, match="there already"):
        write_cohort(there, tmp_path / "cohort")
