"""Saving, submitting and amending what a reader says of a case.

The study row is locked in shared mode first, so that no answer slips in while the study is being
locked, and twenty readers do not wait for each other; then the reading itself, so that two tabs do.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from apps.accounts.signing import LONGEST_REASON
from apps.errors import MirageError
from apps.review.answers import checked, checked_answer, missing
from apps.review.blinding import next_slot
from apps.review.models import Amendment, Reading, Slot, StudyState
from apps.review.progress import amended_answers
from apps.review.protocol import Protocol

LONGEST_CLAIM_MS = 3_600_000  # of a simulated reader, for one case


class StudyClosedError(MirageError):
    """The study takes no answers any more, or not yet."""


class NotTheTurnError(MirageError):
    """An earlier case of the frozen order is still to be submitted."""


class StaleReadingError(MirageError):
    """The reading was saved elsewhere since this page was drawn; `reading` is as it stands."""

    def __init__(self, reading: Reading, text: str) -> None:
        super().__init__(text)
        self.reading = reading


class AlreadySubmittedError(StaleReadingError):
    """The reading was submitted before, and is locked."""


class NotYetError(MirageError):
    """The case cannot be submitted yet; what was answered is kept.

    Attributes:
        reading: as it was saved.
        question: name of the first required question that is open, if one is.
        wait_s: of viewing time that are to go.
    """

    def __init__(
        self, reading: Reading, text: str, *, question: str | None = None, wait_s: int = 0
    ) -> None:
        super().__init__(text)
        self.reading = reading
        self.question = question
        self.wait_s = wait_s


class AmendmentError(MirageError):
    """An amendment that the protocol or its own content does not allow."""


@transaction.atomic
def begin_reading(*, slot: Slot, now: datetime) -> Reading | None:
    """Note when a reader first saw a case, by the server's clock.

    Returns:
        The reading; None where the study is closed and the case was never seen.
    """
    existing = Reading.objects.filter(slot=slot).first()
    if existing is not None or _state(slot) != StudyState.OPEN or _comes_too_early(slot):
        return existing
    reading, _ = Reading.objects.get_or_create(
        slot=slot, defaults={"first_seen_at": now, "saved_at": now}
    )
    return reading


@transaction.atomic
def save_answers(
    *, slot: Slot, answers: Mapping[str, Any], revision: int, active_ms: int, now: datetime
) -> Reading:
    """Keep what is answered so far, complete or not.

    Args:
        slot: of the reader who asks; whose it is was checked by `blinding.visible_slot`.
        answers: all of them, by name of the question.
        revision: the one that the page was drawn from or last told.
        active_ms: milliseconds on this case with the page in view, as the page counted them.
        now: by the server's clock.

    Raises:
        AnswerError, StudyClosedError, NotTheTurnError, AlreadySubmittedError, StaleReadingError.
    """
    reading = _claim(slot, now)
    said = checked(_plan(slot), answers)
    if reading.submitted_at is not None:
        raise _already_submitted(reading)
    _write(reading, slot, said, revision, active_ms, now)
    reading.save(update_fields=["answers", "revision", "active_ms", "saved_at"])
    return reading


def submit_reading(
    *, slot: Slot, answers: Mapping[str, Any], revision: int, active_ms: int, now: datetime
) -> Reading:
    """Keep the answers and lock the case. The same submission a second time changes nothing.

    Raises:
        NotYetError: an answer or viewing time is missing; the answers are saved all the same.
        AnswerError, StudyClosedError, NotTheTurnError, AlreadySubmittedError, StaleReadingError.
    """
    with transaction.atomic():
        reading = _claim(slot, now)
        plan = _plan(slot)
        said = checked(plan, answers)
        if reading.submitted_at is not None:
            if said == reading.answers:
                return reading  # a double click, or a response that was lost on its way
            raise _already_submitted(reading)
        _write(reading, slot, said, revision, active_ms, now)
        refusal = _refusal(reading, plan)
        if refusal is None:
            reading.submitted_at = max(now, reading.first_seen_at)
        reading.save()
    if refusal is not None:
        raise refusal
    return reading


def _refusal(reading: Reading, plan: Protocol) -> NotYetError | None:
    """Why a reading cannot be submitted as it stands; None if it can."""
    if open_questions := missing(plan, reading.answers):
        first, *others = open_questions
        more = f", and {len(others)} more" if others else ""
        return NotYetError(
            reading,
            f"“{first.text}” has no answer yet{more}. Every required question needs one "
            "before the case can be submitted.",
            question=first.name,
        )
    wait_ms = 1000 * plan.minimum_viewing_s - reading.active_ms
    if wait_ms > 0:
        wait_s = -(-wait_ms // 1000)
        return NotYetError(
            reading,
            f"The protocol asks for {plan.minimum_viewing_s} s with each case in view. "
            f"{wait_s} s are to go: submit again after that.",
            wait_s=wait_s,
        )
    return None


@transaction.atomic
def amend_reading(
    *, slot: Slot, question: str, answer: Any, reason: str, now: datetime
) -> Amendment:
    """Say something else of a submitted case. The first answer stays beside it.

    Raises:
        AmendmentError, AnswerError, StudyClosedError.
    """
    reading = _claim(slot, now)
    plan = _plan(slot)
    if reading.submitted_at is None:
        raise AmendmentError("This case is not submitted yet: change the answer in its form.")
    if not plan.may_amend:
        raise AmendmentError("The protocol of this study allows no amendments.")
    reason = reason.strip()
    if not reason:
        raise AmendmentError("An amendment needs a reason. Write in a few words what changed.")
    if len(reason) > LONGEST_REASON:
        raise AmendmentError(
            f"A reason has at most {LONGEST_REASON:,} characters. You wrote {len(reason):,}. "
            "Shorten it."
        )
    asked = next((one for one in plan.questions if one.name == question), None)
    if asked is None:
        raise AmendmentError(f"The protocol has no question {question!r}.")
    said = checked_answer(asked, answer)
    if said == amended_answers(reading).get(question):
        raise AmendmentError(
            f"“{asked.text}” has this answer already. Choose another one, or leave it."
        )
    return Amendment.objects.create(
        reading=reading, question=question, answer=said, reason=reason, made_at=now
    )


def _claim(slot: Slot, now: datetime) -> Reading:
    """The reading of a slot, locked for this transaction, in a study that is open."""
    state = _state(slot)
    if state != StudyState.OPEN:
        raise StudyClosedError(
            "This study is closed: nothing more is saved, submitted or amended. "
            "What you submitted before is kept."
        )
    reading = _held(slot)
    if reading is not None:
        return reading
    if _comes_too_early(slot):
        raise NotTheTurnError(
            "An earlier case of your order is still to be submitted. Go on from your worklist."
        )
    Reading.objects.get_or_create(slot=slot, defaults={"first_seen_at": now, "saved_at": now})
    return Reading.objects.select_for_update(of=("self",)).order_by().get(slot=slot)


def _held(slot: Slot) -> Reading | None:
    """The reading, locked by itself.

    Its usual order would join slot, reader and study, and lock them all: readers of one study would
    then wait for each other, and deadlock on the study that each holds in shared mode.
    """
    return Reading.objects.select_for_update(of=("self",)).order_by().filter(slot=slot).first()


def _state(slot: Slot) -> str:
    """State of the study, which cannot change until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT state FROM review_readerstudy WHERE id = %s FOR SHARE", [slot.reader.study_id]
        )
        [state] = cursor.fetchone()
    return str(state)


def _comes_too_early(slot: Slot) -> bool:
    due = next_slot(slot.reader)
    return due is not None and due.position < slot.position


def _plan(slot: Slot) -> Protocol:
    return slot.reader.study.plan


def _already_submitted(reading: Reading) -> AlreadySubmittedError:
    return AlreadySubmittedError(
        reading,
        f"This case was submitted at {_clock(reading.submitted_at)}, in another tab or before. "
        "It is locked, and what you changed since is not kept.",
    )


def _write(
    reading: Reading,
    slot: Slot,
    answers: dict[str, Any],
    revision: int,
    active_ms: int,
    now: datetime,
) -> None:
    """Put the answers into the reading, unless it moved on without this page."""
    if revision != reading.revision and answers != reading.answers:
        raise StaleReadingError(
            reading,
            f"This case was changed in another tab at {_clock(reading.saved_at)}. "
            "Take the answers given there, or keep those of this page.",
        )
    if answers != reading.answers:
        reading.revision += 1
    reading.answers = answers
    reading.active_ms = _believed_ms(reading, slot, active_ms, now)
    reading.saved_at = max(now, reading.saved_at)


def _believed_ms(reading: Reading, slot: Slot, claimed_ms: int, now: datetime) -> int:
    """What is believed of the claimed time: since the last save no more than the server saw pass.

    A program reads faster than any person, and its times are drawn: those of a simulated reader,
    who is marked as such everywhere, are taken as they are.
    """
    if slot.reader.is_simulated:
        return max(reading.active_ms, min(claimed_ms, LONGEST_CLAIM_MS))
    passed_ms = max(0, int((now - reading.saved_at).total_seconds() * 1000))
    return max(reading.active_ms, min(claimed_ms, reading.active_ms + passed_ms))


def _clock(moment: datetime | None) -> str:
    return f"{timezone.localtime(moment):%H:%M:%S}"
