r"""Agreement beyond chance between readers, and of readers with themselves.

Fleiss' kappa, Gwet's AC1 and AC2 and Krippendorff's alpha are sums over cases, written with a
weight for each case, so that an interval over cases is a jackknife: each case is left out once,
and the interval takes Student's t with one degree of freedom less than cases. Two readers' kappa
is that of statsmodels with its large-sample error.

All take a table of cases by raters with NaN for what was not rated, and the whole scale: a
category that nobody chose still counts as one that could have been chosen.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student
from statsmodels.stats.inter_rater import cohens_kappa as kappa_of_table

from apps.review.statistics.estimate import Estimate, undefined

Table = Float[np.ndarray, "cases raters"]
Counts = Float[np.ndarray, "cases categories"]
CaseWeights = Float[np.ndarray, "replicates cases"]
Replicates = Float[np.ndarray, " replicates"]
Weighting = Literal["identity", "linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval", "ratio"]

BLOCK = 250  # cases left out in one pass
ROUGH_BELOW = 50  # cases; Cohen's and Fleiss' kappa wander by .1 and more on fewer
ONE_ANSWER = "All answers are the same, so there is no agreement beyond chance to measure."
NO_PAIRS = "No case has two answers."
IN_FULL = "All agree on every case, so leaving a case out changes nothing and gives no interval."


def credit(categories: Sequence[float], weighting: Weighting) -> Float[np.ndarray, "from to"]:
    """How much of an agreement two answers are: 1 for the same, less with their distance.

    Example:
        >>> credit([1, 2, 3], "linear")[0].tolist()
        [1.0, 0.5, 0.0]
    """
    scale = np.asarray(categories, dtype=float)
    if weighting == "identity":
        return np.eye(len(scale))
    distance = np.abs(scale[:, None] - scale[None]) / (scale.max() - scale.min())
    return np.asarray(1 - (distance if weighting == "linear" else distance**2))


def count_answers(ratings: Table, categories: Sequence[float]) -> Counts:
    """How many raters gave each category to each case.

    Raises:
        ValueError: fewer than two categories, or an answer that is none of them.
    """
    scale = np.asarray(categories, dtype=float)
    if len(np.unique(scale)) < 2:
        raise ValueError("A scale has at least two different categories.")
    chosen = ratings[:, :, None] == scale
    strange = ~np.isnan(ratings) & ~chosen.any(2)
    if strange.any():
        raise ValueError(f"{ratings[strange][0]:g} is not on the scale {scale.tolist()}.")
    return np.asarray(chosen.sum(1), dtype=float)


def fleiss_kappa(
    ratings: Table, categories: Sequence[float], weighting: Weighting = "identity"
) -> Estimate:
    r"""Fleiss' kappa (1971) of any number of raters; weighted on request.

    $$\kappa = \frac{p_a - p_e}{1 - p_e},\qquad p_e = \sum_{kl} w_{kl}\,\pi_k\,\pi_l$$

    Raters may differ from case to case; a case with one answer tells the shares $\pi$ alone.
    """
    counts, weights = count_answers(ratings, categories), credit(categories, weighting)

    def statistic(cases: CaseWeights) -> Replicates:
        observed, shares = _observed(counts, weights, cases)
        return _beyond(observed, np.einsum("bk,kl,bl->b", shares, weights, shares))

    return _over_cases(statistic, counts, f"Fleiss' kappa, {weighting} weights", ROUGH_BELOW)


def gwet_ac(
    ratings: Table, categories: Sequence[float], weighting: Weighting = "identity"
) -> Estimate:
    r"""Gwet's AC1 (2008), and AC2 with linear or quadratic weights.

    $$p_e = \frac{\sum_{kl} w_{kl}}{q(q-1)} \sum_k \pi_k (1 - \pi_k)$$

    Unlike kappa it does not collapse where nearly all cases belong to one category.
    """
    counts, weights = count_answers(ratings, categories), credit(categories, weighting)
    scale = len(weights) * (len(weights) - 1)

    def statistic(cases: CaseWeights) -> Replicates:
        observed, shares = _observed(counts, weights, cases)
        return _beyond(observed, weights.sum() / scale * (shares * (1 - shares)).sum(1))

    name = "Gwet's AC1" if weighting == "identity" else f"Gwet's AC2, {weighting} weights"
    return _over_cases(statistic, counts, name)


def krippendorff_alpha(ratings: Table, categories: Sequence[float], level: Level) -> Estimate:
    r"""Krippendorff's alpha (2011), $1 - D_o / D_e$, for answers of a level of measurement."""
    counts = count_answers(ratings, categories)
    scale = np.asarray(categories, dtype=float)
    raters = counts.sum(1)
    paired = np.where(raters >= 2, 1 / np.maximum(raters - 1, 1), 0.0)
    itself = np.eye(len(scale))[None] * counts[:, None, :]
    coincidences = (counts[:, :, None] * counts[:, None, :] - itself) * paired[:, None, None]

    def statistic(cases: CaseWeights) -> Replicates:
        together = np.einsum("bc,ckl->bkl", cases, coincidences)
        totals = together.sum(2)
        distance = _squared_distance(scale, totals, level)
        observed = (together * distance).sum((1, 2)) * (totals.sum(1) - 1)
        expected = np.einsum("bk,bkl,bl->b", totals, distance, totals)
        return np.where(expected > 0, 1 - observed / np.where(expected > 0, expected, 1), np.nan)

    return _over_cases(statistic, counts, f"Krippendorff's alpha, {level}")


def _squared_distance(
    scale: Float[np.ndarray, " categories"],
    totals: Float[np.ndarray, "replicates categories"],
    level: Level,
) -> Float[np.ndarray, "replicates from to"]:
    if level == "nominal":
        return np.broadcast_to(1 - np.eye(len(scale)), (len(totals), *np.eye(len(scale)).shape))
    if level == "ordinal":  # distances between the mid-ranks of the categories
        order = np.argsort(scale)
        ranked = totals[:, order]
        middle = np.empty_like(totals)
        middle[:, order] = np.cumsum(ranked, axis=1) - ranked / 2
        return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2)
    apart = scale[:, None] - scale[None]
    if level == "ratio":
        together = scale[:, None] + scale[None]
        apart = np.divide(apart, together, out=np.zeros_like(apart), where=together != 0)
    return np.broadcast_to(apart**2, (len(totals), *apart.shape))


def cohen_kappa(
    ratings: Table, categories: Sequence[float], weighting: Weighting = "identity"
) -> Estimate:
    """Kappa of two raters (Cohen 1960, 1968) with the error of Fleiss, Cohen and Everitt (1969).

    The scale must have equal steps for linear and quadratic weights.
    """
    both = ratings[~np.isnan(ratings).any(axis=1)]
    name = f"Cohen's kappa, {weighting} weights"
    if not len(both):
        return undefined(NO_PAIRS, n=0, of="cases", method=name)
    count_answers(both, categories)
    scale = np.asarray(categories, dtype=float)
    chosen = both[:, :, None] == scale
    return cohen_kappa_of_table(
        np.einsum("ck,cl->kl", chosen[:, 0].astype(float), chosen[:, 1].astype(float)), weighting
    )


def cohen_kappa_of_table(
    table: Float[np.ndarray, "first second"], weighting: Weighting = "identity"
) -> Estimate:
    """The same from how often each pair of answers was given."""
    name, n = f"Cohen's kappa, {weighting} weights", int(table.sum())
    if ((table.sum(0) > 0) | (table.sum(1) > 0)).sum() < 2:
        return undefined(ONE_ANSWER, n=n, of="cases", method=name)
    if np.trace(table) == n:
        return Estimate(value=1.0, n=n, of="cases", method=name, note=IN_FULL)
    result = kappa_of_table(table, wt=None if weighting == "identity" else weighting)
    return Estimate(
        value=float(result.kappa),
        low=max(-1.0, float(result.kappa_low)),
        high=min(1.0, float(result.kappa_upp)),
        n=n,
        of="cases",
        method=f"{name}, large-sample interval",
        note=rough(n, "cases", ROUGH_BELOW),
    )


def mean_cohen_kappa(
    ratings: Table, categories: Sequence[float], weighting: Weighting = "identity"
) -> Estimate:
    """Mean of Cohen's kappa over all pairs of raters (Light 1971), interval over cases."""
    counts = count_answers(ratings, categories)
    chosen = (ratings[:, :, None] == np.asarray(categories, dtype=float)).astype(float)
    every_pair = list(combinations(range(ratings.shape[1]), 2))
    first, second = np.array(every_pair, dtype=int).reshape(-1, 2).T
    pairs = np.einsum("cpk,cpl->pckl", chosen[:, first], chosen[:, second])
    weights = credit(categories, weighting)

    def statistic(cases: CaseWeights) -> Replicates:
        tables = np.einsum("bc,pckl->bpkl", cases, pairs, optimize=True)
        total = tables.sum((2, 3))
        safe = np.maximum(total, 1e-12)
        rows, columns = tables.sum(3) / safe[..., None], tables.sum(2) / safe[..., None]
        observed = (tables * weights).sum((2, 3)) / safe
        expected = np.einsum("bpk,kl,bpl->bp", rows, weights, columns)
        each = _beyond(np.where(total > 0, observed, np.nan), expected)
        return np.asarray(each.mean(1)) if each.shape[1] else np.full(len(cases), np.nan)

    name = f"Mean of Cohen's kappa over pairs of readers, {weighting} weights"
    return _over_cases(statistic, counts, name, ROUGH_BELOW)


def share_identical(ratings: Table, categories: Sequence[float]) -> Estimate:
    """Share of pairs of answers to one case that are the same; chance is not taken off."""
    counts = count_answers(ratings, categories)
    weights = np.eye(counts.shape[1])
    return _over_cases(
        lambda cases: _observed(counts, weights, cases)[0], counts, "Share of identical answers"
    )


def _observed(
    counts: Counts, weights: Float[np.ndarray, "from to"], cases: CaseWeights
) -> tuple[Replicates, Float[np.ndarray, "replicates categories"]]:
    raters = counts.sum(1)
    read, paired = raters >= 1, raters >= 2
    share = counts[read] / raters[read][:, None]
    shares = cases[:, read] @ share
    shares = shares / np.maximum(shares.sum(1, keepdims=True), 1e-12)
    of_pair, n = counts[paired], raters[paired]
    agree = (of_pair * (of_pair @ weights - 1)).sum(1) / (n * (n - 1))
    total = cases[:, paired].sum(1)
    observed = np.where(total > 0, cases[:, paired] @ agree / np.maximum(total, 1e-12), np.nan)
    return observed, shares


def _beyond(
    observed: Float[np.ndarray, "..."], expected: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    possible = 1 - expected > 1e-9  # where chance alone agrees in full, nothing is beyond it
    return np.where(possible, (observed - expected) / np.where(possible, 1 - expected, 1), np.nan)


def _over_cases(
    statistic: Callable[[CaseWeights], Replicates], counts: Counts, method: str, least: int = 0
) -> Estimate:
    paired = counts.sum(1) >= 2
    n = int(paired.sum())
    if n == 0:
        return undefined(NO_PAIRS, n=0, of="cases", method=method)
    value = float(statistic(np.ones((1, len(counts))))[0])
    if np.isnan(value):
        return undefined(ONE_ANSWER, n=n, of="cases", method=method)
    left_out = _left_out(statistic, counts)
    if len(left_out) < 3 or np.isnan(left_out).any():
        reason = f"{n} cases with two answers are too few for an interval."
        return Estimate(value=value, n=n, of="cases", method=method, note=reason)
    m = len(left_out)
    error = float(np.sqrt((m - 1) / m * ((left_out - left_out.mean()) ** 2).sum()))
    if error < 1e-12:
        return Estimate(value=value, n=n, of="cases", method=method, note=IN_FULL)
    reach = float(student.ppf(0.975, m - 1)) * error
    return Estimate(
        value=value,
        low=max(-1.0, value - reach),
        high=min(1.0, value + reach),
        n=n,
        of="cases",
        method=f"{method}, jackknife over cases",
        note=rough(n, "cases", least),
    )


def _left_out(statistic: Callable[[CaseWeights], Replicates], counts: Counts) -> Replicates:
    """The figure without each case that has answers, one after the other."""
    answered = np.flatnonzero(counts.sum(1) > 0)
    blocks = []
    for start in range(0, len(answered), BLOCK):  # all at once grows with the square of the cases
        block = answered[start : start + BLOCK]
        weights = np.ones((len(block), len(counts)))
        weights[np.arange(len(block)), block] = 0.0
        blocks.append(statistic(weights))
    return np.concatenate(blocks)


def rough(n: int, of: str, least: int) -> str:
    """That there are too few to trust the figure; empty if there are enough."""
    return f"{n} {of} are few: below {least}, this figure is rough." if n < least else ""


def agreement(
    ratings: Table, categories: Sequence[float], *, graded: bool, of: str = "cases"
) -> dict[str, Estimate]:
    """What fits the kind of answer, by name.

    Args:
        ratings: cases by raters, or pairs of one rater's two answers.
        categories: the whole scale.
        graded: whether a step on the scale is less of a disagreement than two.
        of: what a row is.
    """
    figures = {
        "identical": share_identical(ratings, categories),
        "cohen": mean_cohen_kappa(ratings, categories),
        "fleiss": fleiss_kappa(ratings, categories),
        "ac1": gwet_ac(ratings, categories),
        "alpha": krippendorff_alpha(ratings, categories, "ordinal" if graded else "nominal"),
    }
    if graded:
        figures |= {
            "cohen_linear": mean_cohen_kappa(ratings, categories, "linear"),
            "cohen_quadratic": mean_cohen_kappa(ratings, categories, "quadratic"),
            "ac2": gwet_ac(ratings, categories, "quadratic"),
        }
    return {name: replace(figure, of=of) for name, figure in figures.items()}
