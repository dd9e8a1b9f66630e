"""Carry out queued trainings. Called by a task, which a broker may deliver twice."""

import json
import signal
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from apps.errors import MirageError
from apps.jobs import queue
from apps.jobs.attempt import Attempt, LeaseLostError, carry_out
from apps.jobs.models import JobState
from apps.registry.models import TrainingRun
from apps.registry.services import register_bundle
from apps.registry.training import child, people, snapshot
from apps.registry.training.folder import RunFolder
from apps.registry.training.process import TrainingProcess
from apps.registry.training.recorder import Recorder
from ml.card import CARD_FILE, BundleError, verify
from ml.config import PROFILES

LOOK_EVERY_S = 0.25
WEIGH_EVERY_S = 1.0
STOP_WITHIN_S = 120.0
"""A cancelled training may take so long to end its step and save."""


class TrainingFailedError(MirageError):
    """A training ended without a bundle; the text says why and what to do."""


class ChildCrashedError(Exception):
    """The child met a bug; says where, and nothing of the people."""


def train(*, run_id: UUID) -> None:
    """Carry out one training, then let the next one of its device know; or leave it to others."""
    try:
        carry_out(TrainingRun, run_id, _train)
    finally:
        with suppress(DatabaseError):
            _send_next(run_id)


def _send_next(run_id: UUID) -> None:
    ended = TrainingRun.objects.filter(pk=run_id).exclude(state=JobState.RUNNING)
    waiting = TrainingRun.objects.filter(
        state=JobState.QUEUED, device__in=ended.values("device")
    ).order_by("number")
    if run := waiting.first():
        queue.send(run)


def _train(attempt: Attempt[TrainingRun]) -> None:
    run = attempt.job()
    folder, recorder = RunFolder(run.pk), Recorder(attempt)
    with folder.held(attempt.raise_if_lost):
        if run.dropped:
            raise TrainingFailedError(f"It cannot go on: {run.dropped}")
        if attempt.number > 1:
            recorder.say(run.stage or child.SNAPSHOT, f"Attempt {attempt.number} begins.")
        _take_snapshot(attempt, folder, recorder)
        if not _is_made(folder):
            _train_in_child(attempt, folder, recorder)
        recorder.write()
        _register(attempt, folder)
        folder.drop()


def _take_snapshot(attempt: Attempt[TrainingRun], folder: RunFolder, recorder: Recorder) -> None:
    """The people as they were known when the training was asked for, once."""
    run = attempt.job()
    if folder.cohort.exists() or run.phantoms is not None:
        return
    if run.snapshot:
        raise TrainingFailedError(
            "The snapshot of its people is not in the data folder of this worker. Let the machine "
            "resume it that began it, or start a new run with the same choices."
        )
    recorder.tell(_snapshot_begins())
    recorder.write()
    with folder.draft() as draft:
        told = snapshot.write_cohort(draft, run.cohorts.all(), as_known_at=run.requested_at)
        left_out = people.held_out(run)
        (folder.path / "held_out.json").write_text(json.dumps(left_out), encoding="utf-8")
        with attempt.writing() as held:
            held.snapshot = {**told, "held_out": people.counted(draft, left_out)}
            held.tries = 1  # only losses without progress count
            held.save(update_fields=["snapshot", "tries"])


def _snapshot_begins() -> dict[str, object]:
    begins = {"kind": "stage", "stage": child.SNAPSHOT, "step": 0, "steps": 0}
    return {**begins, "values": {}, "text": "", "file": ""}


def _is_made(folder: RunFolder) -> bool:
    """Whether an earlier attempt was lost between the last byte of the bundle and its row."""
    if not (folder.bundle / CARD_FILE).exists():
        return False
    try:
        verify(folder.bundle)
    except BundleError:
        return False
    return True


def _train_in_child(attempt: Attempt[TrainingRun], folder: RunFolder, recorder: Recorder) -> None:
    job = _write_job(attempt.job(), folder)
    with TrainingProcess(job, folder.work) as process:
        try:
            said = _listen(attempt, process, recorder, folder)
        except LeaseLostError:
            _let_save(process, recorder)
            recorder.note_last_checkpoint(attempt.job().pk)
            raise
        recorder.write()
        if said is None:
            raise TrainingFailedError(_killed(process.status))
    if said[child.END] == child.REFUSED:
        raise TrainingFailedError(said["reason"])
    if said[child.END] != child.DONE:
        raise ChildCrashedError(said.get("place", said[child.END]))


def _write_job(run: TrainingRun, folder: RunFolder) -> Path:
    held_out = folder.path / "held_out.json"
    phantoms = None
    if run.phantoms is not None:
        spacing_mm = PROFILES[run.plan["profile"]].spacing_mm
        phantoms = {"people": run.phantoms, "spacing_mm": spacing_mm, "seed": run.plan["seed"]}
    job = {
        "cohort": str(folder.cohort),
        "phantoms": phantoms,
        "plan": {**run.plan, "device": run.device},
        "work": str(folder.work),
        "out": str(folder.bundle),
        "command": f"training run {run.number} of the web application",
        "exclude_persons": json.loads(held_out.read_text()) if held_out.exists() else [],
        "threads": settings.MIRAGE_TRAINING_THREADS,
    }
    path = folder.path / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def _listen(
    attempt: Attempt[TrainingRun],
    process: TrainingProcess,
    recorder: Recorder,
    folder: RunFolder,
) -> dict[str, str] | None:
    """Write down what the child tells; returns its last word, None if it was killed before."""
    weighed_at = 0.0
    for message in process.messages(every_s=LOOK_EVERY_S):
        attempt.raise_if_lost()
        if message is None:
            recorder.write_if_due()
            if time.monotonic() - weighed_at > WEIGH_EVERY_S:
                weighed_at = time.monotonic()
                _check_memory(process)
        elif child.EVENT in message:
            recorder.tell(message[child.EVENT], message["memory_mb"])
        elif child.MADE in message:
            _describe_phantoms(attempt, folder)
        else:
            return message
    return None


def _check_memory(process: TrainingProcess) -> None:
    limit_gb, held_gb = settings.MIRAGE_TRAINING_MEMORY_GB, process.memory_mb() / 1000
    if held_gb > limit_gb:
        raise TrainingFailedError(
            f"The training held {held_gb:.1f} GB of memory; the limit is {limit_gb:g} GB "
            "(MIRAGE_TRAINING_MEMORY_GB). Choose a coarser profile or fewer people, or have the "
            "limit raised, then resume."
        )


def _describe_phantoms(attempt: Attempt[TrainingRun], folder: RunFolder) -> None:
    told = people.described(folder.cohort)
    with attempt.writing() as held:
        held.snapshot = told
        held.tries = 1  # as for a checkpoint
        held.save(update_fields=["snapshot", "tries"])


def _let_save(process: TrainingProcess, recorder: Recorder) -> None:
    """The job was cancelled, or the database is away: have the child save and end."""
    process.ask_to_stop()
    deadline = time.monotonic() + STOP_WITHIN_S
    for message in process.messages(every_s=LOOK_EVERY_S):
        if message is not None and child.EVENT in message:
            recorder.tell(message[child.EVENT], message["memory_mb"])
        if time.monotonic() > deadline:
            return


def _killed(status: int | None) -> str:
    if status == -signal.SIGKILL:
        return (
            "The process of the training was killed, most likely because the machine ran out of "
            "memory. Resume it when the machine has less to do, or start a smaller one."
        )
    return (
        f"The process of the training ended by itself (status {status}), as after a fault of the "
        "device or its driver. Resume it; it goes on from its last checkpoint."
    )


def _register(attempt: Attempt[TrainingRun], folder: RunFolder) -> None:
    """Take the bundle over and end the attempt, in one step for whoever looks."""
    with attempt.writing():
        bundle = register_bundle(folder=folder.bundle, now=timezone.now())
        attempt.finish(
            bundle=bundle,
            split_sha256=bundle.card["training"]["split"],
            stage="write",
            remaining_s=None,
        )
