"""How well probabilities separate people and how far to trust them, with intervals."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm, rankdata
from sklearn.linear_model import LogisticRegression

Scores = Float[np.ndarray, " patients"]
Labels = Int[np.ndarray, " patients"]


class OneClassError(ValueError):
    """There are not both AD and CN among the people of an evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: the point estimate.
        low, high: bounds of the interval.
        n: people behind it.
    """

    value: float
    low: float
    high: float
    n: int


def auc(scores: Scores, labels: Labels) -> Estimate:
    """Area under the ROC curve with DeLong's interval (DeLong, DeLong and Clarke-Pearson 1988).

    Example:
        >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])).value
        0.75

    Raises:
        OneClassError: all labels are the same.
    """
    areas, covariance = areas_with_covariance(scores[None], labels)
    return _interval(float(areas[0]), math.sqrt(covariance[0, 0]), len(labels), 0.0, 1.0)


def auc_difference(first: Scores, second: Scores, labels: Labels) -> Estimate:
    """AUC of `first` minus AUC of `second` on the same people, with DeLong's paired interval."""
    areas, covariance = areas_with_covariance(np.stack([first, second]), labels)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    difference = float(areas[0] - areas[1])
    return _interval(difference, math.sqrt(max(variance, 0.0)), len(labels), -1.0, 1.0)


def areas_with_covariance(
    scores: Float[np.ndarray, "models patients"], labels: Labels
) -> tuple[Float[np.ndarray, " models"], Float[np.ndarray, "models models"]]:
    """Areas under several ROC curves on the same people, and DeLong's covariance of the areas.

    Shape:
        `(models, patients), (patients) -> (models), (models, models)`

    Raises:
        OneClassError: fewer than two people of a label.
    """
    _check_both_classes(labels)
    cases, controls = scores[:, labels == 1], scores[:, labels == 0]
    m, n = cases.shape[1], controls.shape[1]
    pooled = rankdata(np.concatenate([cases, controls], axis=1), axis=1)
    areas = (pooled[:, :m].sum(1) / m - (m + 1) / 2) / n
    of_cases = (pooled[:, :m] - rankdata(cases, axis=1)) / n
    of_controls = 1 - (pooled[:, m:] - rankdata(controls, axis=1)) / m
    covariance = np.atleast_2d(np.cov(of_cases)) / m + np.atleast_2d(np.cov(of_controls)) / n
    return areas, covariance


def _check_both_classes(labels: Labels) -> None:
    if min((labels == 1).sum(), (labels == 0).sum()) < 2:
        raise OneClassError(
            f"An evaluation needs at least two people with AD and two without; of these "
            f"{len(labels)}, {int((labels == 1).sum())} have AD. Take more people."
        )


def _interval(value: float, error: float, n: int, least: float, most: float) -> Estimate:
    reach = float(norm.ppf(0.975)) * error
    return Estimate(value=value, low=max(least, value - reach), high=min(most, value + reach), n=n)


def proportion(hits: int, n: int) -> Estimate:
    """A share with Wilson's interval.

    Example:
        >>> round(proportion(8, 10).low, 4), round(proportion(8, 10).high, 4)
        (0.4902, 0.9433)
    """
    z = float(norm.ppf(0.975))
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = min(share, max(0.0, centre - reach)), max(share, min(1.0, centre + reach))
    return Estimate(value=share, low=low, high=high, n=n)


def balanced_accuracy(probability: Scores, labels: Labels, threshold: float) -> Estimate:
    """Mean of sensitivity and specificity at a threshold that was chosen on other people."""
    _check_both_classes(labels)
    positive = probability >= threshold
    m, n = int((labels == 1).sum()), int((labels == 0).sum())
    sensitivity = float(positive[labels == 1].mean())
    specificity = float(1 - positive[labels == 0].mean())
    variance = sensitivity * (1 - sensitivity) / m + specificity * (1 - specificity) / n
    return _interval((sensitivity + specificity) / 2, math.sqrt(variance) / 2, m + n, 0.0, 1.0)


def brier(probability: Scores, labels: Labels) -> Estimate:
    """Mean squared distance of probability and outcome; 0 is perfect."""
    squares = (probability - labels) ** 2
    error = float(squares.std(ddof=1)) / math.sqrt(len(labels))
    return _interval(float(squares.mean()), error, len(labels), 0.0, 1.0)


def calibration(probability: Scores, labels: Labels) -> tuple[Estimate, Estimate]:
    """Slope and intercept of the outcome on the logit of the probability; 1 and 0 are perfect.

    Both from one logistic regression without penalty; a slope below 1 means overconfidence.
    """
    _check_both_classes(labels)
    logit = logits(probability)
    model = LogisticRegression(C=np.inf, max_iter=1000).fit(logit[:, None], labels)
    fitted = model.predict_proba(logit[:, None])[:, 1]
    design = np.stack([logit, np.ones_like(logit)], axis=1)
    information = (design * (fitted * (1 - fitted))[:, None]).T @ design
    errors = np.sqrt(np.diag(np.linalg.pinv(information)))
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return (
        _interval(slope, float(errors[0]), len(labels), -math.inf, math.inf),
        _interval(intercept, float(errors[1]), len(labels), -math.inf, math.inf),
    )


def logits(probability: Scores) -> Scores:
    """Log odds, of probabilities kept one part in a million from 0 and 1."""
    safe = np.clip(probability, 1e-6, 1 - 1e-6)
    logit: Scores = np.log(safe) - np.log1p(-safe)
    return logit


def scorecard(probability: Scores, labels: Labels, threshold: float) -> Mapping[str, object]:
    """All figures of one model on one set of people, ready for a card."""
    positive = probability >= threshold
    slope, intercept = calibration(probability, labels)
    figures = {
        "auc": auc(probability, labels),
        "balanced_accuracy": balanced_accuracy(probability, labels, threshold),
        "sensitivity": proportion(int(positive[labels == 1].sum()), int((labels == 1).sum())),
        "specificity": proportion(int((~positive)[labels == 0].sum()), int((labels == 0).sum())),
        "brier": brier(probability, labels),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }
    return {name: asdict(figure) for name, figure in figures.items()}
