"""How far a reader has come, at which pace, and what they say by now."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from apps.review.models import Reader, Reading, Slot

FEWEST_FOR_A_PACE = 3  # submitted cases


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a reader stands in their order.

    Attributes:
        total, done: presentations, and how many of them are submitted.
        per_session: after how many of them a pause is proposed.
        pace_s: median active seconds a case; None while too few are submitted.
    """

    total: int
    done: int
    per_session: int
    pace_s: float | None

    @property
    def left(self) -> int:
        return self.total - self.done

    @property
    def is_finished(self) -> bool:
        return self.left == 0

    @property
    def session(self) -> int:
        """Number of the session that the next case belongs to."""
        return min(self.done, self.total - 1) // self.per_session + 1

    @property
    def is_pause(self) -> bool:
        """Whether a session has just ended and another follows."""
        return bool(self.done) and self.done % self.per_session == 0 and not self.is_finished

    @property
    def minutes_left(self) -> int | None:
        """At the reader's own pace; None while it is not known."""
        if self.pace_s is None:
            return None
        return max(1, round(self.left * self.pace_s / 60))


def progress_of(reader: Reader, *, total: int) -> Progress:
    """Where a reader stands among their `total` presentations, as blinding counts them."""
    submitted = Reading.objects.filter(slot__reader=reader, submitted_at__isnull=False)
    times_ms = list(submitted.values_list("active_ms", flat=True))
    pace_s = median(times_ms) / 1000 if len(times_ms) >= FEWEST_FOR_A_PACE else None
    return Progress(
        total=total,
        done=len(times_ms),
        per_session=reader.study.plan.cases_per_session,
        pace_s=pace_s,
    )


def submitted_slots(reader: Reader) -> Sequence[Slot]:
    """What a reader has submitted, in their order, each with its reading."""
    slots = Slot.objects.filter(reader=reader, reading__submitted_at__isnull=False)
    return list(
        slots.select_related("reading").prefetch_related("reading__amendments").order_by("position")
    )


def amended_answers(reading: Reading) -> dict[str, Any]:
    """The answers of a reading with its amendments laid over them: the ones that count."""
    answers: dict[str, Any] = dict(reading.answers)
    for amendment in reading.amendments.all():  # in the order they were made
        answers[amendment.question] = amendment.answer
    return answers
