"""What this app keeps of patients: runs, predictions and volumes, and what goes with a patient."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Q, QuerySet

from apps.inference.models import (
    Explanation,
    InferenceRun,
    Prediction,
    PseudoMRI,
    ShadowPrediction,
    WhatIf,
)
from apps.jobs.models import ACTIVE_STATES, JobState
from apps.patients.dependents import Amount, Leftover
from apps.patients.leftovers import is_old
from apps.patients.models import Cohort, Patient

J = TypeVar("J", PseudoMRI, Explanation, WhatIf)
_ACTIVE = [str(state) for state in ACTIVE_STATES]


class RunsAndVolumes:
    """Runs, predictions and pseudo-MRIs of a cohort or of a patient."""

    def busy(self, cohort: Cohort, patient: Patient | None) -> str:
        """A run of the whole cohort is about each of its patients."""
        runs = InferenceRun.objects.filter(cohort=cohort, state__in=_ACTIVE)
        if patient is not None:
            runs = runs.filter(Q(patient=patient) | Q(patient=None))
        if run := runs.order_by("number").first():
            return (
                f"Run {run.number} is under way. Wait until it ends, or cancel it on the page of "
                "the queue."
            )
        if _volumes(cohort, patient).filter(state__in=_ACTIVE).exists():
            return (
                "A pseudo-MRI is being decoded. Wait until it is there, or cancel it on the page "
                "of the queue."
            )
        if _of(Explanation.objects.all(), cohort, patient).filter(state__in=_ACTIVE).exists():
            return (
                "An explanation is being computed. Wait some seconds, or cancel it on the page of "
                "the queue."
            )
        return ""

    def amounts(self, cohort: Cohort, patient: Patient | None) -> Sequence[Amount]:
        predictions = Prediction.objects.filter(run__cohort=cohort)
        if patient is not None:
            predictions = Prediction.objects.filter(patient=patient)
        volumes = _volumes(cohort, patient).filter(state=JobState.SUCCEEDED).count()
        return [
            Amount(predictions.count(), "prediction", "predictions"),
            Amount(volumes, "pseudo-MRI with its file", "pseudo-MRIs with their files"),
        ]

    def delete(self, cohort: Cohort, patient: Patient | None) -> Sequence[Path]:
        """Predictions by one statement each: Django would load every row to find what hangs on it.

        A run of the whole cohort stays when one patient goes.
        """
        volumes = _volumes(cohort, patient)
        files = _files_of(volumes)
        volumes.delete()
        _of(Explanation.objects.all(), cohort, patient).delete()
        _of(WhatIf.objects.all(), cohort, patient).delete()
        shadows = ShadowPrediction.objects.filter(prediction__run__cohort=cohort)
        if patient is not None:
            shadows = shadows.filter(prediction__patient=patient)
        shadows.delete()
        with connection.cursor() as cursor:
            if patient is not None:
                cursor.execute(
                    "DELETE FROM inference_prediction WHERE patient_id = %s", [patient.pk]
                )
            else:
                cursor.execute(
                    "DELETE FROM inference_prediction USING inference_inferencerun AS run "
                    "WHERE run_id = run.id AND run.cohort_id = %s",
                    [cohort.pk],
                )
        runs = InferenceRun.objects.filter(cohort=cohort)
        (runs if patient is None else runs.filter(patient=patient)).delete()
        return files


def leftover_volumes() -> Iterator[Leftover]:
    """Volumes without a row, and rows whose volume is gone or another one than was decoded."""
    rows = PseudoMRI.objects.all()
    active = set(rows.filter(state__in=_ACTIVE).values_list("pk", flat=True))
    named = dict(rows.filter(state=JobState.SUCCEEDED).values_list("file", "pk"))
    for path in sorted(_folder().glob("*")):
        name = path.relative_to(settings.MEDIA_ROOT).as_posix()
        if name not in named and _job_of(path) not in active and is_old(path):
            yield Leftover(f"{name}: a volume without a row", partial(path.unlink, missing_ok=True))
    succeeded = rows.filter(state=JobState.SUCCEEDED).order_by("pk")
    for pk, file, size, sha256 in succeeded.values_list("pk", "file", "bytes", "sha256"):
        if problem := _problem_of(Path(settings.MEDIA_ROOT) / file, size, sha256):
            yield Leftover(
                f"pseudo-MRI {pk}: {problem}; its row goes, so that it can be decoded again",
                partial(_forget, pk),
            )


def _volumes(cohort: Cohort, patient: Patient | None) -> QuerySet[PseudoMRI]:
    return _of(PseudoMRI.objects.all(), cohort, patient)


def _of(jobs: QuerySet[J], cohort: Cohort, patient: Patient | None) -> QuerySet[J]:
    """Those about the predictions of a cohort or of a patient."""
    if patient is not None:
        return jobs.filter(prediction__patient=patient)
    return jobs.filter(prediction__run__cohort=cohort)


def _folder() -> Path:
    return Path(settings.MEDIA_ROOT) / "pseudo_mri"


def _files_of(volumes: QuerySet[PseudoMRI]) -> list[Path]:
    """Their files, and those that a killed worker left of other attempts."""
    rows = dict(volumes.values_list("pk", "file"))
    named = {Path(settings.MEDIA_ROOT) / file for file in rows.values() if file}
    found = {path for path in _folder().glob("*") if _job_of(path) in rows} if rows else set()
    return sorted(named | found)


def _job_of(path: Path) -> UUID | None:
    """Which job a volume's name begins with."""
    try:
        return UUID(path.name[:36])
    except ValueError:
        return None


def _problem_of(path: Path, size: int | None, sha256: str) -> str:
    if not path.is_file():
        return "its file is gone"
    if path.stat().st_size != size:
        return "its file has another size"
    with path.open("rb") as file:
        changed = hashlib.file_digest(file, "sha256").hexdigest() != sha256
    return "its file was changed" if changed else ""


def _forget(pk: UUID) -> None:
    """Delete the row; the file, if there is one, is then without a row and goes the next time."""
    PseudoMRI.objects.filter(pk=pk).delete()
