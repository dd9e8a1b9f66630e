"""Differences of two models on the same people, with intervals that use that they are the same."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from ml.evaluation.metrics import Estimate, Labels, Scores, auc_difference

Called = tuple[Scores, float]
"""Probabilities of a model, and the threshold that it calls AD from."""


def paired_differences(first: Called, second: Called, labels: Labels) -> Mapping[str, Estimate]:
    """First minus second: AUC (DeLong), Brier score, and what the thresholds give.

    The others are means over people of a difference within each person, so their standard error is
    that of a mean; balanced accuracy is half the sum of two such means over other people.

    Example:
        >>> same = (np.array([0.2, 0.4, 0.6, 0.9]), 0.5)
        >>> paired_differences(same, same, np.array([0, 1, 0, 1]))["sensitivity"].value
        0.0
    """
    (ours, from_ours), (theirs, from_theirs) = first, second
    ad, cn = labels == 1, labels == 0
    called = (ours >= from_ours).astype(float) - (theirs >= from_theirs).astype(float)
    sensitivity, specificity = _mean(called[ad]), _mean(-called[cn])
    errors = [_error(called[ad]) / 2, _error(called[cn]) / 2]
    return {
        "auc": auc_difference(ours, theirs, labels),
        "balanced_accuracy": _estimate(
            (sensitivity.value + specificity.value) / 2, math.hypot(*errors), len(labels)
        ),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "brier": _mean((ours - labels) ** 2 - (theirs - labels) ** 2),
    }


def _mean(differences: Float[np.ndarray, " patients"]) -> Estimate:
    return _estimate(float(differences.mean()), _error(differences), len(differences))


def _error(differences: Float[np.ndarray, " patients"]) -> float:
    return float(differences.std(ddof=1)) / math.sqrt(len(differences))


def _estimate(value: float, error: float, n: int) -> Estimate:
    reach = float(norm.ppf(0.975)) * error
    return Estimate(value=value, low=max(-1.0, value - reach), high=min(1.0, value + reach), n=n)
