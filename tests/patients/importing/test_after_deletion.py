"""Imports and deletions of the same people: undoing stays possible and right."""

from io import BytesIO

from django.utils import timezone

from apps.patients import deleting
from apps.patients.importing import services
from apps.patients.models import Finding, Patient

FIRST = "patient,age,weight_kg\nann,71,60\nbob,68,80\n"
SECOND = "patient,age\nann,73\n"


def delete(patient):
    deleting.delete_patient(
        patient=patient, typed=patient.pseudonym, deleted_by=patient.cohort.created_by
    )


def ages(cohort):
    return list(cohort.patients.order_by("number").values_list("number", "age_years"))


def test_an_import_is_undone_though_one_of_its_patients_was_deleted(importer):
    ehr_import = importer.through(FIRST)
    delete(importer.cohort.patients.get(number=1))

    importer.undo(ehr_import)

    assert ehr_import.stage == "undone"
    assert not Patient.objects.exists()
    assert not Finding.objects.exists()


def test_a_deleted_patient_does_not_come_back_with_the_same_file(importer):
    ehr_import = importer.through(FIRST)
    delete(importer.cohort.patients.get(number=1))

    again = services.start_import(
        cohort=importer.cohort, file=BytesIO(FIRST.encode()), name="again.csv",
        uploaded_by=importer.user, now=timezone.now(), send=False,
    )  # fmt: skip

    assert again.pk == ehr_import.pk
    assert ages(importer.cohort) == [(2, 68.0)]


def test_somebody_who_comes_with_another_file_is_a_new_patient(importer):
    importer.through(FIRST)
    delete(importer.cohort.patients.get(number=2))

    importer.through("patient,age\nbob,69\n")

    assert ages(importer.cohort) == [(1, 71.0), (3, 69.0)]


def test_lists_show_the_earlier_age_again_when_the_later_import_is_undone(importer):
    importer.through(FIRST)
    second = importer.through(SECOND)
    assert ages(importer.cohort) == [(1, 73.0), (2, 68.0)]
    assert len(importer.cohort.patients.get(number=1).recorded_ats) == 2

    importer.undo(second)

    assert ages(importer.cohort) == [(1, 71.0), (2, 68.0)]
    assert len(importer.cohort.patients.get(number=1).recorded_ats) == 1
