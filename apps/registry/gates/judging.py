"""Whether a holdout may judge a bundle: asked at the request, and by the worker again."""

from collections.abc import Iterator
from contextlib import contextmanager

from apps.errors import MirageError
from apps.jobs.models import JobState
from apps.patients.models import Patient
from apps.registry import engine
from apps.registry.gates.holdouts import HoldoutError, folder_of_holdout, hash_of, people_of
from apps.registry.models import Bundle, Holdout, TrainingRun
from apps.registry.training.snapshot import person_of


class HoldoutChangedError(MirageError):
    """The people of a holdout are no longer those that were frozen."""


def held_to_judge(holdout: Holdout) -> Holdout:
    """A frozen holdout, which nobody retires before the caller's transaction has ended.

    Raises:
        HoldoutError: it is retired or not frozen yet.
    """
    held = Holdout.objects.select_for_update().get(pk=holdout.pk)
    if held.state != JobState.SUCCEEDED or held.retired_at is not None:
        raise HoldoutError(
            f"{held.name} judges nobody: it is retired or not frozen yet. Choose another holdout."
        )
    return held


def check_people(bundle: Bundle, holdout: Holdout) -> None:
    """Refuse people who are no longer those that were frozen, or who trained the bundle here.

    Raises:
        HoldoutChangedError: the holdout was retired, or its files were changed.
        UnfitHoldoutError: a training run of this installation learned from its people.
    """
    if holdout.retired_at is not None:
        raise HoldoutChangedError(
            f"{holdout.name} was retired meanwhile. Freeze another holdout and ask again."
        )
    if hash_of(folder_of_holdout(holdout.pk)) != holdout.sha256:
        raise HoldoutChangedError(
            f"The people of {holdout.name} are not those that were frozen (another SHA-256). "
            "Retire it, freeze another holdout and ask again."
        )
    _check_not_trained_on(bundle, holdout)


@contextmanager
def by_its_name(holdout: Holdout) -> Iterator[None]:
    """The engine's refusals call a holdout by its folder; outside it has a name.

    Raises:
        UnfitHoldoutError: the same refusal with the name.
    """
    try:
        yield
    except engine.UnfitHoldoutError as error:
        folder = folder_of_holdout(holdout.pk).name
        raise engine.UnfitHoldoutError(str(error).replace(folder, holdout.name)) from error


def _check_not_trained_on(bundle: Bundle, holdout: Holdout) -> None:
    """Refuse a bundle that was trained here before the holdout was frozen, on people of it.

    A bundle names a few donors alone, so the evaluation's own check knows most people only by luck.
    """
    run = TrainingRun.objects.filter(bundle=bundle).first()
    frozen_at = holdout.finished_at
    if run is None or frozen_at is None or frozen_at < run.requested_at:
        return  # made elsewhere, or trained without them
    people = people_of(folder_of_holdout(holdout.pk))
    held = {row.get("person_id") or row["participant_id"] for row in people}
    learned = Patient.objects.filter(cohort__in=run.cohorts.all(), created_at__lte=run.requested_at)
    seen = sum(person_of(each) in held for each in learned.only("pk", "identifier_hash"))
    if seen:
        raise engine.UnfitHoldoutError(
            f"{seen:,} of {len(people):,} people of {holdout.name} trained {bundle}: training run "
            f"{run.number} began before they were frozen. Freeze people of other cohorts, or "
            "train again without them."
        )
