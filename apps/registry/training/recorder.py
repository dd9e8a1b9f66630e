"""Writes down what a training tells, in batches, at most twice a second."""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Max
from django.utils import timezone

from apps.jobs.attempt import Attempt
from apps.registry.models import TrainingEvent, TrainingRun

logger = logging.getLogger(__name__)
WRITE_EVERY_S = 0.5
MOST_STEPS_A_WRITE = 25
MOST_HELD = 10_000
MOST_TEXT = 2_000


class Recorder:
    """Keeps what is told until it is time to write it, under the attempt that hears it.

    Args:
        attempt: writes nothing any more once its job is no longer its own.
    """

    def __init__(self, attempt: Attempt[TrainingRun]) -> None:
        self._attempt = attempt
        self._events: list[TrainingEvent] = []
        self._progress: dict[str, Any] = {}
        self._saved: dict[str, Any] = {}
        self._written_at = 0.0
        self._pace = Pace()

    def tell(self, event: Mapping[str, Any], memory_mb: float = 0.0) -> None:
        """Take note of an event (`ml.training_plan.Event`, as a mapping)."""
        now = timezone.now()
        told = TrainingEvent(
            attempt=self._attempt.number,
            told_at=now,
            kind=event["kind"],
            stage=event["stage"],
            step=event["step"],
            steps=event["steps"],
            values=_finite(event["values"]),
            text=event["text"][:MOST_TEXT],
            file=event["file"],
        )
        self._events.append(told)
        if told.kind == "stage":
            self._progress |= {"stage": told.stage, "done": 0, "total": told.steps}
        elif told.kind == "step":
            self._progress |= {"stage": told.stage, "done": told.step, "total": told.steps}
            self._progress["remaining_s"] = self._pace.left_s(told.stage, told.step, told.steps)
        elif told.kind == "saved":
            self._saved = self._saved_now(told, now)
        if memory_mb:
            self._progress["memory_mb"] = round(memory_mb, 1)

    def say(self, stage: str, text: str) -> None:
        """Take note of a line for the log."""
        self.tell({
            "kind": "log", "stage": stage, "step": 0, "steps": 0,
            "values": {}, "text": text, "file": "",
        })  # fmt: skip

    def write_if_due(self) -> None:
        """Write what was told since, unless that was done less than half a second ago.

        Raises:
            LeaseLostError: the job is no longer this attempt's.
        """
        if self._events and time.monotonic() - self._written_at >= WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        """Write what was told since; kept for later while the database is away.

        Raises:
            LeaseLostError: as above.
        """
        self._attempt.raise_if_lost()
        self._written_at = time.monotonic()
        events = thinned(self._events)
        try:
            with self._attempt.writing() as run:
                last = run.events.aggregate(last=Max("seq"))["last"] or 0
                for seq, event in enumerate(events, start=last + 1):
                    event.run, event.seq = run, seq
                TrainingEvent.objects.bulk_create(events)
                changes = self._progress | self._saved
                if self._saved:
                    changes["tries"] = 1  # only losses without a new checkpoint count
                if changes:
                    TrainingRun.objects.filter(pk=run.pk).update(**changes)
        except (OperationalError, InterfaceError):
            logger.warning("The database is away; what the training tells is kept for later")
            connection.close()
            del self._events[:-MOST_HELD]
            return
        self._events, self._saved = [], {}

    def note_last_checkpoint(self, run_id: Any) -> None:
        """After a job was cancelled: where its checkpoint stands, unless somebody has gone on."""
        if self._saved:
            same = TrainingRun.objects.filter(pk=run_id, attempt=self._attempt.number)
            same.update(**self._saved)

    def _saved_now(self, told: TrainingEvent, now: datetime) -> dict[str, Any]:
        return {
            "saved_at": now,
            "saved_stage": told.stage,
            "saved_step": told.step or self._progress.get("done", 0),
        }


class Pace:
    """How long the present stage still takes at the pace since it began here."""

    def __init__(self) -> None:
        self._stage = ""
        self._first = 0
        self._began_at = 0.0

    def left_s(self, stage: str, step: int, steps: int) -> float | None:
        """Seconds left in the stage; None before a second step was seen."""
        now = time.monotonic()
        if stage != self._stage or step < self._first:
            self._stage, self._first, self._began_at = stage, step, now
        if step <= self._first or not steps:
            return None
        return round((now - self._began_at) / (step - self._first) * max(0, steps - step), 1)


def thinned(events: list[TrainingEvent]) -> list[TrainingEvent]:
    """All events but steps, and of the steps of each stage some, evenly, the last among them."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, event in enumerate(events):
        if event.kind == "step":
            places[event.stage].append(place)
    left_out: set[int] = set()
    for steps in places.values():
        if len(steps) > MOST_STEPS_A_WRITE:
            every = len(steps) / MOST_STEPS_A_WRITE
            kept = {steps[-1 - int(n * every)] for n in range(MOST_STEPS_A_WRITE)}
            left_out |= set(steps) - kept
    return [event for place, event in enumerate(events) if place not in left_out]


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    """JSON of the database holds no NaN; a value that is none is left out of the curve."""
    return {
        name: float(f"{value:.6g}")
        for name, value in values.items()
        if isinstance(value, int | float) and abs(value) < 1e30
    }
