"""The protocol of a reader study: everything that is decided before the first case is read.

Plain data, standard library only. A draft keeps it as JSON; at the freeze it is hashed, and from
then on nothing in it changes.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Literal

from apps.errors import MirageError

LONGEST_RUN = 4  # presentations of one arm after each other
LEAST_REPEAT_GAP = 20  # presentations between a case and its repeat
UNSURE = "unsure"
SCALE_STEPS = 5
FEWEST_CHOICES = 2
LONGEST_NAME = 40
NAME = re.compile(rf"[a-z][a-z0-9_]{{0,{LONGEST_NAME - 1}}}")
SHARES = (0.10, 0.20)  # of repeats, if there are any
SPACINGS_MM = (2.0, 4.0, 8.0)
LIMITS: Mapping[str, tuple[str, float, float]] = {  # part to its words, least and most
    "cases_per_arm": ("Cases in each arm", 2, 500),
    "practice_cases": ("Practice cases", 0, 20),
    "minimum_viewing_s": ("Least seconds on a case", 0, 600),
    "cases_per_session": ("Cases in one session", 5, 500),
    "alpha": ("The level of the tests", 0.001, 0.2),
    "replicates": ("Bootstrap samples", 100, 10_000),
    "seed": ("The seed", 0, 2**31 - 1),
}


class Arm(StrEnum):
    """Where the volume of a case comes from. Readers never learn it before the study is locked."""

    REAL = "real"
    PSEUDO_MRI = "pseudo_mri"
    RECONSTRUCTION = "reconstruction"  # a real scan through the autoencoder


Kind = Literal["yes_no", "scale", "guess", "sign", "cues", "comment"]


class ProtocolError(MirageError):
    """A protocol that no study can follow; the text says which part and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of the reading form.

    Attributes:
        name: of its answer in every table, a lower-case identifier.
        text: as readers see it.
        kind: yes_no (1 or 0), scale (1 to 5), guess (0 real, 1 synthetic), sign (of a disease: 0
            absent, 1 present, or "unsure"), cues (any of `choices`), comment (free text).
        anchors: for a scale, what each of the steps 1 to 5 means.
        choices: for cues, what can be ticked.
        margin: differences of arms within it do not matter; None if equivalence is not asked.
        is_required: whether a case can be submitted without it.
    """

    name: str
    text: str
    kind: Kind
    anchors: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    margin: float | None = None
    is_required: bool = True

    @property
    def categories(self) -> tuple[float, ...]:
        """All numbers that an answer can be; none where answers are words."""
        if self.kind == "scale":
            return (1.0, 2.0, 3.0, 4.0, 5.0)
        return (0.0, 1.0) if self.kind in ("yes_no", "guess", "sign") else ()


PAPER_QUESTIONS = (
    Question(
        name="realism",
        text="Anatomically realistic?",
        kind="yes_no",
        margin=0.1,
    ),
    Question(
        name="usability",
        text="Clinical usability",
        kind="scale",
        anchors=(
            "not usable",
            "usable for gross findings only",
            "usable with limits",
            "usable with small limits",
            "fully usable",
        ),
        margin=0.5,
    ),
    Question(
        name="interpretability",
        text="Diagnostic interpretability",
        kind="scale",
        anchors=(
            "no question can be answered",
            "few questions can be answered",
            "some questions can be answered",
            "most questions can be answered",
            "every question can be answered",
        ),
        margin=0.5,
    ),
)
FURTHER_QUESTIONS = (
    Question(
        name="confidence",
        text="Confidence in these answers",
        kind="scale",
        anchors=("a guess", "low", "moderate", "high", "certain"),
    ),
    Question(name="guess", text="Real or synthetic?", kind="guess"),
    Question(name="hippocampal_atrophy", text="Hippocampal atrophy", kind="sign"),
    Question(name="ventricular_enlargement", text="Ventricular enlargement", kind="sign"),
    Question(name="cortical_thinning", text="Cortical thinning", kind="sign"),
    Question(
        name="cues",
        text="What decided real or synthetic",
        kind="cues",
        choices=("sharpness", "noise", "folding of the cortex", "ventricles", "edges", "symmetry"),
        is_required=False,
    ),
    Question(name="comment", text="Comment", kind="comment", is_required=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What a study asks, of how many cases, in which order, and what will be tested.

    Attributes:
        questions: in the order of the form.
        arms: the reference (real) first.
        spacing_mm: voxel edge of all study copies; sources on a coarser grid are not drawn.
        same_people: whether each person gives a case to every arm; otherwise to one arm alone.
        cases_per_arm: half of them AD and half CN where the diagnosis is known.
        practice_cases: read first, by everybody, and never analysed.
        repeat_share: share of the cases that each reader meets again, unannounced.
        minimum_viewing_s: active seconds on a case before it can be submitted.
        cases_per_session: after which a pause is proposed.
        may_go_back: whether a reader may look at cases they have submitted.
        may_amend: whether a submitted answer may be amended, with a reason, until the lock.
        hypotheses: in words.
        exclusions: in words, which readings will be left out of the analysis.
        alpha: level of the tests.
        replicates: of the bootstrap over readers and cases.
        seed: of the draw of cases, the order and the bootstrap.
    """

    questions: tuple[Question, ...] = (*PAPER_QUESTIONS, *FURTHER_QUESTIONS)
    arms: tuple[Arm, ...] = (Arm.REAL, Arm.PSEUDO_MRI)
    spacing_mm: float = 2.0
    same_people: bool = False
    cases_per_arm: int = 25
    practice_cases: int = 2
    repeat_share: float = 0.15
    minimum_viewing_s: int = 10
    cases_per_session: int = 30
    may_go_back: bool = True
    may_amend: bool = True
    hypotheses: str = (
        "Ratings of pseudo-MRIs are equivalent to ratings of real scans within the stated margins."
    )
    exclusions: str = "Practice cases. Repeats count for agreement only."
    alpha: float = 0.05
    replicates: int = 2000
    seed: int = 1

    def question(self, name: str) -> Question:
        """The question of that name.

        Raises:
            ProtocolError: there is none.
        """
        for question in self.questions:
            if question.name == name:
                return question
        raise ProtocolError(f"The protocol has no question {name!r}.")

    @property
    def repeats(self) -> int:
        """How many cases each reader meets twice."""
        return round(self.repeat_share * self.cases_per_arm * len(self.arms))

    def check(self) -> None:
        """Refuse what no study can follow.

        Raises:
            ProtocolError: with every problem, one sentence each.
        """
        if problems := problems_of(self):
            raise ProtocolError(" ".join(problem.text for problem in problems))

    def to_json(self) -> dict[str, Any]:
        """As kept in the database and written into exports."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Protocol":
        """The same from `to_json`.

        Raises:
            ProtocolError: a part is missing, unknown or of another type.
        """
        try:
            protocol = cls(**_known(cls, content))
            questions = tuple(Question(**_tuples(dict(q))) for q in content["questions"])
            return replace(
                protocol, questions=questions, arms=tuple(Arm(a) for a in content["arms"])
            )
        except (TypeError, ValueError, KeyError) as error:
            raise ProtocolError(f"The protocol cannot be read: {error}.") from error

    def sha256(self) -> str:
        """Of its canonical JSON: the same protocol has the same hash on every machine."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _known(cls: type[Protocol], content: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    if unknown := sorted(set(content) - names):
        raise ProtocolError(f"The protocol has an unknown part: {', '.join(unknown)}.")
    return dict(content)


def _tuples(question: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in question.items()}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a protocol, at which part.

    Attributes:
        part: an attribute of the protocol, or `questions.<name>`.
        text: what is wrong, the value, the limit, the way out.
    """

    part: str
    text: str


def problems_of(protocol: Protocol) -> list[Problem]:
    """Everything that keeps a protocol from being followed, in the order of its parts."""
    found = [problem for question in protocol.questions for problem in _of_question(question)]
    names = [question.name for question in protocol.questions]
    if not names:
        found.append(Problem("questions", "There is no question. Add at least one."))
    found += [
        Problem(
            f"questions.{name}",
            f"{names.count(name)} questions are named {name}. Give each its own name, because "
            "tables of answers are read by it.",
        )
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    return found + _of_arms(protocol) + _of_numbers(protocol)


def _of_question(question: Question) -> list[Problem]:
    part = f"questions.{question.name}"
    called = f"Question {question.name!r}"
    texts = []
    if not NAME.fullmatch(question.name):
        texts.append(
            f"A question is named {question.name!r}. A name has 1 to {LONGEST_NAME} lower-case "
            "letters, digits and underscores and begins with a letter."
        )
    if not question.text.strip():
        texts.append(f"{called} has no text. Write what readers are asked.")
    if question.kind == "scale" and (
        len(question.anchors) != SCALE_STEPS or not all(map(str.strip, question.anchors))
    ):
        texts.append(
            f"{called} describes {len([a for a in question.anchors if a.strip()])} of "
            f"{SCALE_STEPS} scale points. Say in words what each of 1 to {SCALE_STEPS} means."
        )
    if question.kind == "cues" and len(question.choices) < FEWEST_CHOICES:
        texts.append(
            f"{called} offers {len(question.choices)} choices. Give at least {FEWEST_CHOICES}."
        )
    if question.margin is not None:
        texts += _of_margin(called, question.kind, question.margin)
    return [Problem(part, text) for text in texts]


def _of_margin(called: str, kind: Kind, margin: float) -> list[str]:
    largest = {"yes_no": 1.0, "scale": SCALE_STEPS - 1.0}.get(kind)
    if largest is None:
        return [f"{called} has a margin, but only yes or no and scales have one. Take it away."]
    if not 0 < margin < largest:
        return [
            f"{called} has a margin of {margin:g}. It must be above 0 and below {largest:g}, the "
            "whole range of the answers."
        ]
    return []


def _of_arms(protocol: Protocol) -> list[Problem]:
    found = []
    if len(protocol.arms) < 2 or len(set(protocol.arms)) < len(protocol.arms):
        found.append(
            Problem(
                "arms", f"{len(set(protocol.arms))} different arms are compared. Choose at least 2."
            )
        )
    if protocol.arms and protocol.arms[0] is not Arm.REAL:
        found.append(
            Problem("arms", f"The first arm is {protocol.arms[0]}; the reference is real scans.")
        )
    return found


def _of_numbers(protocol: Protocol) -> list[Problem]:
    found = []
    for part, (words, low, high) in LIMITS.items():
        value = getattr(protocol, part)
        if not low <= value <= high:
            found.append(Problem(part, f"{words} must be {low:g} to {high:g}. You gave {value:g}."))
    if protocol.repeat_share and not SHARES[0] <= protocol.repeat_share <= SHARES[1]:
        found.append(
            Problem(
                "repeat_share",
                f"{protocol.repeat_share:.0%} of the cases are met twice. Choose "
                f"{SHARES[0]:.0%} to {SHARES[1]:.0%}, or 0 for no repeats.",
            )
        )
    if protocol.spacing_mm not in SPACINGS_MM:
        known = ", ".join(f"{each:g}" for each in SPACINGS_MM)
        found.append(
            Problem(
                "spacing_mm",
                f"There is no grid of {protocol.spacing_mm:g} mm. Choose one of {known} mm.",
            )
        )
    if not protocol.hypotheses.strip():
        found.append(Problem("hypotheses", "No hypothesis is stated. Write what will be tested."))
    return found
