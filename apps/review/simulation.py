"""Readers that are programs: what they say of a case is drawn from a model with known numbers.

What a study finds in such readings can be held against the numbers that went in. Every draw comes
from the seed, the reader and the case alone, so the order in which cases are read changes nothing.
Standard library only.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from apps.review.protocol import UNSURE, Protocol, Question

THRESHOLDS = (-1.5, -0.5, 0.5, 1.5)  # of the felt quality, between the steps 1 to 5
THRESHOLD_SD = 0.15  # by which each reader puts each threshold elsewhere
CASE_SHARE = 0.2  # of the variance of a guess that all readers share about a case
UNSURE_WITHIN = 0.25  # of the felt strength of a sign, around the threshold
SIGN_SHIFT = 0.8  # by which a sign is felt more strongly in AD
CUE_CHANCE = 0.25
MEDIAN_S, TIME_SD = 40.0, 0.4  # of the lognormal time on a case
FASTEST_S = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """The truth about simulated readers, in standard deviations of their own noise.

    Attributes:
        d_prime: by which a synthetic volume looks more synthetic than a real one.
        shift: by which synthetic volumes are felt better (or worse, if negative); 0: no difference.
        case_sd, reader_sd: by which cases and readers differ in the quality that is felt.
        criterion_sd: by which readers differ in how soon they say synthetic.
    """

    d_prime: float = 1.0
    shift: float = 0.0
    case_sd: float = 0.6
    reader_sd: float = 0.4
    criterion_sd: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the simulation knows of a presentation, and a reader never learns.

    Attributes:
        case: number of the case.
        is_synthetic: whether it is anything but a real scan.
        is_ad: recorded diagnosis; None where there is none.
        occasion: 1, or 2 for a hidden repeat: another look at the same case.
    """

    case: int
    is_synthetic: bool
    is_ad: bool | None
    occasion: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedReader:
    """One reader of a simulation.

    Attributes:
        seed: of the whole simulation.
        number: of the reader in the study.
        skill: of all its readers.
    """

    seed: int
    number: int
    skill: Skill

    def read(self, plan: Protocol, truth: Truth) -> dict[str, Any]:
        """An answer to every question but the comment."""
        answers = {
            question.name: self._answer(question, truth)
            for question in plan.questions
            if question.kind != "comment"
        }
        return {name: answer for name, answer in answers.items() if answer != []}

    def active_ms(self, truth: Truth, *, at_least_s: float) -> int:
        """Time on a case: lognormal, each reader with a pace of their own."""
        pace = self._own("pace").gauss(0, TIME_SD / 2)
        noise = self._look("time", truth).gauss(0, TIME_SD)
        seconds = max(MEDIAN_S * math.exp(pace + noise), at_least_s + 1, FASTEST_S)
        return round(1000 * seconds)

    def looks_synthetic(self, truth: Truth) -> float:
        """How synthetic a case looks; a guess says so above the reader's criterion.

        Its noise has variance 1, so that `d_prime` is the d' of every single reader.
        """
        side = 0.5 if truth.is_synthetic else -0.5
        shared = self._case("guess", truth).gauss(0, math.sqrt(CASE_SHARE))
        own = self._look("guess", truth).gauss(0, math.sqrt(1 - CASE_SHARE))
        return self.skill.d_prime * side + shared + own

    def _answer(self, question: Question, truth: Truth) -> Any:
        if question.kind == "guess":
            return int(self.looks_synthetic(truth) > self._criterion())
        if question.kind == "yes_no":
            return int(self._quality(question.name, truth) > 0)
        if question.kind == "scale":
            return 1 + sum(
                self._quality(question.name, truth) > edge
                for edge in self._thresholds(question.name)
            )
        if question.kind == "sign":
            return self._sign(question.name, truth)
        look = self._look(question.name, truth)
        return [choice for choice in question.choices if look.random() < CUE_CHANCE]

    def _quality(self, question: str, truth: Truth) -> float:
        skill = self.skill
        case = self._case("quality", truth).gauss(0, skill.case_sd)
        bias = self._own(f"bias {question}").gauss(0, skill.reader_sd)
        noise = self._look(question, truth).gauss(0, 1)
        return case + bias + noise + skill.shift * truth.is_synthetic

    def _thresholds(self, question: str) -> list[float]:
        own = self._own(f"thresholds {question}")
        return sorted(edge + own.gauss(0, THRESHOLD_SD) for edge in THRESHOLDS)

    def _criterion(self) -> float:
        return self._own("criterion").gauss(0, self.skill.criterion_sd)

    def _sign(self, question: str, truth: Truth) -> int | str:
        strength = self._case(question, truth).gauss(0, 0.8) + self._look(question, truth).gauss(
            0, 0.6
        )
        if truth.is_ad is not None:
            strength += SIGN_SHIFT if truth.is_ad else -SIGN_SHIFT
        return UNSURE if abs(strength) < UNSURE_WITHIN else int(strength > 0)

    def _own(self, of: str) -> Random:
        """Draws that stay with the reader."""
        return Random(f"{self.seed}/reader {self.number}/{of}")  # noqa: S311 - no secret

    def _case(self, of: str, truth: Truth) -> Random:
        """Draws that all readers share about a case."""
        return Random(f"{self.seed}/case {truth.case}/{of}")  # noqa: S311 - no secret

    def _look(self, of: str, truth: Truth) -> Random:
        """Draws of one look at a case by one reader."""
        look = f"reader {self.number}/case {truth.case}/look {truth.occasion}"
        return Random(f"{self.seed}/{look}/{of}")  # noqa: S311 - no secret


def as_form(answers: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Answers as the reading form sends them."""
    return {
        prefix + name: answer if isinstance(answer, list) else str(answer)
        for name, answer in answers.items()
    }
