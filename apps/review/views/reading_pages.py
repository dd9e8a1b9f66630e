"""What the reading page shows: the blinded presentation, and the answers of the reader."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from apps.review import blinding
from apps.review.answers import in_words
from apps.review.models import Reading, Slot
from apps.review.progress import Progress, amended_answers, progress_of
from apps.review.protocol import Question
from apps.review.reading_form import Field, Group, groups_of


@dataclass(frozen=True, slots=True)
class AmendmentLine:
    """One amendment in the reader's words."""

    made_at: datetime
    text: str
    said: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReadingPage:
    """One presentation on the page of its reader: nothing but what `presentation` allows."""

    slot: Slot
    reading: Reading | None
    shown: dict[str, Any]
    progress: Progress
    groups: Sequence[Group]
    amendments: Sequence[AmendmentLine]
    next_address: str
    next_volume_address: str

    @property
    def title(self) -> str:
        return str(self.shown["study"])

    @property
    def position(self) -> int:
        return int(self.shown["position"])

    @property
    def total(self) -> int:
        return int(self.shown["total"])

    @property
    def is_practice(self) -> bool:
        return bool(self.shown["is_practice"])

    @property
    def is_simulated(self) -> bool:
        return bool(self.shown["is_simulated"])

    @property
    def is_open(self) -> bool:
        return bool(self.shown["is_open"])

    @property
    def is_locked(self) -> bool:
        """Whether the page shows answers instead of asking for them."""
        return not self.is_open or (
            self.reading is not None and self.reading.submitted_at is not None
        )

    @property
    def is_last(self) -> bool:
        return self.progress.left == 1

    @property
    def may_amend(self) -> bool:
        return bool(self.is_open and self.shown["may_amend"])

    @property
    def window_low(self) -> int:
        return int(self.shown["window"][0])

    @property
    def window_high(self) -> int:
        return int(self.shown["window"][1])

    @property
    def volume_address(self) -> str:
        return reverse("review:case-volume", args=[self.slot.token]) if self.is_open else ""

    @property
    def mosaic_address(self) -> str:
        return reverse("review:case-picture", args=[self.slot.token]) if self.is_open else ""

    @property
    def wait_ms(self) -> int:
        """Viewing time that the protocol asks for."""
        return 1000 * int(self.shown["minimum_viewing_s"])

    @property
    def pace(self) -> str:
        """Session and time left, in words."""
        return f"Session {self.progress.session}{pace_in_words(self.progress, before=', ')}"

    @property
    def scales(self) -> list[Question]:
        """Questions whose steps have words."""
        return [
            field.question
            for group in self.groups
            for field in group.fields
            if field.question.anchors
        ]

    def field(self, question: str) -> Field | None:
        """The field of a question, by name."""
        fields = (field for group in self.groups for field in group.fields)
        return next((field for field in fields if field.question.name == question), None)


def pace_in_words(progress: Progress, *, before: str = "") -> str:
    """How long the rest will take at the reader's pace; nothing while that is not known."""
    minutes = progress.minutes_left
    if minutes is None or progress.is_finished:
        return ""
    return f"{before}about {minutes} min left at your pace"


def page_of(slot: Slot, reading: Reading | None) -> ReadingPage:
    """Everything that the reading page of a presentation shows."""
    shown = dict(blinding.presentation(slot))
    plan = slot.reader.study.plan
    first = dict(reading.answers) if reading else {}
    amended = amended_answers(reading) if reading else {}
    upcoming = blinding.next_slot(slot.reader)
    ahead = blinding.slot_after(slot) if upcoming == slot else None
    made = reading.amendments.all() if reading else ()
    return ReadingPage(
        slot=slot,
        reading=reading,
        shown=shown,
        progress=progress_of(slot.reader, total=shown["total"]),
        groups=groups_of(plan, amended, first),
        amendments=[
            AmendmentLine(
                made_at=one.made_at,
                text=plan.question(one.question).text,
                said=in_words(plan.question(one.question), one.answer),
                reason=one.reason,
            )
            for one in made
        ],
        next_address=reverse("review:reading", args=[upcoming.token]) if upcoming else "",
        next_volume_address=reverse("review:case-volume", args=[ahead.token]) if ahead else "",
    )
