"""What trainings keep of patients, and what goes with a patient.

A snapshot without one of its people is another snapshot, and checkpoints were computed from it, so
both go whole, and the run cannot be resumed. Pictures may show the patient, so they go, too. The
bundle stays: what it holds of people is aggregated over several donors.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

from apps.jobs.models import ACTIVE_STATES, JobState
from apps.patients.dependents import Amount, Leftover
from apps.patients.leftovers import is_old
from apps.patients.models import Cohort, Patient
from apps.registry.models import TrainingEvent, TrainingRun
from apps.registry.models.training import TrainingRunQuerySet
from apps.registry.training.folder import RunFolder, home

GONE = "people of its snapshot were deleted, and their data with it."
_ACTIVE = [str(state) for state in ACTIVE_STATES]


class Trainings:
    """Snapshots, checkpoints and pictures of trainings on a cohort."""

    def busy(self, cohort: Cohort, patient: Patient | None) -> str:
        """A training of the cohort is about each of its patients."""
        run = _runs(cohort, patient).filter(state__in=_ACTIVE).order_by("number").first()
        if run is None:
            return ""
        return (
            f"Training run {run.number} learns from it. Wait until it ends, or have an "
            "administrator cancel it."
        )

    def amounts(self, cohort: Cohort, patient: Patient | None) -> Sequence[Amount]:
        """Only said where there is something."""
        kept = sum(RunFolder(run.pk).path.exists() for run in _runs(cohort, patient))
        one = "training run's pictures, and its snapshot if that is kept"
        many = "training runs' pictures, and their snapshots as far as those are kept"
        return [Amount(kept, one, many)] if kept else []

    def delete(self, cohort: Cohort, patient: Patient | None) -> Sequence[Path]:
        """Have the rows say that the files are gone, and give the files back to be deleted."""
        runs = list(_runs(cohort, patient))
        for run in runs:
            if run.state != JobState.SUCCEEDED and not run.dropped:
                run.snapshot = {**run.snapshot, "dropped": GONE}
                run.saved_at = None
                run.save(update_fields=["snapshot", "saved_at"])
        TrainingEvent.objects.filter(run__in=runs, kind="example").update(file="")
        if patient is None:
            for run in TrainingRun.objects.filter(cohorts=cohort):
                run.cohorts.remove(cohort)
        return [RunFolder(run.pk).path for run in runs]


def leftover_trainings() -> Iterator[Leftover]:
    """Folders without a run, and what a run that has made its bundle no longer needs."""
    runs = {str(run.pk): run for run in TrainingRun.objects.all()}
    for folder in sorted(home().glob("*")):
        if not is_old(folder):
            continue
        run = runs.get(folder.name)
        if run is None:
            yield Leftover(
                f"trainings/{folder.name}: a folder without a training run",
                RunFolder(UUID(folder.name)).delete,
            )
        elif run.state == JobState.SUCCEEDED and RunFolder(run.pk).kept_bytes():
            yield Leftover(
                f"trainings/{folder.name}: snapshot and checkpoints of a run that has ended",
                partial(RunFolder.drop, RunFolder(run.pk)),
            )


def _runs(cohort: Cohort, patient: Patient | None) -> TrainingRunQuerySet:
    """Runs of a cohort; of a patient, those that were asked for when the patient was there."""
    runs = TrainingRun.objects.filter(cohorts=cohort)
    if patient is not None:
        runs = runs.filter(requested_at__gte=patient.created_at)
    return runs
