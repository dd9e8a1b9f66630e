"""What the design of a draft can show, in sentences; standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass

from apps.review.protocol import Protocol, Question
from apps.review.statistics.planning import Design, Plan, plan_equivalence, power_of_detection

SCALE_SD = 1.0  # points; what studies with such scales usually have
SHARE_SD = 0.5  # of yes or no at one half, where it is largest
WANTED = 0.8
SEEN_ACCURACY = 0.65  # of telling real from synthetic, for the line about detection


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """How many readers, and how alike ratings are that share a reader or a case."""

    readers: int = 2
    case_share: float = 0.2
    reader_by_arm_share: float = 0.02
    reader_share: float = 0.1


@dataclass(frozen=True, slots=True)
class PowerLine:
    """What the design can show about one question."""

    question: Question
    plan: Plan
    unit: str

    @property
    def is_enough(self) -> bool:
        return not self.plan.advice


@dataclass(frozen=True, slots=True)
class Power:
    """What the design can show.

    Attributes:
        design: readers, cases and how alike their ratings are.
        lines: one for each question with a margin.
        detection: chance to see readers who are right 65 % of the time; None without that question.
    """

    design: Design
    lines: Sequence[PowerLine]
    detection: float | None


def power_of(protocol: Protocol, assumed: Assumptions) -> Power:
    """Power of equivalence for every question with a margin.

    Raises:
        PlanError: the assumptions contradict each other.
    """
    design = Design(
        readers=assumed.readers,
        cases_per_arm=protocol.cases_per_arm,
        case_share=assumed.case_share,
        reader_by_arm_share=assumed.reader_by_arm_share,
        reader_share=assumed.reader_share,
    )
    lines = [
        PowerLine(
            question,
            plan_equivalence(
                design,
                margin=question.margin,
                sd=SCALE_SD if question.kind == "scale" else SHARE_SD,
                power=WANTED,
                alpha=protocol.alpha,
            ),
            "points" if question.kind == "scale" else "",
        )
        for question in protocol.questions
        if question.margin is not None
    ]
    asks = any(question.kind == "guess" for question in protocol.questions)
    guesses = max(1, round(len(protocol.arms) * design.effective_ratings))
    return Power(
        design,
        lines,
        power_of_detection(guesses, accuracy=SEEN_ACCURACY, alpha=protocol.alpha) if asks else None,
    )
