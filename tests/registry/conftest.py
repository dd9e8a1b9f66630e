"""People of the registry's tests."""

import pytest
from django.utils import timezone

from tests.factories import FindingFactory


@pytest.fixture
def diagnosed(people):
    """A cohort whose people have a diagnosis, turn about."""
    cohort = people(12)
    for patient in cohort.patients.all():
        FindingFactory(
            patient=patient, concept="diagnosis", value=2.0 * (patient.number % 2), unit="",
            observed_at=timezone.now(), recorded_at=timezone.now(),
        )  # fmt: skip
    return cohort
