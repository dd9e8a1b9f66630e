"""SNOMED CT codes outside the dictionary: kept as they are, and linked once a person confirms."""

import json

import pytest

from apps.patients.importing.plan import By
from apps.patients.models import ConfirmedLink, Finding
from tests.factories import CohortFactory
from tests.patients.importing.test_fhir import ANN, SNOMED, bundle, fact

pytestmark = pytest.mark.django_db
DEPRESSION = fact("Condition", SNOMED, "310497006", "Severe depression (disorder)")
FILE = bundle(ANN, DEPRESSION)
CODE = "snomed:310497006"


def stored():
    return set(Finding.objects.values_list("concept", flat=True)) - {"age", "female"}


@pytest.fixture
def started(importer):
    return importer.start(FILE, "a.json")


def test_what_a_code_may_mean_is_only_suggested_and_the_code_goes_in_as_it_is(importer, started):
    column = importer.column(started, CODE)

    assert (column.concept, column.needs_decision, column.decided_by) == (CODE, False, By.CODE)
    assert column.alternatives[0][0] == "depression_history"
    assert "confirm" in column.hint
    importer.check(started)
    importer.commit(started)
    assert stored() == {CODE}


def test_a_confirmed_link_stores_both_and_is_known_the_next_time(importer, started):
    importer.decide(started, CODE, "map", concept="depression_history")
    later = importer.start(json.dumps(json.loads(FILE), indent=1), "b.json")
    column = importer.column(later, CODE)

    assert (column.concept, column.also_stored_as) == ("depression_history", CODE)
    assert (column.decided_by_label, column.needs_decision) == ("Confirmed link", False)
    importer.check(later)
    importer.commit(later)
    assert stored() == {"depression_history", CODE}


def test_a_link_can_be_withdrawn_by_taking_the_code_for_itself(importer, started):
    importer.decide(started, CODE, "map", concept="depression_history")
    importer.decide(started, CODE, "map", concept=CODE)

    assert not ConfirmedLink.objects.exists()
    assert importer.column(started, CODE).also_stored_as == ""


def test_a_link_is_its_cohorts_own(importer, started):
    importer.decide(started, CODE, "map", concept="depression_history")
    elsewhere = importer.start(FILE, "a.json", cohort=CohortFactory())

    assert importer.column(elsewhere, CODE).concept == CODE


def test_icd_codes_stay_by_code_and_get_no_suggestion(importer):
    icd = fact("Condition", "http://hl7.org/fhir/sid/icd-10-cm", "A00.0", "Depression")
    column = importer.column(importer.start(bundle(ANN, icd), "a.json"), "icd10cm:A00.0")

    assert (column.concept, column.alternatives) == ("icd10cm:A00.0", ())


def test_columns_of_several_codes_of_one_concept_are_all_stored(importer, values):
    importer.through("patient,E11.9,E11.65,diabetes\na1,1,0,\na2,0,0,0\n")

    assert values() == {"diabetes": 1, "icd10cm:E11.9": 1, "icd10cm:E11.65": 0}
    assert values(2)["diabetes"] == 0


def test_columns_that_contradict_each_other_about_one_concept_are_named(importer):
    ehr_import = importer.start("patient,BMI,snomed:60621009\na1,24,24\na2,24,31\n")
    importer.decide(ehr_import, "snomed60621009", "map", concept="bmi")
    importer.check(ehr_import)

    [problem] = importer.problems(ehr_import, code="contradiction").problems
    assert (problem.row, problem.column, problem.code) == (3, "BMI", "contradiction")


def test_a_saved_mapping_never_gives_one_concept_to_two_columns(importer):
    first = importer.start("patient,xq1,age\na1,90,70\n")
    importer.decide(first, "xq1", "map", concept="glucose")
    importer.check(first, save_as="Lab")
    later = importer.start("patient,xq1,age,glucose\na1,90,70,95\n")

    assert importer.column(later, "glucose").needs_decision
    assert "xq1" in importer.column(later, "glucose").hint
