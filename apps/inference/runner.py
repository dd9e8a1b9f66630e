"""Carry out queued runs, decodings, explanations and what-ifs.

Called by tasks, which a broker may deliver twice.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.errors import MirageError
from apps.inference import engine, means, shadowing
from apps.inference.models import Explanation, InferenceRun, Prediction, PseudoMRI, WhatIf
from apps.jobs.attempt import Attempt, carry_out
from apps.patients.models import Patient
from apps.patients.selectors import records_of
from apps.registry.selectors import inputs_of
from ml import records

logger = logging.getLogger(__name__)
PATIENTS_AT_ONCE = 250


class StorageError(MirageError):
    """A file could not be written."""


class RecordChangedError(MirageError):
    """The findings behind a prediction are no longer those that it was made from."""


def execute(*, run_id: UUID) -> None:
    """Predict for every patient of a run; do nothing if another worker has it."""
    carry_out(InferenceRun, run_id, _score)


def decode(*, pseudo_mri_id: UUID) -> None:
    """Decode one pseudo-MRI; do nothing if another worker has it."""
    carry_out(PseudoMRI, pseudo_mri_id, _decode)


def explain(*, explanation_id: UUID) -> None:
    """Explain one prediction; do nothing if another worker has it."""
    carry_out(Explanation, explanation_id, _explain)


def try_what_if(*, what_if_id: UUID) -> None:
    """Answer for a changed record; do nothing if another worker has it."""
    carry_out(WhatIf, what_if_id, _try_what_if)


def input_hash(values: Mapping[str, float]) -> str:
    """SHA-256 of the values that a model read, in the order of their names.

    >>> input_hash({"age": 78.0, "female": 1.0}) == input_hash({"female": 1.0, "age": 78.0})
    True
    """
    text = json.dumps({name: float(value) for name, value in values.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _score(attempt: Attempt[InferenceRun]) -> None:
    """Predict in chunks, each committed with the progress.

    A later attempt goes on where the last one stopped, because what is predicted is not due.
    """
    run = attempt.job()
    while patients := list(_due(run).values_list("pk", flat=True)[:PATIENTS_AT_ONCE]):
        known = records_of(patients, concepts=inputs_of(run.bundle), as_known_at=run.requested_at)
        predicted = engine.predict(bundle=run.bundle, records=list(known.values()))
        with attempt.writing() as held:
            Prediction.objects.bulk_create(
                [
                    _row(held, patient, known[patient], prediction)
                    for patient, prediction in zip(known, predicted, strict=True)
                ]
            )
            held.done = held.predictions.count()
            held.save(update_fields=["done"])
    with transaction.atomic():  # a run that has ended has its shadow, or there is no challenger
        attempt.finish()
        shadowing.begin(run)


def _due(run: InferenceRun) -> QuerySet[Patient]:
    """Patients that the run means and has not predicted for; those added later are not meant."""
    meant = run.cohort.patients.filter(created_at__lte=run.requested_at)
    if run.patient_id is not None:
        meant = meant.filter(pk=run.patient_id)
    return meant.exclude(pk__in=run.predictions.values("patient")).order_by("number")


def _row(
    run: InferenceRun,
    patient: UUID,
    record: records.PatientRecord,
    prediction: records.Prediction,
) -> Prediction:
    return Prediction(
        run=run,
        patient_id=patient,
        attempt=run.attempt,
        answer=prediction.answer.value,
        probability=prediction.probability,
        low=prediction.low,
        high=prediction.high,
        missing=list(prediction.missing),
        reasons=list(prediction.reasons),
        input_sha256=input_hash(record.values),
        created_at=timezone.now(),
    )


def _decode(attempt: Attempt[PseudoMRI]) -> None:
    """Decode into a file of this attempt's own, then name it in the row: no row without a file."""
    job = attempt.job()
    prediction = job.prediction
    record = _record_of(prediction)
    folder = Path(settings.MEDIA_ROOT) / "pseudo_mri"
    path = folder / f"{job.pk}-{attempt.number}.nii"
    with _removed_unless_recorded(path):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            reading = engine.decode(bundle=prediction.run.bundle, record=record, out=path)
            donors = engine.donors(bundle=prediction.run.bundle, record=record)
            size, sha256 = _measure(path)
        except OSError as error:
            raise StorageError(
                f"The pseudo-MRI could not be written to the media folder ({error.strerror}). "
                "Make room on the disk, then retry."
            ) from error
        attempt.finish(
            file=path.relative_to(settings.MEDIA_ROOT).as_posix(),
            sha256=sha256,
            bytes=size,
            volumes_ml=dict(reading.volumes_ml),
            volume_errors_ml=engine.volume_errors(),
            cnn_probability=reading.cnn_probability,
            fused_probability=reading.fused_probability,
            donors=donors,
        )
    for other in folder.glob(f"{job.pk}-*.nii"):  # of attempts whose worker was killed
        if other != path:
            other.unlink(missing_ok=True)
    means.draw_mean(prediction.run.bundle)


def _explain(attempt: Attempt[Explanation]) -> None:
    prediction = attempt.job().prediction
    record = _record_of(prediction)
    attempt.finish(content=engine.explain(bundle=prediction.run.bundle, record=record))


def _try_what_if(attempt: Attempt[WhatIf]) -> None:
    """Predict for the record with the changes; the record itself is only read."""
    job = attempt.job()
    prediction = job.prediction
    record = _record_of(prediction)
    values = {name: value for name, value in record.values.items() if name not in job.changes}
    values |= {name: value for name, value in job.changes.items() if value is not None}
    changed = records.PatientRecord(patient=record.patient, values=values)
    bundle = prediction.run.bundle
    [answered] = engine.predict(bundle=bundle, records=[changed])
    volumes: dict[str, float] = {}
    if job.with_volumes and answered.probability is not None:
        volumes = engine.measure(bundle=bundle, record=changed)
    attempt.finish(
        answer=answered.answer.value,
        probability=answered.probability,
        low=answered.low,
        high=answered.high,
        reasons=list(answered.reasons),
        volumes_ml=volumes,
    )


def _record_of(prediction: Prediction) -> records.PatientRecord:
    """The record that a prediction was made from.

    Raises:
        RecordChangedError: its findings are no longer those.
    """
    known = records_of(
        [prediction.patient_id],
        concepts=inputs_of(prediction.run.bundle),
        as_known_at=prediction.run.requested_at,
    )
    record = known[prediction.patient_id]
    if prediction.input_sha256 and prediction.input_sha256 != input_hash(record.values):
        raise RecordChangedError(
            "The findings that this answer was made from have been taken back since. Run MIRAGE "
            "on the patient again, then ask again."
        )
    return record


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _removed_unless_recorded(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):  # what is being raised says more than that it cannot be removed
            path.unlink()
        raise
