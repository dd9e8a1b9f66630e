"""What the database itself refuses, and who sees what."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.patients.models import Cohort, EhrImport, Finding, Membership, Patient
from tests.factories import (
    NOW,
    CohortFactory,
    EhrImportFactory,
    FindingFactory,
    PatientFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db


def test_a_member_sees_the_cohort_and_all_in_it_and_a_stranger_nothing():
    finding = FindingFactory()
    cohort = finding.patient.cohort
    ehr_import = EhrImportFactory(cohort=cohort)
    member, stranger = cohort.created_by, UserFactory()

    for model, row in [
        (Cohort, cohort),
        (Patient, finding.patient),
        (Finding, finding),
        (EhrImport, ehr_import),
    ]:
        assert list(model.objects.visible_to(member)) == [row]
        assert not model.objects.visible_to(stranger).exists()


@pytest.mark.parametrize(
    ("role", "may_edit"), [("owner", True), ("clinician", True), ("viewer", False)]
)
def test_a_viewer_sees_but_may_not_edit(role, may_edit):
    cohort, user = CohortFactory(), UserFactory()
    Membership.objects.create(cohort=cohort, user=user, role=role)

    assert Cohort.objects.visible_to(user).exists()
    assert Cohort.objects.editable_by(user).exists() == may_edit


def test_nobody_may_edit_an_archived_cohort():
    cohort = CohortFactory(archived_at=NOW)

    assert Cohort.objects.visible_to(cohort.created_by).exists()
    assert not Cohort.objects.editable_by(cohort.created_by).exists()


def test_an_administrator_sees_no_patients_without_being_a_member():
    PatientFactory()

    assert not Patient.objects.visible_to(UserFactory(role="admin", is_superuser=True)).exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e13])
def test_a_value_that_is_no_number_is_refused(value):
    with pytest.raises(IntegrityError), transaction.atomic():
        FindingFactory(value=value)


def test_a_value_that_is_missing_is_refused():
    with pytest.raises(IntegrityError), transaction.atomic():
        FindingFactory(value=None)


def test_a_patient_is_in_a_cohort_once():
    patient = PatientFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        PatientFactory(cohort=patient.cohort, identifier_hash=patient.identifier_hash)


def test_a_plain_identifier_is_refused_where_a_hash_belongs():
    with pytest.raises(IntegrityError), transaction.atomic():
        PatientFactory(identifier_hash="011_S_0002")


@pytest.mark.parametrize("pseudonym", ["", "Jane Doe", "P-1", "P-00a1"])
def test_a_name_is_refused_where_a_pseudonym_belongs(pseudonym):
    with pytest.raises(IntegrityError), transaction.atomic():
        PatientFactory(pseudonym=pseudonym)


def test_the_same_file_is_in_a_cohort_once():
    ehr_import = EhrImportFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        EhrImportFactory(
            cohort=ehr_import.cohort,
            sha256=ehr_import.sha256,
            committed_at=NOW + timedelta(days=1),
        )


def test_after_an_import_was_taken_back_its_file_may_come_again():
    undone = EhrImportFactory(stage="undone")

    EhrImportFactory(
        cohort=undone.cohort, sha256=undone.sha256, committed_at=NOW + timedelta(days=1)
    )


def test_a_user_has_one_role_in_a_cohort():
    cohort = CohortFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(cohort=cohort, user=cohort.created_by, role="viewer")


def test_an_unknown_role_is_refused():
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(cohort=CohortFactory(), user=UserFactory(), role="boss")
