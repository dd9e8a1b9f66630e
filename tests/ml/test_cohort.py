import numpy as np
import pytest

from ml.data.cohort import Cohort, CohortError, split_by_person, split_hash
from ml.data.mri import OffGridError, grid, write_volume

HEADER = "participant_id\tage\tsex\tdiagnosis\tperson_id\n"
ROWS = "sub-1\t70\tF\tAD\tann\nsub-2\t71\tF\tAD\tann\nsub-3\tn/a\tM\tn/a\t\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "participants.tsv").write_text(HEADER + ROWS)
    (tmp_path / "ehr.csv").write_text("patient,age,female\nsub-1,70,1\nsub-3,66,0\n")
    return tmp_path


def test_a_cohort_knows_labels_persons_records_and_scans(folder):
    scan = folder / "sub-2" / "anat" / "sub-2_T1w.nii.gz"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"")

    cohort = Cohort.load(folder)

    assert cohort.ids == ("sub-1", "sub-2", "sub-3")
    assert cohort.labels == {"sub-1": 1, "sub-2": 1, "sub-3": None}
    assert cohort.persons == {"sub-1": "ann", "sub-2": "ann", "sub-3": "sub-3"}
    assert cohort.records["sub-3"].values == {"age": 66.0, "female": 0.0}
    assert cohort.ids_with_scan() == ("sub-2",)
    assert cohort.truth == {}


def test_a_folder_can_say_the_grid_of_its_scans_so_that_a_coarser_one_can_be_asked_for(folder):
    voxels = np.random.default_rng(1).random(grid(4.0).shape, dtype=np.float32)
    scan = folder / "sub-2" / "anat" / "sub-2_T1w.nii"
    scan.parent.mkdir(parents=True)
    write_volume(scan, voxels, grid(4.0), synthetic=False, description="T1")

    with pytest.raises(OffGridError):
        Cohort.load(folder).normalised_volumes(["sub-2"], grid(8.0))
    (folder / "cohort.json").write_text('{"spacing_mm": 4}')
    cohort = Cohort.load(folder)

    assert cohort.ids_with_scan() == ("sub-2",)
    assert cohort.normalised_volumes(["sub-2"], grid(8.0)).shape == (1, *grid(8.0).shape)


@pytest.mark.parametrize("said", ['{"spacing_mm": 3}', '{"spacing_mm": "fine"}', "[]", "{"])
def test_a_cohort_that_says_an_unknown_grid_is_refused(folder, said):
    (folder / "cohort.json").write_text(said)
    with pytest.raises(CohortError, match="8, 4, 2 or 1"):
        Cohort.load(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sub-1\t70\tF\tAD\t", "line 5: sub-1 is there twice"),
        ("sub-9\told\tF\tAD\t", "line 5: age"),
        ("sub-9\tnan\tF\tAD\t", "line 5: age"),
        ("sub-9\t70\tX\tAD\t", "line 5: sex"),
        ("sub-9\t70\tF\tMCI\t", "line 5: diagnosis"),
        ("../etc\t70\tF\tAD\t", "line 5: participant_id"),
    ],
)
def test_a_bad_row_is_named_with_its_line(folder, line, message):
    with (folder / "participants.tsv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CohortError, match=message):
        Cohort.load(folder)


def test_a_missing_table_is_named(folder):
    (folder / "ehr.csv").unlink()
    with pytest.raises(CohortError, match=r"no ehr\.csv"):
        Cohort.load(folder)


def test_a_missing_column_is_named(folder):
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\nsub-1\t70\tF\n")
    with pytest.raises(CohortError, match="lacks the column diagnosis"):
        Cohort.load(folder)


def test_records_of_strangers_are_refused(folder):
    with (folder / "ehr.csv").open("a") as file:
        file.write("sub-4,70,1\n")
    with pytest.raises(CohortError, match="1 patients that participants"):
        Cohort.load(folder)


def _people(count):
    return {f"sub-{number}": f"p{number}" for number in range(count)}


def test_visits_of_one_person_stay_together():
    persons = {f"sub-{number}": f"p{number // 2}" for number in range(200)}
    parts = split_by_person(persons, seed=3, fractions={"train": 0.5, "test": 0.5})
    sides = [{persons[each] for each in ids} for ids in parts.values()]
    assert not sides[0] & sides[1]
    assert sum(len(ids) for ids in parts.values()) == 200


def test_new_people_move_nobody():
    shares = {"train": 0.7, "validation": 0.1, "test": 0.2}
    before = split_by_person(_people(100), seed=1, fractions=shares)
    after = split_by_person(_people(300), seed=1, fractions=shares)
    assert all(set(before[name]) <= set(after[name]) for name in shares)


def test_the_shares_are_met_and_the_seed_matters():
    shares = {"train": 0.7, "test": 0.3}
    first = split_by_person(_people(3000), seed=1, fractions=shares)
    second = split_by_person(_people(3000), seed=2, fractions=shares)
    assert len(first["train"]) / 3000 == pytest.approx(0.7, abs=0.03)
    assert split_hash(first) != split_hash(second)


def test_the_hash_of_a_split_does_not_depend_on_the_order():
    assert split_hash({"a": ("x", "y")}) == split_hash({"a": ("y", "x")})
    assert split_hash({"a": ("x",), "b": ("y",)}) != split_hash({"a": ("y",), "b": ("x",)})


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValueError, match="sum to 1"):
        split_by_person(_people(3), seed=1, fractions={"train": 0.5, "test": 0.6})
