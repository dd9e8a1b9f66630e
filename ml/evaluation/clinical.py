"""What a probability is worth to somebody who has to decide, with intervals.

Beside `ml.evaluation.metrics`: predictive values at a stated prevalence, net benefit, calibration
error with what a perfect model would get, and the bootstrap over people.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from ml.evaluation.metrics import Estimate, Labels, Scores, proportion

REPLICATES = 2000
BINS = 10
ENOUGH_FOR_A_CURVE = 200
"""Events, and non-events, from which on a calibration curve says something (Van Calster 2016)."""

Weights = Float[np.ndarray, "replicates patients"]
Groups = Float[np.ndarray, "replicates groups"]
Figure: TypeAlias = Callable[[Scores, Labels, Weights], Float[np.ndarray, " replicates"]]


def resampled(labels: Labels, *, seed: int, replicates: int = REPLICATES) -> Weights:
    """How often each person is drawn in each bootstrap sample, cases and controls apart."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((replicates, len(labels)))
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        weights[:, rows] = rng.multinomial(
            len(rows), np.full(len(rows), 1 / len(rows)), size=replicates
        )
    return weights


def bootstrap_auc(scores: Scores, labels: Labels, weights: Weights) -> Estimate:
    """Area under the ROC curve with the percentile interval of the bootstrap.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> weights = resampled(labels, seed=1)
        >>> bootstrap_auc(np.array([0.1, 0.4, 0.35, 0.8]), labels, weights).value
        0.75
    """
    return _bootstrap(_weighted_auc, scores, labels, weights)


def average_precision(scores: Scores, labels: Labels, weights: Weights) -> Estimate:
    """Area under the precision-recall curve, as scikit-learn's, with a bootstrap interval."""
    return _bootstrap(_weighted_precision, scores, labels, weights)


def _bootstrap(figure: Figure, scores: Scores, labels: Labels, weights: Weights) -> Estimate:
    value = float(figure(scores, labels, np.ones((1, len(labels))))[0])
    low, high = np.percentile(figure(scores, labels, weights), (2.5, 97.5))
    return Estimate(value=value, low=float(low), high=float(high), n=len(labels))


def _in_groups(
    scores: Scores, labels: Labels, weights: Weights, *, descending: bool
) -> tuple[Groups, Groups]:
    """Weights of cases and of controls, summed over equal scores, in the order of the scores."""
    order = np.argsort(-scores if descending else scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    cases, controls = (
        np.add.reduceat((weights * (labels == label))[:, order], starts, axis=1) for label in (1, 0)
    )
    return cases, controls


def _weighted_auc(
    scores: Scores, labels: Labels, weights: Weights
) -> Float[np.ndarray, " replicates"]:
    cases, controls = _in_groups(scores, labels, weights, descending=False)
    below = np.cumsum(controls, axis=1) - controls
    pairs = cases.sum(1) * controls.sum(1)
    area: Float[np.ndarray, " replicates"] = (cases * (below + controls / 2)).sum(1) / pairs
    return area


def _weighted_precision(
    scores: Scores, labels: Labels, weights: Weights
) -> Float[np.ndarray, " replicates"]:
    cases, controls = _in_groups(scores, labels, weights, descending=True)
    hits = np.cumsum(cases, axis=1)
    called = hits + np.cumsum(controls, axis=1)
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    area: Float[np.ndarray, " replicates"] = (precision * cases).sum(1) / cases.sum(1)
    return area


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationError:
    """Mean distance of probability and outcome over groups of equal size.

    Attributes:
        value: of these people.
        perfect: what a model with exactly these probabilities would get on average at this n.
        perfect_high: what it would exceed in 5 of 100 samples.
        n: people.
    """

    value: float
    perfect: float
    perfect_high: float
    n: int


def calibration_error(
    probability: Scores, labels: Labels, *, seed: int, bins: int = BINS
) -> CalibrationError:
    """Expected calibration error, beside that of outcomes drawn with these very probabilities.

    A perfect model has an error above 0, the larger the fewer people there are.

    Example:
        >>> p = np.full(1000, 0.5)
        >>> found = calibration_error(p, np.arange(1000) % 2, seed=1)
        >>> bool(found.value < found.perfect_high)
        True
    """
    rng = np.random.default_rng(seed)
    groups = np.array_split(np.argsort(probability, kind="stable"), min(bins, len(labels)))
    drawn = rng.random((REPLICATES, len(labels))) < probability
    of_perfect = _error(probability, drawn.astype(float), groups)
    return CalibrationError(
        value=float(_error(probability, labels[None].astype(float), groups)[0]),
        perfect=float(of_perfect.mean()),
        perfect_high=float(np.percentile(of_perfect, 95)),
        n=len(labels),
    )


def _error(
    probability: Scores,
    outcomes: Float[np.ndarray, "samples patients"],
    groups: Sequence[np.ndarray],
) -> Float[np.ndarray, " samples"]:
    gaps = [
        len(group) * np.abs(outcomes[:, group].mean(1) - probability[group].mean())
        for group in groups
    ]
    found: Float[np.ndarray, " samples"] = np.sum(gaps, axis=0) / len(probability)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One group of a calibration curve: mean probability, and how many had AD."""

    probability: float
    observed: Estimate


def calibration_curve(
    probability: Scores, labels: Labels, *, bins: int = BINS
) -> list[CurvePoint] | None:
    """Groups of equal size; None with fewer than 200 events or 200 non-events."""
    if min((labels == 1).sum(), (labels == 0).sum()) < ENOUGH_FOR_A_CURVE:
        return None
    groups = np.array_split(np.argsort(probability, kind="stable"), bins)
    return [
        CurvePoint(
            probability=float(probability[group].mean()),
            observed=proportion(int(labels[group].sum()), len(group)),
        )
        for group in groups
    ]


def predictive_values(
    sensitivity: Estimate, specificity: Estimate, prevalence: float
) -> tuple[Estimate, Estimate]:
    """Positive and negative predictive value where so many have the disease.

    The intervals are those of the logits by the delta method (Mercaldo 2007); where sensitivity or
    specificity is 0 or 1 the observed counts carry half a person more.

    Example:
        >>> ppv, npv = predictive_values(proportion(80, 100), proportion(90, 100), 0.1)
        >>> round(ppv.value, 3), round(npv.value, 3)
        (0.471, 0.976)
    """
    se, sp = _moved_inside(sensitivity), _moved_inside(specificity)
    odds = prevalence / (1 - prevalence)
    error_se = math.sqrt((1 - se) / (se * sensitivity.n))
    missed_se = math.sqrt(se / ((1 - se) * sensitivity.n))
    error_sp = math.sqrt((1 - sp) / (sp * specificity.n))
    missed_sp = math.sqrt(sp / ((1 - sp) * specificity.n))
    positive = _of_logit(math.log(se * odds / (1 - sp)), math.hypot(error_se, missed_sp))
    negative = _of_logit(math.log(sp / ((1 - se) * odds)), math.hypot(error_sp, missed_se))
    people = sensitivity.n + specificity.n
    return (
        Estimate(value=positive[0], low=positive[1], high=positive[2], n=people),
        Estimate(value=negative[0], low=negative[1], high=negative[2], n=people),
    )


def _moved_inside(share: Estimate) -> float:
    return min(max(share.value, 0.5 / share.n), 1 - 0.5 / share.n)


def _of_logit(logit: float, error: float) -> tuple[float, float, float]:
    middle, low, high = (1 / (1 + math.exp(-(logit + k * error))) for k in (0.0, -1.96, 1.96))
    return middle, low, high


def net_benefit(
    probability: Scores, labels: Labels, thresholds: Sequence[float]
) -> Float[np.ndarray, " thresholds"]:
    r"""Net benefit at each threshold probability (Vickers and Elkin 2006).

    $$\frac{TP}{n} - \frac{FP}{n}\,\frac{t}{1-t}$$

    Example:
        >>> net_benefit(np.array([0.9, 0.2]), np.array([1, 0]), [0.5]).tolist()
        [0.5]
    """
    called: Bool[np.ndarray, "thresholds patients"] = (
        probability[None] >= np.asarray(thresholds)[:, None]
    )
    true = (called & (labels == 1)).mean(1)
    false = (called & (labels == 0)).mean(1)
    weight = np.asarray(thresholds) / (1 - np.asarray(thresholds))
    benefit: Float[np.ndarray, " thresholds"] = true - false * weight
    return benefit
