"""Freeze holdouts and check gates. Called by tasks, which a broker may deliver twice."""

import shutil
from pathlib import Path
from uuid import UUID

from apps.errors import MirageError
from apps.jobs.attempt import Attempt, carry_out
from apps.patients.models import Patient
from apps.registry import engine
from apps.registry.gates.holdouts import folder_of_holdout, hash_of, people_of
from apps.registry.models import GateCheck, Holdout, TrainingRun
from apps.registry.selectors import folder_of
from apps.registry.training.snapshot import person_of, write_cohort

PROGRESS_EVERY = 25  # invented people between two writes of the row


class HoldoutChangedError(MirageError):
    """The people of a holdout are no longer those that were frozen."""


class StorageError(MirageError):
    """The people could not be written."""


def freeze_holdout(*, holdout_id: UUID) -> None:
    """Write the people of a holdout; do nothing if another worker has it."""
    carry_out(Holdout, holdout_id, _freeze)


def check_gates(*, check_id: UUID) -> None:
    """Judge a candidate; do nothing if another worker has it."""
    carry_out(GateCheck, check_id, _check)


def _freeze(attempt: Attempt[Holdout]) -> None:
    """The folder gets its name when it is whole; drafts of lost attempts go first."""
    holdout = attempt.job()
    folder = folder_of_holdout(holdout.pk)
    for old in [*folder.parent.glob(f"{holdout.pk}.*"), folder]:
        shutil.rmtree(old, ignore_errors=True)
    draft = folder.with_name(f"{holdout.pk}.{attempt.number}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(attempt, holdout, draft)
        people, digest = people_of(draft), hash_of(draft)
        draft.rename(folder)
    except OSError as error:
        raise StorageError(
            f"The holdout could not be written to the media folder ({error.strerror}). Make room "
            "on the disk, then retry."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    attempt.finish(
        sha256=digest,
        people=len(people),
        people_with_ad=sum(row["diagnosis"] == "AD" for row in people),
    )


def _write(attempt: Attempt[Holdout], holdout: Holdout, draft: Path) -> None:
    if holdout.phantoms is None:
        write_cohort(draft, holdout.cohorts.all(), as_known_at=holdout.requested_at)
        return

    def progress(done: int, total: int) -> None:
        attempt.raise_if_lost()
        if done % PROGRESS_EVERY == 0 or done == total:
            with attempt.writing() as held:
                held.done, held.total = done, total
                held.save(update_fields=["done", "total"])

    engine.invent_holdout(
        out=draft,
        people=holdout.phantoms,
        spacing_mm=holdout.spacing_mm,
        seed=holdout.seed,
        mark=holdout.pk.hex[:8],
        progress=progress,
    )


def _check(attempt: Attempt[GateCheck]) -> None:
    check = attempt.job()
    folder = folder_of_holdout(check.holdout_id)
    if check.holdout.retired_at is not None:
        raise HoldoutChangedError(
            f"{check.holdout.name} was retired meanwhile. Freeze another holdout and check again."
        )
    if hash_of(folder) != check.holdout.sha256:
        raise HoldoutChangedError(
            f"The people of {check.holdout.name} are not those that were frozen (another SHA-256). "
            "Retire it, freeze another holdout and check again."
        )

    _check_not_trained_on(check)

    def progress(done: int, total: int) -> None:
        with attempt.writing() as held:
            held.done, held.total = done, total
            held.save(update_fields=["done", "total"])

    try:
        found = engine.check_gates(
            candidate=folder_of(check.candidate),
            champion=folder_of(check.champion) if check.champion else None,
            holdout=folder,
            progress=progress,
        )
    except engine.UnfitHoldoutError as error:  # which calls the holdout by its folder
        raise engine.UnfitHoldoutError(
            str(error).replace(folder.name, check.holdout.name)
        ) from error
    attempt.finish(gates=found["gates"], report=found["report"])


def _check_not_trained_on(check: GateCheck) -> None:
    """Refuse a candidate that was trained here before the holdout was frozen, on people of it.

    A bundle names a few donors alone, so the evaluation's own check knows most people only by luck.
    """
    run = TrainingRun.objects.filter(bundle=check.candidate).first()
    frozen_at = check.holdout.finished_at
    if run is None or frozen_at is None or frozen_at < run.requested_at:
        return  # made elsewhere, or trained without them
    people = people_of(folder_of_holdout(check.holdout_id))
    held = {row.get("person_id") or row["participant_id"] for row in people}
    learned = Patient.objects.filter(cohort__in=run.cohorts.all(), created_at__lte=run.requested_at)
    seen = sum(person_of(each) in held for each in learned.only("pk", "identifier_hash"))
    if seen:
        raise engine.UnfitHoldoutError(
            f"{seen:,} of {len(people):,} people of {check.holdout.name} trained "
            f"{check.candidate}: training run {run.number} began before they were frozen. "
            "Freeze people of other cohorts, or train again without them."
        )
