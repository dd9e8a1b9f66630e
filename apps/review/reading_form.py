"""The reading form, made from the protocol: which fields, in which groups, with what in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from apps.review.answers import in_words, read_text
from apps.review.protocol import UNSURE, Protocol, Question

PREFIX = "answer-"  # so that no question can be named like another field of the form
SIGNS_TITLE = "Visible biomarkers"
TWO_WORDS = {"yes_no": (("1", "Yes"), ("0", "No")), "guess": (("0", "Real"), ("1", "Synthetic"))}
SIGN_WORDS = (("0", "Absent"), ("1", "Present"), (UNSURE, "Unsure"))


@dataclass(frozen=True, slots=True)
class Option:
    """One choice: what is sent, what is shown, what it means, and whether it is taken."""

    value: str
    label: str
    meaning: str
    is_taken: bool


@dataclass(frozen=True, slots=True)
class Field:
    """One question with its answer.

    Attributes:
        question: of the protocol.
        name: of the field in the form.
        options: what can be chosen; empty for a comment.
        text: of a comment.
        said: the answer in words.
        first_said: what was submitted, in words, where an amendment stands over it.
    """

    question: Question
    name: str
    options: tuple[Option, ...]
    text: str
    said: str
    first_said: str | None

    @property
    def is_answered(self) -> bool:
        return bool(self.text) or any(option.is_taken for option in self.options)

    @property
    def legend(self) -> str:
        """What the ends of a scale mean, for the line under it."""
        taken = next((option for option in self.options if option.is_taken), None)
        return f"{taken.label}: {taken.meaning}" if taken and taken.meaning else ""


@dataclass(frozen=True, slots=True)
class Group:
    """What one number of the form stands for: a question, or neighbouring signs of disease."""

    number: int
    title: str
    kind: str
    fields: tuple[Field, ...]

    @property
    def state(self) -> str:
        """How far it is answered, in words."""
        answered = sum(field.is_answered for field in self.fields)
        if answered == len(self.fields):
            return "answered"
        if not any(field.question.is_required for field in self.fields):
            return "may stay empty"
        return f"{answered} of {len(self.fields)}" if answered else "to answer"


def groups_of(
    plan: Protocol, answers: Mapping[str, Any], first_answers: Mapping[str, Any] | None = None
) -> list[Group]:
    """The form in its order. Signs of disease that follow each other share a number."""
    runs: list[list[Question]] = []
    for question in plan.questions:
        if runs and question.kind == "sign" and runs[-1][0].kind == "sign":
            runs[-1].append(question)
        else:
            runs.append([question])
    return [
        Group(
            number=number,
            title=SIGNS_TITLE if len(run) > 1 else run[0].text,
            kind=run[0].kind,
            fields=tuple(_field(question, answers, first_answers) for question in run),
        )
        for number, run in enumerate(runs, start=1)
    ]


def answers_in(form: QueryDict, plan: Protocol) -> dict[str, Any]:
    """The answers of a form that was sent, not yet checked."""
    answers = {}
    for question in plan.questions:
        if texts := form.getlist(PREFIX + question.name):
            answers[question.name] = read_text(question, texts)
    return answers


def _field(
    question: Question, answers: Mapping[str, Any], first_answers: Mapping[str, Any] | None
) -> Field:
    answer = answers.get(question.name)
    first = answer if first_answers is None else first_answers.get(question.name)
    taken = set(answer) if isinstance(answer, list) else {str(answer)}
    return Field(
        question=question,
        name=PREFIX + question.name,
        options=tuple(Option(*offer, offer[0] in taken) for offer in _offers(question)),
        text=str(answer or "") if question.kind == "comment" else "",
        said=in_words(question, answer),
        first_said=None if first == answer else in_words(question, first),
    )


def _offers(question: Question) -> Sequence[tuple[str, str, str]]:
    if question.kind == "scale":
        anchors = (*question.anchors, *[""] * 5)
        return [(str(step), str(step), anchors[step - 1]) for step in range(1, 6)]
    if question.kind == "cues":
        return [(choice, choice, "") for choice in question.choices]
    words = SIGN_WORDS if question.kind == "sign" else TWO_WORDS.get(question.kind, ())
    return [(value, label, "") for value, label in words]
