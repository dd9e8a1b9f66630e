"""A figure that may be undefined; standard library only.

Undefined is `None` with a sentence that says why. It is never 0 and never "not a number": both
would travel on into tables, plots and exports as if they had been measured.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: the point estimate; None if it is undefined.
        low, high: bounds of the interval; None if there is none.
        n: how many things of kind `of` are behind it.
        of: what `n` counts: ratings, cases, readers, pairs.
        method: how estimate and interval were made.
        note: why there is no value or no interval, or why to trust it little; empty if neither.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    of: str
    method: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for figure in (self.value, self.low, self.high):
            if figure is not None and math.isnan(figure):
                raise ValueError("An estimate that cannot be computed is None with a reason.")
        if (self.value is None or self.low is None or self.high is None) and not self.note:
            raise ValueError("An estimate without value or interval says why in `note`.")


def undefined(reason: str, *, n: int, of: str, method: str = "") -> Estimate:
    """A figure that does not exist for these data, and the sentence that says why."""
    return Estimate(value=None, n=n, of=of, method=method, note=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Two one-sided tests (Schuirmann 1987) of a difference against a margin.

    Attributes:
        margin: differences beyond minus and plus this would matter; stated in the protocol.
        alpha: level of each of the two tests.
        p: the larger of the two p values; None if there is no test.
        low, high: interval of confidence 1 - 2 alpha; within the margin exactly when p < alpha.
        shown: whether equivalence is shown; None if there is no test.
        note: why there is no test, or that the study is too small for it; empty if neither.
    """

    margin: float
    alpha: float
    p: float | None = None
    low: float | None = None
    high: float | None = None
    shown: bool | None = None
    note: str = ""


def sentences(*notes: str) -> str:
    """The notes that say something, as one text."""
    return " ".join(note for note in notes if note)
