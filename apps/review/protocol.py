"""The protocol of a reader study: everything that is decided before the first case is read.

Plain data, standard library only. A draft keeps it as JSON; at the freeze it is hashed, and from
then on nothing in it changes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Literal

from apps.errors import MirageError

LONGEST_RUN = 4  # presentations of one arm after each other
LEAST_REPEAT_GAP = 20  # presentations between a case and its repeat
UNSURE = "unsure"


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
