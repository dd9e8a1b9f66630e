"""Columns are matched by code, name, known export and text; a person has the last word."""

import pytest

from apps.patients.importing import services
from apps.patients.importing.deciding import ImportRefusedError
from apps.patients.importing.matching import Seen, match_table
from apps.patients.importing.plan import By, Role
from ml.concepts import dictionary
from tests.factories import CohortFactory

TWO = "PatientID,Age,GAIT_SPD,BloodGlucoseLevel\nann,71,0.9,90\nbob,68,1.1,95\n"


def match(*headers):
    return match_table([Seen("patient", ("a1",)), *(Seen(h, ()) for h in headers)])[1:]


@pytest.mark.parametrize(
    ("header", "concept", "own", "unit"),
    [
        ("8480-6", "systolic_mmhg", "", ""),
        ("LOINC 2093-3", "cholesterol_total", "", ""),
        ("loinc:6206-7", "loinc:6206-7", "", ""),
        ("I10", "hypertension", "icd10cm:I10", ""),
        ("ICD10: E11.9", "diabetes", "icd10cm:E11.9", ""),
        ("A00.0", "icd10cm:A00.0", "", ""),
        ("snomed:38341003", "hypertension", "snomed:38341003", ""),
        ("rxnorm 4637", "galantamine", "rxnorm:4637", ""),
        ("WT_LB", "weight_kg", "", "[lb_av]"),
        ("Weight (kg)", "weight_kg", "", ""),
        ("Cholesterol [mmol/L]", "cholesterol_total", "", "mmol/L"),
        ("PTGENDER", "female", "", ""),
    ],
)
def test_a_header_finds_its_concept_and_unit(header, concept, own, unit):
    [column] = match(header)

    assert (column.concept, column.own, column.unit) == (concept, own, unit)
    assert not column.needs_decision


@pytest.mark.parametrize("header", ["Q10", "V04", "8480-7", "B99X", "12-34", "Weight (furlong)"])
def test_what_only_looks_like_a_code_or_a_unit_waits_for_a_person(header):
    [column] = match(header)

    assert column.needs_decision


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("Patient Name", "name"),
        ("SSN", "record number"),
        ("ZIP code", "address"),
        ("E-mail", "phone or e-mail"),
        ("Clinical note", "free text"),
        ("Doctor in charge", "staff"),
        ("Date of death", "exact date"),
    ],
)
def test_columns_that_identify_people_are_dropped(header, kind):
    [column] = match(header)

    assert (column.role, column.hint) == (Role.DROPPED, kind)


@pytest.mark.parametrize(
    "cells",
    [
        ("jane@example.org", "joe@example.org"),
        ("+44 20 7946 0000", "020 7946 0001"),
        ("she fell in the kitchen and then called her son",),
        ("2020-01-02", "2020-03-04"),
    ],
)
def test_unknown_columns_are_dropped_by_what_they_hold(cells):
    [_, column] = match_table([Seen("patient", ("a1",)), Seen("xyz", cells)])

    assert column.role is Role.DROPPED


def test_two_columns_never_get_one_concept():
    first, second = match("Systolic BP", "8480-6")

    assert not first.needs_decision
    assert second.needs_decision
    assert "Systolic BP" in second.hint


def test_two_columns_of_one_name_never_get_one_concept_either():
    first, second, third = match("age", "AGE", "age")

    assert [c.needs_decision for c in (first, second, third)] == [False, True, True]
    assert len({c.key for c in (first, second, third)}) == 3


def test_values_of_the_first_visit_are_left_out_where_each_visit_has_its_own():
    mmse, baseline = match("MMSE", "MMSE_bl")

    assert (mmse.role, baseline.role) == (Role.FINDING, Role.IGNORED)


def test_near_copies_of_the_diagnosis_are_marked_and_kept_out_of_prediction():
    mmse, drug, age = match("MMSE", "Donepezil", "Age")

    assert (mmse.label_proximal, mmse.for_prediction) == (True, False)
    assert (drug.label_proximal, drug.for_prediction) == (True, False)
    assert (age.label_proximal, age.for_prediction) == (False, True)


def test_a_number_means_what_the_known_export_says():
    headers = [
        "PatientID",
        "Gender",
        "Ethnicity",
        "EducationLevel",
        "FunctionalAssessment",
        "MemoryComplaints",
        "DietQuality",
        "Diagnosis",
    ]
    columns = {c.header: c for c in match_table([Seen(h, ()) for h in headers])}

    assert columns["Ethnicity"].concept == "racial_group"
    assert columns["Ethnicity"].coding == {"0": 5, "1": 4, "2": 2, "3": None}
    assert columns["Diagnosis"].coding["1"] == 2


@pytest.fixture
def started(importer):
    return importer.start(TWO)


@pytest.mark.django_db
def test_what_no_name_explains_is_matched_by_meaning(importer, started):
    glucose = importer.column(started, "bloodglucoselevel")

    assert (glucose.concept, glucose.decided_by, glucose.needs_decision) == (
        "glucose",
        By.TEXT,
        False,
    )
    assert glucose.score >= 0.6


@pytest.mark.django_db
def test_a_suggestion_under_the_threshold_waits_and_shows_its_rivals(importer, started):
    speed = importer.column(started, "gaitspd")

    assert speed.needs_decision
    assert speed.score < 0.6
    assert len(speed.alternatives) == 5
    with pytest.raises(services.UndecidedError, match="GAIT_SPD"):
        importer.check(started)


@pytest.mark.django_db
def test_a_person_accepts_changes_and_ignores(importer, started):
    importer.decide(started, "gaitspd", "ignore")
    changed = importer.decide(
        started, "bloodglucoselevel", "map", concept="cholesterol_total", unit="mmol/L"
    )

    assert importer.column(started, "gaitspd").role is Role.IGNORED
    assert (changed.concept, changed.unit, changed.decided_by) == (
        "cholesterol_total",
        "mmol/L",
        By.PERSON,
    )
    assert importer.column(started, "bloodglucoselevel").codes_text == "mmol/L to mg/dL"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("nothing", {"concept": "glucose"}),
        ("gaitspd", {"concept": "no_such_concept"}),
        ("gaitspd", {"concept": "icd10cm:XYZ"}),
        ("gaitspd", {"concept": "age"}),
        ("gaitspd", {"concept": "bmi", "unit": "mmol/L"}),
        ("patientid", {"concept": "bmi"}),
    ],
)
def test_a_decision_that_cannot_be_is_refused(importer, started, key, options):
    with pytest.raises(ImportRefusedError):
        importer.decide(started, key, "map", **options)


@pytest.mark.django_db
def test_a_changed_column_takes_a_checked_import_back_to_its_columns(importer, started):
    importer.decide(started, "gaitspd", "ignore")
    importer.check(started)
    importer.decide(started, "age", "ignore")

    assert started.stage == "mapping"


@pytest.mark.django_db
def test_decisions_are_saved_in_versions_and_offered_for_the_next_such_file(importer, started):
    importer.decide(started, "gaitspd", "ignore")
    importer.check(started, save_as="Clinic export")
    later = importer.start(TWO + "carl,75,1.0,99\n")
    view = services.mapping_of(ehr_import=later)

    assert (view.template.name, view.template.version, view.to_decide) == ("Clinic export", 1, 0)
    assert view.fits == 4
    importer.check(later, save_as="Clinic export")
    assert [t.version for t in services.saved_templates(cohort=importer.cohort)] == [2, 1]


@pytest.mark.django_db
def test_a_template_can_be_left_unused_and_is_another_cohorts_secret(importer, started):
    importer.decide(started, "gaitspd", "ignore")
    importer.check(started, save_as="Clinic export")
    template = importer.cohort.mapping_templates.get()
    elsewhere = importer.start(TWO, cohort=CohortFactory())

    assert services.mapping_of(ehr_import=elsewhere).template is None
    with pytest.raises(ImportRefusedError, match="another cohort"):
        services.use_template(
            ehr_import=elsewhere, template=template, decided_by=elsewhere.requested_by
        )


@pytest.mark.django_db
def test_examples_show_cells_but_no_identifier(importer):
    ehr_import = importer.start("PatientID,Age,Name\nPAT-001234,71,Jane\nPAT-001235,95,Joe\n")
    columns = {c.header: c.examples for c in services.mapping_of(ehr_import=ehr_import).columns}

    assert columns["Age"] == ("71",)
    assert columns["Name"] == ()
    assert all("00123" not in text for text in columns["PatientID"])


def test_every_concept_can_be_chosen_by_its_name():
    assert [c.id for c in services.concept_choices(query="systolic")] == ["systolic_mmhg"]
    ids = {c.id for c in services.concept_choices(limit=1000)}
    assert {c for c in dictionary() if dictionary()[c].in_schema} <= ids
