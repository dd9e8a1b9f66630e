"""Freeze holdouts and check gates. Called by tasks, which a broker may deliver twice."""

import shutil
from pathlib import Path
from uuid import UUID

from apps.errors import MirageError
from apps.jobs.attempt import Attempt, carry_out
from apps.registry import engine
from apps.registry.gates.holdouts import folder_of_holdout, hash_of, people_of
from apps.registry.gates.judging import by_its_name, check_people
from apps.registry.models import GateCheck, Holdout
from apps.registry.selectors import folder_of
from apps.registry.training.snapshot import write_cohort

PROGRESS_EVERY = 25  # invented people between two writes of the row


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
    check_people(check.candidate, check.holdout)

    def progress(done: int, total: int) -> None:
        with attempt.writing() as held:
            held.done, held.total = done, total
            held.save(update_fields=["done", "total"])

    with by_its_name(check.holdout):
        found = engine.check_gates(
            candidate=folder_of(check.candidate),
            champion=folder_of(check.champion) if check.champion else None,
            holdout=folder_of_holdout(check.holdout_id),
            progress=progress,
        )
    attempt.finish(gates=found["gates"], report=found["report"])
