"""Two arms side by side: shares and means, their difference, and whether it is small enough."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t as student
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    test_proportions_2indep,
    tost_proportions_2indep,
)

from apps.review.statistics.bootstrap import (
    Progress,
    Resampling,
    Spread,
    Statistic,
    Weights,
    no_progress,
    spread,
)
from apps.review.statistics.estimate import Equivalence, Estimate, sentences, undefined
from apps.review.statistics.planning import ratings_for_equivalence
from apps.review.statistics.ratings import Table, Values

SMALL_STUDY = 30  # ratings an arm
RESAMPLED = "bootstrap over readers and cases"
RESAMPLED_CASES = "bootstrap over cases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A figure in two arms.

    Attributes:
        reference, compared: the figure in each arm.
        difference: reference minus compared.
        p: two-sided, against no difference; None if there is no test.
        equivalence: against the protocol's margin; None if it states none.
    """

    reference: Estimate
    compared: Estimate
    difference: Estimate
    p: float | None
    equivalence: Equivalence | None


def compare_shares(
    reference: tuple[int, int], compared: tuple[int, int], *, margin: float, alpha: float = 0.05
) -> Comparison:
    """Two shares from counts alone, as if every rating were independent.

    For published tables, where nothing but counts is known. Wilson's intervals for the shares,
    Newcombe's hybrid score interval for the difference, tests of Agresti and Caffo.

    Args:
        reference, compared: how many said yes, and of how many.
        margin, alpha: of the equivalence test.

    Example: the paper's Table 3, anatomical realism of 50 ratings an arm.
        >>> read = compare_shares((27, 50), (21, 50), margin=0.10)
        >>> difference = read.difference
        >>> [round(x, 2) for x in (difference.value, difference.low, difference.high)]
        [0.12, -0.07, 0.3]
        >>> round(read.equivalence.p, 2)
        0.56
    """
    (yes_1, n_1), (yes_2, n_2) = reference, compared
    low, high = confint_proportions_2indep(yes_1, n_1, yes_2, n_2, method="newcomb")
    inner = confint_proportions_2indep(
        yes_1, n_1, yes_2, n_2, method="agresti-caffo", alpha=2 * alpha
    )
    test = test_proportions_2indep(yes_1, n_1, yes_2, n_2, method="agresti-caffo")
    p = float(
        tost_proportions_2indep(
            yes_1, n_1, yes_2, n_2, -margin, margin, method="agresti-caffo"
        ).pvalue
    )
    return Comparison(
        reference=_wilson(yes_1, n_1),
        compared=_wilson(yes_2, n_2),
        difference=Estimate(
            value=yes_1 / n_1 - yes_2 / n_2,
            low=float(low),
            high=float(high),
            n=n_1 + n_2,
            of="ratings",
            method="Newcombe's interval, ratings taken as independent",
            note=small_study(min(n_1, n_2)),
        ),
        p=float(test.pvalue),
        equivalence=Equivalence(
            margin=margin,
            alpha=alpha,
            p=p,
            low=float(inner[0]),
            high=float(inner[1]),
            shown=p < alpha,
            note=_underpowered(min(n_1, n_2), margin, 0.5, alpha, shown=p < alpha),
        ),
    )


def _wilson(yes: int, n: int) -> Estimate:
    low, high = proportion_confint(yes, n, method="wilson")
    return Estimate(
        value=yes / n,
        low=float(low),
        high=float(high),
        n=n,
        of="ratings",
        method="Wilson's interval, ratings taken as independent",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What answers can be.

    Attributes:
        least, most: bounds of an answer, for cutting intervals; infinite if there is none.
        yes_no: whether the mean of the answers is a share.
    """

    least: float
    most: float
    yes_no: bool = False


YES_NO = Scale(least=0.0, most=1.0, yes_no=True)


def compare_arms(
    table: Table,
    reference: str,
    compared: str,
    *,
    scale: Scale,
    resampling: Resampling,
    margin: float | None = None,
    alpha: float = 0.05,
    progress: Progress = no_progress,
) -> Comparison:
    """Shares or means of two arms, their difference and its equivalence, over readers and cases.

    Args:
        table: answers of one question.
        reference, compared: names of the arms; the difference is the first minus the second.
        scale: what answers can be.
        resampling: draws of the readers and cases of `table`.
        margin, alpha: of the equivalence test; no margin, no test.
        progress: told the share that is done.
    """
    first, second = table.arms == reference, table.arms == compared
    one = _arm_mean(table, first, scale, resampling, lambda s: progress(s / 3))
    two = _arm_mean(table, second, scale, resampling, lambda s: progress((1 + s) / 3))
    counts = [table.of_arm(arm).count() for arm in (reference, compared)]
    if 0 in counts:
        reason = f"There are no ratings in arm {(reference, compared)[counts.index(0)]!r}."
        nothing = undefined(reason, n=sum(counts), of="ratings")
        equivalence = Equivalence(margin=margin, alpha=alpha, note=reason) if margin else None
        return Comparison(
            reference=one, compared=two, difference=nothing, p=None, equivalence=equivalence
        )
    both = first | second
    result = spread(
        difference_of_means(table.values[both], first[both], second[both]),
        resampling.of_cases(both, arms=2),
        lambda s: progress((2 + s) / 3),
    )
    if result.error == 0:
        return _without_spread(table, one, two, scale, margin, alpha)
    width = scale.most - scale.least
    sd = math.sqrt((np.nanvar(table.values[first]) + np.nanvar(table.values[second])) / 2)
    return Comparison(
        reference=one,
        compared=two,
        difference=from_spread(
            result,
            n=sum(counts),
            of="ratings",
            least=-width,
            most=width,
            note=small_study(min(counts)),
        ),
        p=None if result.error is None else result.p(0.0),
        equivalence=None
        if margin is None
        else equivalence_of(result, min(counts), margin, alpha, sd=0.5 if scale.yes_no else sd),
    )


def difference_of_means(
    values: Values, first: Bool[np.ndarray, " cases"], second: Bool[np.ndarray, " cases"]
) -> Statistic:
    """Mean of some cases minus mean of others, as a figure that can be redrawn."""
    one, two = weighted_mean(values[first]), weighted_mean(values[second])
    return lambda readers, cases: one(readers, cases[:, first]) - two(readers, cases[:, second])


def weighted_mean(values: Values) -> Statistic:
    """Mean of all ratings, as a figure that can be redrawn."""
    known = (~np.isnan(values)).astype(float)
    filled = np.nan_to_num(values)

    def statistic(readers: Weights, cases: Weights) -> Float[np.ndarray, " replicates"]:
        total = ((cases @ filled) * readers).sum(1)
        count = ((cases @ known) * readers).sum(1)
        return np.where(count > 0, total / np.maximum(count, 1e-12), np.nan)

    return statistic


def _arm_mean(
    table: Table,
    mine: Bool[np.ndarray, " cases"],
    scale: Scale,
    resampling: Resampling,
    progress: Progress,
) -> Estimate:
    values = table.values[mine]
    n, cases = int((~np.isnan(values)).sum()), int((~np.isnan(values)).any(1).sum())
    if not n:
        return undefined("There are no ratings in this arm.", n=0, of="ratings")
    result = spread(weighted_mean(values), resampling.of_cases(mine, arms=1), progress)
    if scale.yes_no and result.value is not None and result.error is not None:
        return _share(result.value, result, n, cases)
    return from_spread(
        result, n=n, of="ratings", least=scale.least, most=scale.most, note=small_study(n)
    )


def _share(value: float, result: Spread, n: int, cases: int) -> Estimate:
    """Wilson's interval with as many independent ratings as would spread as much.

    It stays within 0 and 1 and does not shrink to nothing where all said the same: there the
    cases are what is counted.
    """
    variance = (result.error or 0.0) ** 2
    independent = value * (1 - value) / variance if variance > 0 else float(cases)
    z = float(student.ppf(0.975, result.df))
    centre = (value + z**2 / (2 * independent)) / (1 + z**2 / independent)
    reach = z / (1 + z**2 / independent)
    reach *= math.sqrt(value * (1 - value) / independent + z**2 / (4 * independent**2))
    return Estimate(
        value=value,
        low=max(0.0, min(value, centre - reach)),
        high=min(1.0, max(value, centre + reach)),
        n=n,
        of="ratings",
        method=f"Wilson's interval, {_drawn(result)}",
        note=sentences(result.note, small_study(n)),
    )


def from_spread(
    result: Spread, *, n: int, of: str, least: float, most: float, note: str = ""
) -> Estimate:
    """A figure with the interval of its spread, cut to what is possible."""
    if result.value is None or not result.error:
        why = (
            result.note
            if result.error is None
            else ("All ratings are the same in each arm, so redrawing them gives no interval.")
        )
        return Estimate(value=result.value, n=n, of=of, note=sentences(why, note))
    return Estimate(
        value=result.value,
        low=max(least, result.value - result.reach()),
        high=min(most, result.value + result.reach()),
        n=n,
        of=of,
        method=f"t interval with {result.df:.1f} degrees of freedom, {_drawn(result)}",
        note=sentences(result.note, note),
    )


def _drawn(result: Spread) -> str:
    return RESAMPLED if result.random_readers else RESAMPLED_CASES


def equivalence_of(
    result: Spread, ratings: int, margin: float, alpha: float, *, sd: float
) -> Equivalence:
    """Two one-sided t tests with the standard error over readers and cases."""
    if result.value is None or not result.error:
        return Equivalence(
            margin=margin, alpha=alpha, note=result.note or "There is no spread to test against."
        )
    p = max(result.p(margin, tail="below"), result.p(-margin, tail="above"))
    reach = result.reach(1 - 2 * alpha)
    return Equivalence(
        margin=margin,
        alpha=alpha,
        p=p,
        low=result.value - reach,
        high=result.value + reach,
        shown=p < alpha,
        note=_underpowered(ratings, margin, sd, alpha, shown=p < alpha),
    )


def _without_spread(
    table: Table, one: Estimate, two: Estimate, scale: Scale, margin: float | None, alpha: float
) -> Comparison:
    """All answers within each arm are the same: cases are all that can be counted."""
    reason = "All ratings are the same in each arm, so redrawing them gives no spread."
    equivalence = None if margin is None else Equivalence(margin=margin, alpha=alpha, note=reason)
    value = (one.value or 0.0) - (two.value or 0.0)
    low = high = None
    if scale.yes_no and None not in (one.low, one.high, two.low, two.high):
        below = ((one.value or 0) - (one.low or 0), (two.high or 0) - (two.value or 0))
        above = ((one.high or 0) - (one.value or 0), (two.value or 0) - (two.low or 0))
        low, high = value - math.hypot(*below), value + math.hypot(*above)
    difference = Estimate(
        value=value,
        low=low,
        high=high,
        n=table.count(),
        of="ratings",
        method="Newcombe's interval, cases counted" if low is not None else "",
        note=reason,
    )
    return Comparison(
        reference=one, compared=two, difference=difference, p=None, equivalence=equivalence
    )


def small_study(ratings: int) -> str:
    if ratings >= SMALL_STUDY:
        return ""
    return f"{ratings} ratings are too few for a conclusion; take the interval, not the figure."


def _underpowered(ratings: int, margin: float, sd: float, alpha: float, *, shown: bool) -> str:
    if shown or sd == 0:
        return ""
    needed = ratings_for_equivalence(margin=margin, sd=sd, alpha=alpha)
    if ratings >= needed:
        return ""
    return (
        f"The study is too small for this margin: equivalence within {margin:g} needs {needed} "
        f"independent ratings an arm, and there are {ratings}."
    )
