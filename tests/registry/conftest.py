"""People of the registry's tests."""

import shutil

import pytest
from django.utils import timezone

from apps.registry import engine
from apps.registry.gates.holdouts import folder_of_holdout, hash_of, people_of
from tests.factories import FindingFactory
from tests.registry.cases import INVENTED, make_holdout


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


@pytest.fixture
def patient_lease(settings):
    """The thread that extends a lease does not see the rows of a test's transaction."""
    settings.MIRAGE_JOB_LEASE_S = 600


@pytest.fixture(scope="session")
def frozen_folder(tmp_path_factory):
    """Invented people as the worker writes them, made once."""
    out = tmp_path_factory.mktemp("frozen") / "people"
    engine.invent_holdout(out=out, people=INVENTED, spacing_mm=8.0, seed=1, mark="abcd1234")
    return out


@pytest.fixture
def frozen(db, frozen_folder):
    """A holdout with its folder."""
    rows = people_of(frozen_folder)
    holdout = make_holdout(
        phantoms=INVENTED,
        people=len(rows),
        people_with_ad=sum(row["diagnosis"] == "AD" for row in rows),
        sha256=hash_of(frozen_folder),
    )
    shutil.copytree(frozen_folder, folder_of_holdout(holdout.pk))
    return holdout
