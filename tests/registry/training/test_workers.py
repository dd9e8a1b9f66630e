"""A training by a real Celery worker: killed in the middle, resumed by another, the same model."""

import os
from datetime import timedelta

import psutil
import pytest
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.models import JobState
from apps.registry.training import services
from apps.registry.training.folder import RunFolder
from ml.card import verify
from ml.training_plan import STAGES, TrainingPlan
from tests.bundles import PATIENTS
from tests.factories import UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
QUICK = {"MIRAGE_JOB_LEASE_S": "3", "MIRAGE_SWEEP_EVERY_S": "0.3"}
PATIENCE_S = 120.0


@pytest.fixture
def admin(transactional_db):
    return UserFactory(role=User.Role.ADMIN)


def training_processes():
    return [
        each
        for each in psutil.process_iter()
        if "apps.registry.training.child" in _command_of(each)
    ]


def _command_of(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_training_killed_in_the_middle_ends_with_the_model_of_an_uninterrupted_one(
    admin, workers, wait_until, bundle_folder, settings, tmp_path
):
    settings.MIRAGE_BUNDLES_DIR = tmp_path / "bundles"
    workers.environment |= {"MIRAGE_BUNDLES_DIR": str(tmp_path / "bundles"), **QUICK}
    uninterrupted = verify(bundle_folder)
    workers.start("sweep")
    first = workers.start("training")
    run = services.request_training(
        plan=TrainingPlan(profile="tiny", seed=uninterrupted.seed),
        cohorts=[], phantoms=PATIENTS, note="", requested_by=admin, now=timezone.now(),
    )  # fmt: skip

    def newest():
        run.refresh_from_db()
        return run

    wait_until(lambda: newest().stage == "distillation", seconds=PATIENCE_S)
    [child] = training_processes()
    killed_at = timezone.now()
    os.kill(first.pid, 9)  # the worker's parent process alone, as the kernel's memory killer would
    wait_until(lambda: not psutil.pid_exists(child.pid) or child.status() == "zombie")
    wait_until(lambda: newest().state == JobState.QUEUED, seconds=30)
    assert timezone.now() - killed_at < timedelta(seconds=30)
    assert run.tries == 1

    workers.start("training")
    wait_until(lambda: newest().is_final, seconds=PATIENCE_S)

    assert (run.state, run.reason, run.attempt) == (JobState.SUCCEEDED, "", 2)
    assert run.bundle.version == uninterrupted.version
    assert run.split_sha256 == uninterrupted.training["split"]
    assert (run.snapshot["people"], run.phantoms) == (PATIENTS, PATIENTS)
    assert [e.seq for e in run.events.all()] == list(range(1, run.events.count() + 1))
    begun = run.events.filter(kind="stage").order_by("seq")
    assert set(STAGES) <= set(begun.values_list("stage", flat=True))
    again = set(begun.filter(attempt=2).values_list("stage", flat=True))
    assert "autoencoder" not in run.events.filter(attempt=2, kind="step").values_list(
        "stage", flat=True
    )
    assert "distillation" in again
    folder = RunFolder(run.pk)
    wait_until(lambda: not folder.kept_bytes())
    assert {each.name for each in folder.work.iterdir()} <= {"examples"}
    assert not training_processes()
