"""Invented studies of equals: both arms are drawn from one distribution of quality.

Whatever such a study shows is chance, so the tests must show a difference as often as their level
says, and the intervals must hold zero as often as theirs says. On the statistics alone, without a
database: worker or command line only, because it loads numpy.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from apps.review.statistics.bootstrap import Progress, no_progress, resample
from apps.review.statistics.detection import detect
from apps.review.statistics.differences import YES_NO, Comparison, Scale, compare_arms
from apps.review.statistics.ratings import Table

REAL, ALSO_REAL = "real", "real again"
STEPS = Scale(least=1.0, most=5.0)
MARGINS = {"realism": 0.10, "usability": 0.50}
LEVEL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How large the invented studies are, and how much of a rating is whose.

    Attributes:
        case_sd, reader_sd, noise_sd: of the quality that a reader sees in a case, in units of the
            steps of a five-point scale.
    """

    readers: int = 5
    cases_per_arm: int = 25
    replicates: int = 1000
    case_sd: float = 0.6
    reader_sd: float = 0.5
    noise_sd: float = 0.8


def try_equals(
    design: Design, *, studies: int, seed: int, progress: Progress = no_progress
) -> dict[str, Any]:
    """How often studies of equals show a difference, and how often intervals hold zero.

    Returns:
        For each question and for detection: share of studies that show a difference at .05, share
        of 95 % intervals that hold the truth, each with its own 95 % interval (Clopper and
        Pearson), and how often equivalence within the margin is shown.
    """
    counts: dict[str, Counter[str]] = {}
    for n in range(studies):
        for name, outcomes in _one_study(design, np.random.default_rng([seed, n])):
            counts.setdefault(name, Counter()).update(outcomes)
        progress((n + 1) / studies)
    return {name: _rates(counted) for name, counted in counts.items()}


def _one_study(design: Design, rng: np.random.Generator) -> Iterator[tuple[str, dict[str, int]]]:
    arms = np.repeat([REAL, ALSO_REAL], design.cases_per_arm)
    cases = 2 * design.cases_per_arm
    seen = rng.normal(0, design.case_sd, (cases, 1)) + rng.normal(
        0, design.reader_sd, (1, design.readers)
    )
    resampling = resample(
        design.readers, arms, replicates=design.replicates, seed=int(rng.integers(2**31))
    )

    def table(values: np.ndarray) -> Table:
        return Table(
            values=values,
            cases=np.array([f"{c:03}" for c in range(cases)]),
            readers=np.array([f"{r:02}" for r in range(design.readers)]),
            arms=arms,
        )

    def noise() -> np.ndarray:
        return rng.normal(0, design.noise_sd, (cases, design.readers))

    answers = {
        "realism": ((seen + noise() > 0).astype(float), YES_NO),
        "usability": (np.clip(np.round(3 + seen + noise()), 1, 5), STEPS),
    }
    for name, (values, scale) in answers.items():
        of = compare_arms(
            table(values),
            REAL,
            ALSO_REAL,
            scale=scale,
            resampling=resampling,
            margin=MARGINS[name],
        )
        yield name, _outcomes_of(of)
    bias = rng.normal(0, design.reader_sd, (1, design.readers))
    guesses = (bias + noise() > 0).astype(float)
    found = detect(table(guesses), REAL, ALSO_REAL, resampling=resampling)
    yield "detection", _outcomes(found.p, found.accuracy.low, found.accuracy.high, truth=0.5)


def _outcomes_of(of: Comparison) -> dict[str, int]:
    counted = _outcomes(of.p, of.difference.low, of.difference.high, truth=0.0)
    shown = of.equivalence is not None and bool(of.equivalence.shown)
    return counted | {"equivalent": int(shown)}


def _outcomes(
    p: float | None, low: float | None, high: float | None, *, truth: float
) -> dict[str, int]:
    """Studies without a test are counted apart: they show nothing, and hold nothing."""
    if p is None or low is None or high is None:
        return {"studies": 1, "without_test": 1}
    return {"studies": 1, "differ": int(p < LEVEL), "cover": int(low <= truth <= high)}


def _rates(counted: Counter[str]) -> dict[str, Any]:
    tested = counted["studies"] - counted["without_test"]
    rates: dict[str, Any] = {
        "studies": counted["studies"],
        "without_test": counted["without_test"],
        "differences_shown": _share(counted["differ"], tested),
        "coverage": _share(counted["cover"], tested),
    }
    if "equivalent" in counted:
        rates["equivalence_shown"] = _share(counted["equivalent"], tested)
    return rates


def _share(count: int, of: int) -> dict[str, float | None]:
    """A share, its Monte Carlo standard error, and its exact 95 % interval."""
    if not of:
        return {"value": None, "error": None, "low": None, "high": None}
    value = count / of
    low, high = proportion_confint(count, of, method="beta")
    error = math.sqrt(value * (1 - value) / of)
    return {
        "value": round(value, 4),
        "error": round(error, 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }
