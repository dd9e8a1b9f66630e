"""How long readings took, in each arm and along the order of reading."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import linregress
from scipy.stats import t as student

from apps.review.statistics.bootstrap import (
    Progress,
    Resampling,
    Spread,
    Statistic,
    Weights,
    no_progress,
    spread,
)
from apps.review.statistics.differences import Comparison, from_spread, small_study
from apps.review.statistics.estimate import Estimate, sentences, undefined
from apps.review.statistics.ratings import Ratings, Table, Values


def compare_times(
    table: Table,
    reference: str,
    compared: str,
    *,
    resampling: Resampling,
    progress: Progress = no_progress,
) -> Comparison:
    """Median seconds for a case in two arms and the difference of the medians."""
    first, second = table.arms == reference, table.arms == compared
    medians = [weighted_median(table.values[arm]) for arm in (first, second)]
    both = first | second

    def difference(readers: Weights, cases: Weights) -> Float[np.ndarray, " replicates"]:
        one, two = cases[:, first[both]], cases[:, second[both]]
        return medians[0](readers, one) - medians[1](readers, two)

    counts = [table.of_arm(arm).count() for arm in (reference, compared)]
    figures: list[tuple[Statistic, Bool[np.ndarray, " cases"], int, float]] = [
        (medians[0], first, counts[0], 0.0),
        (medians[1], second, counts[1], 0.0),
        (difference, both, min(counts), -math.inf),
    ]
    results = []
    for done, (statistic, mine, _, _) in enumerate(figures):
        results.append(_spread_of(statistic, resampling, mine, done, progress))
    one, two, apart = (
        from_spread(result, n=n, of="readings", least=least, most=math.inf, note=small_study(n))
        for result, (_, _, n, least) in zip(results, figures, strict=True)
    )
    p = results[2].p(0.0) if apart.low is not None else None
    return Comparison(reference=one, compared=two, difference=apart, p=p, equivalence=None)


def _spread_of(
    statistic: Statistic,
    resampling: Resampling,
    mine: Bool[np.ndarray, " cases"],
    done: int,
    progress: Progress,
) -> Spread:
    if not mine.any():
        note = "There are no cases in this arm."
        return Spread(value=None, error=None, df=0, random_readers=False, note=note)
    arms = 2 if done == 2 else 1
    return spread(
        statistic, resampling.of_cases(mine, arms=arms), lambda s: progress((done + s) / 3)
    )


def trend_by_position(
    ratings: Ratings, value: Callable[[Ratings], Float[np.ndarray, " rows"]]
) -> Estimate:
    """Change of a figure from one place in the reading order to the next, over readers.

    A least-squares slope for each reader, then the mean of the slopes with Student's t over
    readers. One reader alone gets the interval of the regression.

    Args:
        ratings: of one question, repeats included.
        value: which column, as `lambda r: r.seconds`.
    """
    slopes, last, n = [], None, 0
    for reader in np.unique(ratings.reader):
        mine = (ratings.reader == reader) & ~np.isnan(value(ratings))
        x, y = ratings.position[mine], value(ratings)[mine]
        if len(np.unique(x)) >= 3:
            last = linregress(x, y)
            slopes.append(float(last.slope))
            n += len(x)
    if last is None:
        reason = "No reader has readings at three places or more in the order."
        return undefined(reason, n=0, of="readings")
    if len(slopes) == 1:
        reach = float(student.ppf(0.975, n - 2)) * float(last.stderr)
        method, note = "regression of one reader", "1 reader: the interval is about this reader."
    else:
        error = float(np.std(slopes, ddof=1)) / math.sqrt(len(slopes))
        reach = float(student.ppf(0.975, len(slopes) - 1)) * error
        method, note = "mean slope over readers, t interval", ""
    value_ = float(np.mean(slopes))
    return Estimate(
        value=value_,
        low=value_ - reach,
        high=value_ + reach,
        n=n,
        of="readings",
        method=method,
        note=sentences(note, _few_slopes(len(slopes))),
    )


def _few_slopes(readers: int) -> str:
    return f"{readers} readers: an interval over so few is wide." if 1 < readers < 4 else ""


def weighted_median(values: Values) -> Statistic:
    """Median of all ratings, as a figure that can be redrawn."""
    case, reader = np.nonzero(~np.isnan(values))
    order = np.argsort(values[case, reader], kind="stable")
    case, reader = case[order], reader[order]
    ranked = values[case, reader]

    def statistic(readers: Weights, cases: Weights) -> Float[np.ndarray, " replicates"]:
        if not len(ranked):
            return np.full(len(cases), np.nan)
        weight = np.cumsum(cases[:, case] * readers[:, reader], axis=1)
        total = weight[:, -1:]
        low = (weight < total / 2 - 1e-9).sum(1)
        high = (weight <= total / 2 + 1e-9).sum(1)
        last = len(ranked) - 1
        middle = (ranked[np.minimum(low, last)] + ranked[np.minimum(high, last)]) / 2
        return np.where(total[:, 0] > 0, middle, np.nan)

    return statistic
