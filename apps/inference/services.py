"""What a user can do with runs and pseudo-MRIs. Every write to this app's tables starts here."""

from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from django.db import transaction
from django.db.models import Max

from apps.accounts.models import User
from apps.errors import MirageError
from apps.inference.models import InferenceRun, Prediction, PseudoMRI
from apps.jobs import queue
from apps.patients import services as patients
from apps.patients.models import Cohort, EhrUpload, Patient
from apps.registry.models import Bundle
from apps.registry.selectors import champion_state
from ml.records import Answer

NO_NUMBER = (Answer.OUTSIDE, Answer.TOO_FEW)


class RunRefusedError(MirageError):
    """A run cannot be queued now; the text says why and what to do."""


class RunAlreadyActiveError(RunRefusedError):
    """A run for the same patients is queued or running."""


class JobStateError(MirageError):
    """A job is no longer, or not yet, in a state in which this can be done to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadResult:
    """What became of an upload: the file's rows are stored, and its run, if one could be queued."""

    upload: EhrUpload
    is_new: bool
    run: InferenceRun | None
    no_run: str

    def __str__(self) -> str:
        stored = (
            f"Stored: {self.upload.patients_new:,} new patients, "
            f"{self.upload.patients_updated:,} updated, {self.upload.findings:,} findings."
            if self.is_new
            else "This file is already in the cohort; nothing was changed."
        )
        return " ".join([stored, *self.upload.notes, self.no_run]).strip()


def upload_and_run(
    *, cohort: Cohort, file: BinaryIO, requested_by: User, now: datetime
) -> UploadResult:
    """Store an EHR file and score its cohort. The rows stay stored even if no run can be queued.

    Raises:
        EhrFileError: the file was refused, and nothing is stored.
        NotAllowedError: the user may not change the cohort.
    """
    _check_may_edit(cohort, requested_by)
    upload = patients.import_ehr(cohort=cohort, file=file, uploaded_by=requested_by, now=now)
    is_new = upload.uploaded_at == now
    run, no_run = None, ""
    if is_new or not cohort.runs.exists():
        try:
            run = request_run(cohort=cohort, requested_by=requested_by, now=now)
        except RunRefusedError as error:
            no_run = str(error)
    return UploadResult(upload=upload, is_new=is_new, run=run, no_run=no_run)


@transaction.atomic
def request_run(
    *, cohort: Cohort, patient: Patient | None = None, requested_by: User, now: datetime
) -> InferenceRun:
    """Queue a run for one patient, or for every patient of a cohort.

    Raises:
        RunRefusedError: no bundle can answer, there is no patient, or such a run is under way.
        NotAllowedError: the user may not change the cohort.
    """
    Cohort.objects.select_for_update().get(pk=cohort.pk)  # two requests at once wait in turn
    _check_may_edit(cohort, requested_by)
    bundle = _bundle_that_answers()
    if cohort.runs.active().filter(patient=patient).exists():
        who = patient.pseudonym if patient else "this cohort"
        raise RunAlreadyActiveError(
            f"A run for {who} is already under way. Its results will appear here; start another "
            "one when it has ended."
        )
    meant = cohort.patients.filter(created_at__lte=now)
    total = meant.filter(pk=patient.pk).count() if patient else meant.count()
    if not total:
        raise RunRefusedError(
            "There is no patient to predict for. Upload an EHR file to the cohort first."
        )
    last = cohort.runs.aggregate(last=Max("number"))["last"] or 0
    run = InferenceRun.objects.create(
        number=last + 1,
        cohort=cohort,
        patient=patient,
        bundle=bundle,
        requested_by=requested_by,
        requested_at=now,
        total=total,
    )
    queue.send_on_commit(run)
    return run


def cancel_run(*, run: InferenceRun) -> None:
    """Stop a run. What it has predicted stays.

    Raises:
        JobStateError: it has ended.
    """
    if not InferenceRun.objects.cancel(run.pk):
        raise JobStateError(f"Run {run.number} has already ended, so it cannot be cancelled.")


@transaction.atomic
def retry_run(*, run: InferenceRun) -> None:
    """Queue a failed or cancelled run again; it goes on where it stopped.

    Raises:
        JobStateError: it is under way, has succeeded, or another run for the same is under way.
    """
    Cohort.objects.select_for_update().get(pk=run.cohort_id)
    if run.cohort.runs.active().filter(patient=run.patient_id).exists():
        raise JobStateError("Another run for the same patients is under way. Wait until it ends.")
    if not InferenceRun.objects.retry(run.pk):
        raise JobStateError(f"Run {run.number} has succeeded. Start a new run instead.")
    queue.send_on_commit(run)


@transaction.atomic
def request_pseudo_mri(*, prediction: Prediction, requested_by: User, now: datetime) -> PseudoMRI:
    """Queue the decoding of a prediction's pseudo-MRI. It is decoded once and then kept.

    Raises:
        RunRefusedError: the record was too far from the training data, or has too few inputs.
        NotAllowedError: the user may not change the cohort.
    """
    Prediction.objects.select_for_update().get(pk=prediction.pk)  # two requests wait in turn
    _check_may_edit(prediction.patient.cohort, requested_by)
    if prediction.answer in NO_NUMBER:
        raise RunRefusedError(
            f"No pseudo-MRI can be decoded, because the answer is: "
            f"{prediction.get_answer_display().lower()}. {' '.join(prediction.reasons)}"
        )
    job, is_new = PseudoMRI.objects.get_or_create(
        prediction=prediction, defaults={"requested_by": requested_by, "requested_at": now}
    )
    if is_new or PseudoMRI.objects.retry(job.pk):
        queue.send_on_commit(job)
    return job


def cancel_pseudo_mri(*, pseudo_mri: PseudoMRI) -> None:
    """Stop a decoding.

    Raises:
        JobStateError: it has ended.
    """
    if not PseudoMRI.objects.cancel(pseudo_mri.pk):
        raise JobStateError("The decoding has already ended, so it cannot be cancelled.")


@transaction.atomic
def retry_pseudo_mri(*, pseudo_mri: PseudoMRI) -> None:
    """Queue a failed or cancelled decoding again.

    Raises:
        JobStateError: it is under way or has succeeded.
    """
    if not PseudoMRI.objects.retry(pseudo_mri.pk):
        raise JobStateError("The decoding is under way or done, so it cannot be retried.")
    queue.send_on_commit(pseudo_mri)


class NotAllowedError(MirageError):
    """The user may look at the cohort, but not change it."""


def _check_may_edit(cohort: Cohort, user: User) -> None:
    if not Cohort.objects.editable_by(user).filter(pk=cohort.pk).exists():
        raise NotAllowedError(
            f"You may not change the cohort {cohort.name}, or it is archived. Ask its owner to "
            "make you a clinician of it."
        )


def _bundle_that_answers() -> Bundle:
    state = champion_state()
    if state.bundle is None or state.problem:
        raise RunRefusedError(state.problem)
    return state.bundle
