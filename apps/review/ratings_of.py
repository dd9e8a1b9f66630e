"""The readings of a study as rows, for the statistics and for files.

The database knows answers to forms; statistics know ratings. An amended answer is the one that
counts, and the first answer is kept beside it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from apps.review.models import ReaderStudy, Reading, Slot
from apps.review.protocol import UNSURE, Question

if TYPE_CHECKING:  # numpy is loaded where the statistics are computed, not in a web process
    from apps.review.statistics.ratings import Ratings

NUMERIC = ("yes_no", "scale", "guess", "sign")
MS_PER_S = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to one question at one presentation.

    Attributes:
        given: what counts: the newest amendment, or else the answer as it was submitted.
        first: the answer as it was submitted.
        reasons: of the amendments, oldest first; empty if there are none.
    """

    question: Question
    given: Any
    first: Any
    reasons: tuple[str, ...]

    @property
    def number(self) -> float | None:
        """As the statistics take it; None where nothing was said, or "unsure"."""
        if self.given is None or self.given == UNSURE or self.question.kind not in NUMERIC:
            return None
        return float(self.given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """One submitted reading: which case, at which place, and all answers to it.

    Attributes:
        reader, case: numbers.
        is_ad: recorded diagnosis; None where there is none.
        repeat_of: place at which this reader met the case first; None if this is that.
        active_s: time with the page in view; None if none was measured.
    """

    reader: int
    case: int
    arm: str
    is_ad: bool | None
    is_practice: bool
    position: int
    repeat_of: int | None
    active_s: float | None
    submitted_at: datetime
    answers: tuple[Answer, ...]


def presentations_of(study: ReaderStudy) -> list[Presentation]:
    """All submitted readings, practice too, in the order of readers and places."""
    questions = study.plan.questions
    readings = (
        Reading.objects.filter(slot__reader__study=study, submitted_at__isnull=False)
        .select_related("slot__case", "slot__reader", "slot__repeat_of")
        .prefetch_related("amendments")
        .order_by("slot__reader__number", "slot__position")
    )
    return [_presentation(reading, questions) for reading in readings]


def missing_readings(study: ReaderStudy) -> int:
    """Presentations of the study proper that are not submitted; withdrawn cases do not count."""
    meant = Slot.objects.filter(
        reader__study=study, case__is_practice=False, case__withdrawn_at=None
    )
    return meant.filter(reading__submitted_at=None).count()


def rated(presentations: Iterable[Presentation]) -> list[Presentation]:
    """Those that statistics are made of: no practice, no repeat of what was never submitted."""
    kept = [each for each in presentations if not each.is_practice]
    met = {(each.reader, each.position) for each in kept if each.repeat_of is None}
    return [each for each in kept if each.repeat_of is None or (each.reader, each.repeat_of) in met]


def ratings_of(
    presentations: Sequence[Presentation], *, without: frozenset[int] = frozenset()
) -> "Ratings":
    """What the statistics take. Worker only: it loads numpy.

    Args:
        presentations: from `rated`.
        without: numbers of readers to leave out.
    """
    from apps.review.statistics.ratings import Ratings  # noqa: PLC0415

    return Ratings.from_rows([row for row in _rows(presentations) if int(row[0]) not in without])


def sha256_of(presentations: Sequence[Presentation]) -> str:
    """Of all that the statistics take; the same ratings have the same hash."""
    text = json.dumps(_rows(presentations), separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


Row = tuple[str, str, str, str, float | None, int, float | None, int | None]


def _rows(presentations: Iterable[Presentation]) -> list[Row]:
    """Names have one length each, so that their order is that of the numbers."""
    return [
        (
            f"{each.reader:03}",
            f"{each.case:04}",
            each.arm,
            answer.question.name,
            answer.number,
            each.position,
            each.active_s,
            each.repeat_of,
        )
        for each in presentations
        for answer in each.answers
        if answer.question.kind in NUMERIC
    ]


def _presentation(reading: Reading, questions: Sequence[Question]) -> Presentation:
    slot = reading.slot
    amendments = list(reading.amendments.all())
    answers = []
    for question in questions:
        first = reading.answers.get(question.name)
        mine = [amendment for amendment in amendments if amendment.question == question.name]
        given = mine[-1].answer if mine else first
        reasons = tuple(amendment.reason for amendment in mine)
        answers.append(Answer(question=question, given=given, first=first, reasons=reasons))
    if reading.submitted_at is None:
        raise ValueError("A reading that was not submitted is no rating.")
    return Presentation(
        reader=slot.reader.number,
        case=slot.case.number,
        arm=slot.case.arm,
        is_ad=slot.case.is_ad,
        is_practice=slot.case.is_practice,
        position=slot.position,
        repeat_of=slot.repeat_of.position if slot.repeat_of else None,
        active_s=reading.active_ms / MS_PER_S if reading.active_ms else None,
        submitted_at=reading.submitted_at,
        answers=tuple(answers),
    )
