"""What may be answered to a question of the protocol, and what is still missing."""

from collections.abc import Mapping
from typing import Any

from apps.errors import MirageError
from apps.review.protocol import UNSURE, Protocol, Question

LONGEST_COMMENT = 2000  # characters

Answer = int | str | list[str]


class AnswerError(MirageError):
    """An answer that the question does not offer; `question` is its name."""

    def __init__(self, question: str, text: str) -> None:
        super().__init__(text)
        self.question = question


def checked(protocol: Protocol, answers: Mapping[str, Any]) -> dict[str, Answer]:
    """The answers as they are stored, in the order of the form. What is left open is left out.

    Raises:
        AnswerError: an unknown question, or an answer that it does not offer.
    """
    known = {question.name for question in protocol.questions}
    for name in answers:
        if name not in known:
            raise AnswerError(
                name, f"The protocol has no question {name!r}. Reload the page to see its form."
            )
    return {
        question.name: checked_answer(question, answers[question.name])
        for question in protocol.questions
        if answers.get(question.name) not in (None, "", [])
    }


def checked_answer(question: Question, value: Any) -> Answer:
    """One answer as it is stored.

    Raises:
        AnswerError: the question does not offer it.
    """
    if question.kind == "comment":
        return _comment(question, value)
    if question.kind == "cues":
        return _cues(question, value)
    if question.kind == "sign" and value == UNSURE:
        return UNSURE
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(question, value)
    if value not in question.categories:
        raise _refused(question, value)
    return int(value)


def missing(protocol: Protocol, answers: Mapping[str, Any]) -> list[Question]:
    """Questions that must be answered before a case can be submitted and are not."""
    return [
        question
        for question in protocol.questions
        if question.is_required and question.name not in answers
    ]


def read_text(question: Question, texts: list[str]) -> Any:
    """An answer as a form sends it: "3" is the number 3; not yet checked."""
    if question.kind == "cues":
        return texts
    text = texts[-1].strip() if texts else ""
    if question.kind == "comment" or not text.isdecimal():
        return text
    return int(text[:9])  # a longer number is refused, not computed


def in_words(question: Question, answer: Any) -> str:
    """An answer as a page shows it."""
    if answer is None or answer == []:
        return "no answer"
    if question.kind == "yes_no":
        return "Yes" if answer else "No"
    if question.kind == "guess":
        return "Synthetic" if answer else "Real"
    if question.kind == "sign":
        return "Unsure" if answer == UNSURE else "Present" if answer else "Absent"
    if question.kind == "cues":
        return ", ".join(answer)
    if question.kind == "scale" and len(question.anchors) >= int(answer):
        return f"{answer}, {question.anchors[int(answer) - 1]}"
    return str(answer)


def _comment(question: Question, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _refused(question, "what was sent")
    if len(value) > LONGEST_COMMENT:
        raise AnswerError(
            question.name,
            f"{question.text}: at most {LONGEST_COMMENT:,} characters. "
            f"You wrote {len(value):,}. Shorten it.",
        )
    return value


def _cues(question: Question, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(one in question.choices for one in value):
        raise _refused(question, "what was ticked")
    return [choice for choice in question.choices if choice in value]


def _refused(question: Question, value: Any) -> AnswerError:
    offered = ", ".join(f"{category:g}" for category in question.categories)
    if question.kind == "sign":
        offered += f", {UNSURE}"
    offered = offered or ", ".join(question.choices) or "text"
    return AnswerError(
        question.name,
        f"{question.text}: {str(value)[:40]!r} is no answer to it. Choose one of {offered}.",
    )
