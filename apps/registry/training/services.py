"""What an admin can do with trainings. Every write to them by a page starts here."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from apps.accounts.models import User
from apps.errors import MirageError
from apps.jobs import queue
from apps.patients.models import Cohort
from apps.registry.models import TrainingRun
from apps.registry.training.folder import RunFolder
from apps.registry.training.outlook import outlook_of
from ml.training_plan import TrainingPlan

LONGEST_NOTE = 2000


class TrainingRefusedError(MirageError):
    """A training cannot be queued; the text says why and what to do."""


class TrainingStateError(MirageError):
    """A training is no longer, or not yet, in a state in which this can be done to it."""


class NotAdminError(MirageError):
    """Somebody else than an admin asked."""


@transaction.atomic
def request_training(
    *,
    plan: TrainingPlan,
    cohorts: Sequence[Cohort],
    phantoms: int | None,
    note: str,
    requested_by: User,
    now: datetime,
) -> TrainingRun:
    """Queue a training on cohorts, or on invented people.

    Raises:
        TrainingRefusedError: the engine would refuse the people or the plan.
        NotAdminError: the user is no admin.
    """
    _check_admin(requested_by)
    outlook = outlook_of(plan=plan, cohorts=cohorts, phantoms=phantoms)
    if outlook.problems:
        raise TrainingRefusedError(" ".join(outlook.problems))
    list(TrainingRun.objects.select_for_update().order_by("-number")[:1])  # two wait in turn
    last = TrainingRun.objects.aggregate(last=Max("number"))["last"] or 0
    run = TrainingRun.objects.create(
        number=last + 1,
        plan=asdict(plan),
        phantoms=phantoms,
        note=note[:LONGEST_NOTE],
        device=device_of(plan),
        requested_by=requested_by,
        requested_at=now,
    )
    run.cohorts.set(cohorts)
    queue.send_on_commit(run)
    return run


def device_of(plan: TrainingPlan) -> str:
    """The device that a plan means here."""
    return settings.MIRAGE_TRAINING_DEVICE if plan.device == "auto" else plan.device


def cancel_training(*, run: TrainingRun, cancelled_by: User) -> None:
    """Stop a training at its next step; its checkpoint is kept.

    Raises:
        TrainingStateError: it has ended.
        NotAdminError: the user is no admin.
    """
    _check_admin(cancelled_by)
    if not TrainingRun.objects.cancel(run.pk):
        raise TrainingStateError(f"{run} has already ended, so it cannot be cancelled.")


@transaction.atomic
def resume_training(*, run: TrainingRun, resumed_by: User) -> None:
    """Queue a failed or cancelled training again; it goes on from its last checkpoint.

    Raises:
        TrainingStateError: it is under way or done, or what it needs is no longer kept.
        NotAdminError: the user is no admin.
    """
    _check_admin(resumed_by)
    held = TrainingRun.objects.select_for_update().get(pk=run.pk)
    if held.dropped:
        raise TrainingStateError(
            f"{run} cannot be resumed: {held.dropped} Start a new one with the same choices."
        )
    if not TrainingRun.objects.retry(run.pk):
        raise TrainingStateError(
            f"{run} is under way or has succeeded, so there is no resuming it."
        )
    queue.send_on_commit(held)


@transaction.atomic
def drop_checkpoints(*, run: TrainingRun, is_meant: bool, dropped_by: User, now: datetime) -> None:
    """Delete snapshot and checkpoints of a training that has ended without a bundle.

    Raises:
        TrainingStateError: it is under way or still saving, or nobody said that it is meant.
        NotAdminError: the user is no admin.
    """
    _check_admin(dropped_by)
    if not is_meant:
        raise TrainingStateError("Nothing was deleted. Tick that it is meant, then delete.")
    held = TrainingRun.objects.select_for_update().get(pk=run.pk)
    if not held.may_be_resumed:
        raise TrainingStateError(f"{run} is under way, or keeps nothing that could be deleted.")

    def refuse() -> None:
        raise TrainingStateError(f"{run} is still saving. Try again in a minute.")

    with RunFolder(run.pk).held(refuse):
        RunFolder(run.pk).drop()
    said = f"its checkpoints and its snapshot were deleted on {now:%d %B %Y}."
    held.snapshot = {**held.snapshot, "dropped": said}
    held.saved_at = None
    held.save(update_fields=["snapshot", "saved_at"])


def _check_admin(user: User) -> None:
    if user.role != User.Role.ADMIN:
        raise NotAdminError("Only an admin trains models. Ask one.")
