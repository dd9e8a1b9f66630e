"""What deleting patients means for trainings that learned from them, and what fsck finds."""

import os
import time
from uuid import UUID

import pytest
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.models import JobState
from apps.patients import deleting, dependents
from apps.patients.deleting import DeletionRefusedError
from apps.registry.models import TrainingEvent, TrainingRun
from apps.registry.training import services
from apps.registry.training.folder import RunFolder
from tests.factories import NOW, BundleFactory, CohortFactory, PatientFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_folders(settings, tmp_path):
    settings.MIRAGE_DATA_DIR = tmp_path / "data"


@pytest.fixture
def patient():
    return PatientFactory(cohort=CohortFactory())


@pytest.fixture
def run(patient):
    """A training that was cancelled: it has a snapshot, a checkpoint and a picture."""
    made = TrainingRun.objects.create(
        number=1, plan={"profile": "tiny", "seed": 1}, requested_at=timezone.now(),
        requested_by=UserFactory(role=User.Role.ADMIN), state=JobState.CANCELLED,
        finished_at=NOW, snapshot={"people": 1, "sha256": "0" * 64}, saved_at=NOW,
    )  # fmt: skip
    made.cohorts.add(patient.cohort)
    folder = RunFolder(made.pk)
    folder.make()
    for path in (folder.cohort, folder.work / "examples"):
        path.mkdir()
    (folder.cohort / "participants.tsv").write_text("people")
    (folder.work / "graph.safetensors").write_bytes(b"weights")
    (folder.work / "examples" / "a.png").write_bytes(b"picture")
    TrainingEvent.objects.create(
        run=made, seq=1, attempt=1, told_at=NOW, kind="example", stage="autoencoder",
        file="examples/a.png",
    )  # fmt: skip
    return made


def delete(patient):
    deleting.delete_patient(
        patient=patient, typed=patient.pseudonym, deleted_by=patient.cohort.created_by
    )


def test_a_deleted_patient_leaves_snapshots_checkpoints_and_pictures(
    run, patient, django_capture_on_commit_callbacks
):
    said = [str(each) for each in deleting.deletion_of(cohort=patient.cohort).amounts]
    assert "1 training run's pictures, and its snapshot if that is kept" in said
    with django_capture_on_commit_callbacks(execute=True):
        delete(patient)
    run.refresh_from_db()
    assert not RunFolder(run.pk).path.exists()
    assert run.events.get().file == ""
    with pytest.raises(services.TrainingStateError, match="people of its snapshot were deleted"):
        services.resume_training(run=run, resumed_by=run.requested_by)


def test_the_pictures_of_a_finished_run_go_too(run, patient, django_capture_on_commit_callbacks):
    TrainingRun.objects.filter(pk=run.pk).update(
        state=JobState.SUCCEEDED, bundle=BundleFactory(), attempt=1
    )
    with django_capture_on_commit_callbacks(execute=True):
        delete(patient)
    run.refresh_from_db()
    assert not RunFolder(run.pk).path.exists()
    assert not run.dropped


def test_nobody_is_deleted_from_under_a_running_training(run, patient):
    TrainingRun.objects.filter(pk=run.pk).update(state=JobState.QUEUED, finished_at=None)
    with pytest.raises(DeletionRefusedError, match="Training run 1 learns from it"):
        delete(patient)


def test_somebody_who_came_after_a_run_takes_nothing_of_it_along(
    run, patient, django_capture_on_commit_callbacks
):
    later = PatientFactory(cohort=patient.cohort, created_at=timezone.now())
    with django_capture_on_commit_callbacks(execute=True):
        delete(later)
    assert (RunFolder(run.pk).cohort / "participants.tsv").exists()


def test_a_deleted_cohort_leaves_its_runs_without_people(
    run, patient, django_capture_on_commit_callbacks
):
    cohort = patient.cohort
    with django_capture_on_commit_callbacks(execute=True):
        deleting.delete_cohort(cohort=cohort, typed=cohort.name, deleted_by=cohort.created_by)
    run.refresh_from_db()
    assert not run.cohorts.exists()
    assert not run.may_be_resumed


def test_what_a_crash_leaves_of_a_training_is_found_and_taken_away(run):
    TrainingRun.objects.filter(pk=run.pk).update(
        state=JobState.SUCCEEDED, bundle=BundleFactory(), attempt=1
    )
    stray = RunFolder(UUID("00000000-0000-4000-8000-000000000000"))
    stray.make()
    long_ago = time.time() - 7200
    for folder in (stray.path, RunFolder(run.pk).path):
        os.utime(folder, (long_ago, long_ago))
    found = [each for each in dependents.leftovers() if each.what.startswith("trainings/")]
    assert len(found) == 2
    for each in found:
        each.remove()
    assert not stray.path.exists()
    kept = [path.name for path in RunFolder(run.pk).path.rglob("*") if path.is_file()]
    assert kept == ["a.png"]
