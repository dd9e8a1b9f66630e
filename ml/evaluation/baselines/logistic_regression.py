"""Logistic regression with a squared penalty, the strongest simple reader of a health record."""

import numpy as np
from sklearn.linear_model import LogisticRegression

INVERSE_PENALTIES = tuple(np.logspace(-4, 2, 13))


def candidates(seed: int) -> list[LogisticRegression]:
    """One model a penalty, the strongest penalty first; `seed` plays no part."""
    return [LogisticRegression(C=c, max_iter=500) for c in INVERSE_PENALTIES]
