"""What an administrator does with holdouts and gate checks."""

import shutil
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db import transaction

from apps.accounts.models import User
from apps.errors import MirageError
from apps.jobs import queue
from apps.patients.models import Cohort
from apps.registry.gates.holdouts import HoldoutError, folder_of_holdout
from apps.registry.gates.judging import held_to_judge
from apps.registry.models import Bundle, GateCheck, Holdout
from apps.registry.selectors import champion, problem_of

FEWEST_PHANTOMS, MOST_PHANTOMS = 20, 5_000
SPACINGS_MM = (8.0, 4.0, 2.0)
STEPS = 8  # of a gate check, as ml.evaluation.promotion counts them


class GateCheckError(MirageError):
    """Gates cannot be checked now; the text says why and what to do."""


@transaction.atomic
def freeze_holdout(
    *,
    name: str,
    cohorts: Iterable[Cohort],
    phantoms: int | None,
    seed: int,
    spacing_mm: float,
    requested_by: User,
    now: datetime,
) -> Holdout:
    """Queue the freezing of people, who train nothing from then on.

    Args:
        name: what it is called; no two are called the same.
        cohorts: whose people; none where people are invented.
        phantoms: how many to invent; None where cohorts are given.
        seed: of the invented people. No training with the same seed meets them.
        spacing_mm: voxel edge of the invented scans.
        requested_by: an administrator.
        now: the time.

    Raises:
        HoldoutError: the name is taken, or not exactly one kind of people is given.
    """
    chosen = list(cohorts)
    if Holdout.objects.filter(name=name).exists():
        raise HoldoutError(f"There is a holdout called {name} already. Give another name.")
    if bool(chosen) == (phantoms is not None):
        raise HoldoutError("Choose cohorts, or say how many people to invent: one of the two.")
    if phantoms is not None and not FEWEST_PHANTOMS <= phantoms <= MOST_PHANTOMS:
        raise HoldoutError(
            f"A holdout has {FEWEST_PHANTOMS} to {MOST_PHANTOMS:,} invented people. You asked for "
            f"{phantoms:,}."
        )
    holdout = Holdout.objects.create(
        name=name,
        phantoms=phantoms,
        seed=seed,
        spacing_mm=spacing_mm,
        requested_by=requested_by,
        requested_at=now,
    )
    holdout.cohorts.set(chosen)
    queue.send_on_commit(holdout)
    return holdout


@transaction.atomic
def retire_holdout(*, holdout: Holdout, now: datetime) -> None:
    """Let a holdout judge nobody from now on. Its people may train again; its verdicts stay.

    Raises:
        HoldoutError: it is being frozen or judged by, or is retired already.
    """
    held = Holdout.objects.select_for_update().get(pk=holdout.pk)
    if held.retired_at is not None:
        raise HoldoutError(f"{held.name} is retired already.")
    judging = held.gate_checks.active().exists() or held.evaluations.active().exists()
    if not held.is_final or judging:
        raise HoldoutError(
            f"{held.name} is in use: it is being frozen, or a model is being judged on it. Wait "
            "until that has ended, or cancel it."
        )
    held.retired_at = now
    held.save(update_fields=["retired_at"])
    forget_folder(held.pk)


def forget_folder(pk: UUID) -> None:
    """Delete the people of a holdout once the caller's transaction is committed."""
    transaction.on_commit(partial(shutil.rmtree, folder_of_holdout(pk), ignore_errors=True))


@transaction.atomic
def request_gate_check(
    *, candidate: Bundle, holdout: Holdout, requested_by: User, now: datetime
) -> GateCheck:
    """Queue the gates of a candidate beside the present champion.

    Raises:
        GateCheckError: it is the champion, its files are damaged, or the same check is under way.
        HoldoutError: the holdout judges nobody.
    """
    held, model = held_to_judge(holdout), champion()
    if candidate == model:
        raise GateCheckError(f"{candidate} is the champion: there is nothing to judge it against.")
    for bundle in (candidate, model):
        if bundle is not None and (problem := problem_of(bundle)):
            raise GateCheckError(problem)
    same = GateCheck.objects.filter(candidate=candidate, champion=model, holdout=held)
    if same.active().exists():
        raise GateCheckError("This check is under way. Its gates appear here when it has ended.")
    check = GateCheck.objects.create(
        candidate=candidate,
        champion=model,
        holdout=held,
        requested_by=requested_by,
        requested_at=now,
        total=STEPS,
    )
    queue.send_on_commit(check)
    return check


def cancel(*, job: Holdout | GateCheck) -> None:
    """Stop a freeze or a check.

    Raises:
        GateCheckError: it has ended.
    """
    if not type(job).objects.filter().cancel(job.pk):
        raise GateCheckError(f"The {job.kind()} has already ended, so it cannot be cancelled.")


@transaction.atomic
def retry(*, job: Holdout | GateCheck) -> None:
    """Queue a failed or cancelled freeze or check again.

    Raises:
        GateCheckError: it is under way or done, or the champion is another one by now.
    """
    if isinstance(job, GateCheck) and job.champion != champion():
        raise GateCheckError("The champion is another one by now. Start a new check.")
    if not type(job).objects.filter().retry(job.pk):
        raise GateCheckError(f"The {job.kind()} is under way or done, so it cannot be retried.")
    queue.send_on_commit(job)
