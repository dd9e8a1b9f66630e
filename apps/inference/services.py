"""What a user can do with runs, pseudo-MRIs, explanations and what-ifs.

Every write to this app's tables starts here.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import transaction
from django.db.models import Max

from apps.accounts.models import User
from apps.errors import MirageError
from apps.inference.models import Explanation, InferenceRun, Prediction, PseudoMRI, WhatIf
from apps.inference.selectors import undecoded
from apps.jobs import queue
from apps.jobs.models import Job, JobQuerySet
from apps.patients.models import Cohort, Patient
from apps.registry.models import Bundle
from apps.registry.selectors import champion_state
from ml.records import Answer

NO_NUMBER = (Answer.OUTSIDE, Answer.TOO_FEW)
WHAT_IF_KEPT = timedelta(minutes=30)
MOST_DECODED_AT_ONCE = 100
J = TypeVar("J", bound=Job)


class RunRefusedError(MirageError):
    """A run cannot be queued now; the text says why and what to do."""


class RunAlreadyActiveError(RunRefusedError):
    """A run for the same patients is queued or running."""


class JobStateError(MirageError):
    """A job is no longer, or not yet, in a state in which this can be done to it."""


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
            "There is no patient to predict for. Import an EHR file into the cohort first."
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


def request_pseudo_mri(*, prediction: Prediction, requested_by: User, now: datetime) -> PseudoMRI:
    """Queue the decoding of a prediction's pseudo-MRI. It is decoded once and then kept.

    Raises:
        RunRefusedError: the record was too far from the training data, or has too few inputs.
        NotAllowedError: the user may not change the cohort.
    """
    return _request_once(PseudoMRI, "pseudo-MRI can be decoded", prediction, requested_by, now)


@transaction.atomic
def request_pseudo_mris(*, cohort: Cohort, requested_by: User, now: datetime) -> int:
    """Queue the decoding of the newest answers that have no pseudo-MRI yet, the first 100 of them.

    Returns:
        How many are queued now.

    Raises:
        RunRefusedError: there is none left to decode.
        NotAllowedError: the user may not change the cohort.
    """
    Cohort.objects.select_for_update().get(pk=cohort.pk)  # two requests at once wait in turn
    _check_may_edit(cohort, requested_by)
    waiting = undecoded(cohort).order_by("patient__number")[:MOST_DECODED_AT_ONCE]
    jobs = PseudoMRI.objects.bulk_create(
        PseudoMRI(prediction=prediction, requested_by=requested_by, requested_at=now)
        for prediction in waiting
    )
    if not jobs:
        raise RunRefusedError(
            "There is no answer with a number that lacks its pseudo-MRI. Run MIRAGE first; one "
            "that failed or was cancelled is decoded again on the page of its patient."
        )
    for job in jobs:
        queue.send_on_commit(job)
    return len(jobs)


def cancel_pseudo_mris(*, cohort: Cohort) -> int:
    """Stop every decoding of a cohort that has not ended, so that it can be asked for again.

    Returns:
        How many were taken back.
    """
    active = PseudoMRI.objects.filter(prediction__patient__cohort=cohort).active()
    return sum(PseudoMRI.objects.cancel(pk) for pk in active.values_list("pk", flat=True))


def request_explanation(
    *, prediction: Prediction, requested_by: User, now: datetime
) -> Explanation:
    """Queue the explanation of a prediction. It is computed once and then kept.

    Raises:
        RunRefusedError: there is no number to explain.
        NotAllowedError: the user may not change the cohort.
    """
    return _request_once(Explanation, "explanation can be given", prediction, requested_by, now)


@transaction.atomic
def _request_once(
    model: type[J], what: str, prediction: Prediction, requested_by: User, now: datetime
) -> J:
    """Queue what a prediction has one of, or queue it again where it failed or was cancelled."""
    Prediction.objects.select_for_update().get(pk=prediction.pk)  # two requests wait in turn
    _check_may_edit(prediction.patient.cohort, requested_by)
    _check_has_number(prediction, what)
    job, is_new = model._default_manager.get_or_create(
        prediction=prediction, defaults={"requested_by": requested_by, "requested_at": now}
    )
    if is_new or _jobs(job).retry(job.pk):
        queue.send_on_commit(job)
    return job


@transaction.atomic
def request_what_if(
    *,
    prediction: Prediction,
    changes: Mapping[str, float | None],
    with_volumes: bool,
    requested_by: User,
    now: datetime,
) -> WhatIf:
    """Queue a try of another record than the patient's. The user's earlier tries are forgotten.

    Args:
        prediction: whose record is changed.
        changes: concept to value; None takes the finding away.
        with_volumes: whether the changed record's pseudo-MRI is decoded and measured, too.
        requested_by: who alone sees the result.
        now: the time.

    Raises:
        RunRefusedError: there is no number that could move, or nothing is changed.
        NotAllowedError: the user may not change the cohort.
    """
    _check_may_edit(prediction.patient.cohort, requested_by)
    _check_has_number(prediction, "what-if can be tried")
    if not 0 < len(changes) <= WhatIf.MOST_CHANGES:
        raise RunRefusedError(
            f"A what-if changes 1 to {WhatIf.MOST_CHANGES} findings; this one changes "
            f"{len(changes)}. Start over."
        )
    WhatIf.objects.filter(requested_by=requested_by).delete()
    job = WhatIf.objects.create(
        prediction=prediction,
        changes=dict(changes),
        with_volumes=with_volumes,
        requested_by=requested_by,
        requested_at=now,
    )
    queue.send_on_commit(job)
    return job


def forget_what_ifs(*, now: datetime) -> int:
    """Delete the what-ifs that nobody looks at any more."""
    old = WhatIf.objects.filter(requested_at__lt=now - WHAT_IF_KEPT)
    return old.delete()[0]


def cancel_job(*, job: Job) -> None:
    """Stop a decoding, an explanation or a what-if.

    Raises:
        JobStateError: it has ended.
    """
    if not _jobs(job).cancel(job.pk):
        raise JobStateError(f"The {job.kind()} has already ended, so it cannot be cancelled.")


@transaction.atomic
def retry_job(*, job: Job) -> None:
    """Queue a failed or cancelled decoding or explanation again.

    Raises:
        JobStateError: it is under way or has succeeded.
    """
    if not _jobs(job).retry(job.pk):
        raise JobStateError(f"The {job.kind()} is under way or done, so it cannot be retried.")
    queue.send_on_commit(job)


def _jobs(job: Job) -> JobQuerySet[Job]:
    jobs: JobQuerySet[Job] = type(job)._default_manager.all()  # type: ignore[assignment]
    return jobs


class NotAllowedError(MirageError):
    """The user may look at the cohort, but not change it."""


def _check_may_edit(cohort: Cohort, user: User) -> None:
    if not Cohort.objects.editable_by(user).filter(pk=cohort.pk).exists():
        raise NotAllowedError(
            f"You may not change the cohort {cohort.name}, or it is archived. Ask its owner to "
            "make you a clinician of it."
        )


def _check_has_number(prediction: Prediction, what: str) -> None:
    if prediction.answer in NO_NUMBER:
        raise RunRefusedError(
            f"No {what}, because the answer is: "
            f"{prediction.get_answer_display().lower()}. {' '.join(prediction.reasons)}"
        )


def _bundle_that_answers() -> Bundle:
    state = champion_state()
    if state.bundle is None or state.problem:
        raise RunRefusedError(state.problem)
    return state.bundle
