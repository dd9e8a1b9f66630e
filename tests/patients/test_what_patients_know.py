"""Newest age, newest sex and the imports of a patient, kept by triggers on the findings."""

from datetime import timedelta

import pytest

from apps.patients.models import Finding
from tests.factories import NOW, FindingFactory, PatientFactory

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def patient():
    return PatientFactory()


def known(patient):
    patient.refresh_from_db()
    return patient.age_years, patient.female, patient.recorded_ats


def test_a_patient_without_findings_knows_nothing(patient):
    assert known(patient) == (None, None, [])


def test_the_value_observed_last_counts_whenever_it_was_stored(patient):
    FindingFactory(patient=patient, value=71.0, observed_at=NOW)
    FindingFactory(patient=patient, value=70.0, observed_at=NOW - DAY, recorded_at=NOW + DAY)
    FindingFactory(patient=patient, concept="female", value=1.0)

    assert known(patient) == (71.0, 1.0, [NOW + DAY, NOW])


def test_many_findings_at_once_are_counted_as_one_by_one(patient):
    other = PatientFactory(cohort=patient.cohort)
    Finding.objects.bulk_create(
        Finding(
            patient=who, concept="age", value=age, unit="a", observed_at=NOW + n * DAY,
            recorded_at=NOW + (n % 2) * DAY,
        )
        for who, ages in ((patient, [60, 61, 62]), (other, [80]))
        for n, age in enumerate(ages)
    )  # fmt: skip

    assert known(patient) == (62.0, None, [NOW + DAY, NOW])
    assert known(other) == (80.0, None, [NOW])


def test_what_is_taken_back_or_changed_is_forgotten(patient):
    FindingFactory(patient=patient, value=70.0, observed_at=NOW)
    FindingFactory(patient=patient, value=71.0, observed_at=NOW + DAY, recorded_at=NOW + DAY)

    Finding.objects.filter(patient=patient, recorded_at=NOW + DAY).delete()
    assert known(patient) == (70.0, None, [NOW])

    Finding.objects.filter(patient=patient).update(value=69.0)
    assert known(patient) == (69.0, None, [NOW])
