"""The teacher: what a head reads from real MRI latents of patients it had not seen."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor

PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Inverse strengths of the squared penalty to choose from, out of fold."""


class TooFewLabelsError(ValueError):
    """There are not enough labelled people of both classes to fit a head in every fold."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A linear diagnosis head on real latents.

    Attributes:
        weight, bias: of the head fitted on all labelled people it was given.
        soft: P(AD) of each person from a head that had not seen that person; labelled or not.
        penalty: the inverse penalty that was chosen.
    """

    weight: Float[Tensor, " width"]
    bias: float
    soft: Float[Tensor, " patients"]
    penalty: float


def fit_teacher(
    latent: Float[Tensor, "patients width"],
    label: Float[Tensor, " patients"],
    fold: Int[Tensor, " patients"],
) -> Teacher:
    """Fit the head out of fold, choosing its penalty by the out-of-fold log loss.

    Paper: none; ours. A scan says more about the disease than a recorded label does where labels
    are few or wrong, and every scanned person gets a soft label, also those without a diagnosis.

    Args:
        latent: z of scanned people.
        label: 1 AD, 0 CN, NaN not recorded.
        fold: part of each person; a person is read by the head of the other parts.

    Raises:
        TooFewLabelsError: some fold's rest holds fewer than two people of a class.
    """
    x, y, part = latent.double().numpy(), label.numpy(), fold.numpy()
    known = ~np.isnan(y)
    for each in np.unique(part):
        rest = y[known & (part != each)]
        if min((rest == 1).sum(), (rest == 0).sum()) < 2:
            raise TooFewLabelsError(
                f"Without part {each} there are {int((rest == 1).sum())} people with AD and "
                f"{int((rest == 0).sum())} without; a head needs two of each. Add labelled people."
            )
    soft = {penalty: _out_of_fold(x, y, known, part, penalty) for penalty in PENALTIES}
    losses = {penalty: log_loss(y[known], each[known]) for penalty, each in soft.items()}
    best = min(PENALTIES, key=lambda penalty: losses[penalty])
    head = _fit(x[known], y[known], best)
    return Teacher(
        torch.from_numpy(head.coef_[0]).float(),
        float(head.intercept_[0]),
        torch.from_numpy(soft[best]).float(),
        best,
    )


def _out_of_fold(
    x: np.ndarray,
    y: np.ndarray,
    known: Bool[np.ndarray, " patients"],
    part: np.ndarray,
    penalty: float,
) -> np.ndarray:
    soft = np.empty(len(y))
    for each in np.unique(part):
        head = _fit(x[known & (part != each)], y[known & (part != each)], penalty)
        soft[part == each] = head.predict_proba(x[part == each])[:, 1]
    return soft


def _fit(x: np.ndarray, y: np.ndarray, penalty: float) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=penalty, max_iter=300).fit(x, y)
