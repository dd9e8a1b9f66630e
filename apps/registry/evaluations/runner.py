"""Evaluate a bundle on a holdout. Called by a task, which a broker may deliver twice."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from apps.jobs.attempt import Attempt, carry_out
from apps.registry import engine
from apps.registry.evaluations.reports import pack, report_of
from apps.registry.gates.holdouts import folder_of_holdout
from apps.registry.gates.judging import by_its_name, check_people
from apps.registry.models import Evaluation
from apps.registry.selectors import folder_of

WRITE_EVERY_S = 0.5


def evaluate(*, evaluation_id: UUID) -> None:
    """Evaluate; do nothing if another worker has it."""
    carry_out(Evaluation, evaluation_id, _evaluate)


def _evaluate(attempt: Attempt[Evaluation]) -> None:
    evaluation = attempt.job()
    check_people(evaluation.bundle, evaluation.holdout)
    with tempfile.TemporaryDirectory(prefix="evaluation.") as draft:
        with by_its_name(evaluation.holdout):
            found = engine.evaluate(
                bundle=folder_of(evaluation.bundle),
                holdout=folder_of_holdout(evaluation.holdout_id),
                name=evaluation.holdout.name,
                is_quick=evaluation.is_quick,
                out=Path(draft),
                progress=progress_of(attempt),
            )
        attempt.raise_if_lost()
        report = report_of(evaluation)
        digest, size = pack(Path(draft), report)
    try:
        attempt.finish(**found, report_sha256=digest, report_bytes=size)
    except BaseException:
        report.unlink(missing_ok=True)
        raise


def progress_of(attempt: Attempt[Evaluation]) -> Callable[[str, int, int], None]:
    """Writes each stage down as it begins, and how far it is at most twice a second."""
    stage, written_at = "", 0.0

    def progress(now_at: str, done: int, total: int) -> None:
        nonlocal stage, written_at
        attempt.raise_if_lost()
        if now_at == stage and time.monotonic() - written_at < WRITE_EVERY_S:
            return
        stage, written_at = now_at, time.monotonic()
        with attempt.writing() as held:
            held.stage, held.done, held.total = stage, done, total
            held.save(update_fields=["stage", "done", "total"])

    return progress
