"""ADNIMERGE and Clinica's BIDS folder, by hand: ADNI's own data cannot be had freely."""

import shutil

import pytest

from ml.data.adni import AdniError, read_adni
from ml.data.bids import write_cohort
from ml.data.cohort import Cohort, split_by_person
from tests.ml.oasis_case import write_oasis

TABLE = (
    "RID,PTID,VISCODE,SITE,DX_bl,AGE,PTGENDER,PTEDUCAT,APOE4,MMSE,MMSE_bl,DX\n"
    '3,011_S_0003,bl,11,AD,81.3,Male,18,1,20,20,"Dementia"\n'
    '3,011_S_0003,m06,11,AD,81.3,Male,18,1,24,20,"Dementia"\n'
    "4,022_S_0004,bl,22,LMCI,67.5,Female,10,0,27,27,MCI\n"
    "5,011_S_0005,bl,11,CN,73.7,Female,16,,29,29,CN\n"
    "5,011_S_0005,m12,11,CN,73.7,Female,16,,30,29,\n"
    "5,011_S_0005,sc,11,CN,73.7,Female,16,,30,29,\n"
)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return next((write_oasis(tmp_path_factory.mktemp("oasis"), people=16) / "volumes").iterdir())


@pytest.fixture
def folder(tmp_path, scan):
    top = tmp_path / "adni"
    for person, session in (
        ("sub-ADNI011S0003", "ses-M006"),
        ("sub-ADNI011S0005", "ses-M00"),
        ("sub-ADNI099S9999", "ses-M000"),
    ):
        place = top / person / session / "anat" / f"{person}_{session}_T1w.nii.gz"
        place.parent.mkdir(parents=True)
        shutil.copy(scan, place)
    (top / "ADNIMERGE.csv").write_text(TABLE)
    return top


def test_visits_and_sessions_meet_by_person_and_month(folder):
    adni = read_adni(folder)
    assert adni.cohort.ids_with_scan() == ("sub-ADNI011S0003M006", "sub-ADNI011S0005M000")
    assert adni.without_visit == ("sub-ADNI099S9999 month 0",)
    assert len(adni.cohort.ids) == 5, "a screening call is no visit"


def test_only_dementia_and_normal_are_labels(folder):
    assert read_adni(folder).cohort.labels == {
        "sub-ADNI011S0003M000": 1,
        "sub-ADNI011S0003M006": 1,
        "sub-ADNI022S0004M000": None,
        "sub-ADNI011S0005M000": 0,
        "sub-ADNI011S0005M012": None,
    }


def test_age_is_counted_on_and_what_was_measured_at_baseline_stays_there(folder):
    adni = read_adni(folder)
    assert adni.cohort.records["sub-ADNI011S0003M006"].values == {
        "age": 81.8, "female": 0.0, "education_years": 18.0, "apoe4": 1.0, "mmse": 24.0,
    }  # fmt: skip
    assert adni.left_out == ()


def test_visits_of_a_person_stay_together_in_the_folder_that_training_reads(folder, tmp_path):
    write_cohort(read_adni(folder).cohort, tmp_path / "cohort")
    cohort = Cohort.load(tmp_path / "cohort")
    assert len(cohort.ids_with_scan()) == 2
    assert "mmse" not in cohort.records["sub-ADNI011S0003M006"].values, "a near-copy of the label"
    for seed in range(5):
        parts = split_by_person(cohort.persons, seed=seed, fractions={"train": 0.7, "test": 0.3})
        sides = [{cohort.persons[each] for each in part} for part in parts.values()]
        assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PTID", "ID", "lacks the column PTID"),
        ("011_S_0003,bl", "O11-3,bl", "line 2: PTID must look like"),
        ("011_S_0003,m06", "011_S_0003,bl", "line 3: this visit is there twice"),
        ('"Dementia"', "AD?", "line 2, column DX: the diagnosis is not known"),
        (",Male,", ",Robot,", "line 2, column PTGENDER"),
    ],
)
def test_what_is_not_adnis_is_refused_with_its_line(folder, old, new, message):
    (folder / "ADNIMERGE.csv").write_text(TABLE.replace(old, new, 1))
    with pytest.raises(AdniError, match=message):
        read_adni(folder)


def test_a_folder_without_the_table_is_told_where_it_belongs(folder):
    (folder / "ADNIMERGE.csv").unlink()
    with pytest.raises(AdniError, match="beside Clinica's"):
        read_adni(folder)
