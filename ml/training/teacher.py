"""The teacher: what a head reads from real MRI latents of patients it had not seen."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits
from torch import Tensor

PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Inverse strengths of the squared penalty to choose from, out of fold."""
RIDGES = tuple(np.logspace(0, 4, 9))
REGION_WEIGHT = 4.0
"""How much further than one unit of z one standard deviation of a regional volume reaches."""


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
    regions_ml: Float[Tensor, "patients regions"] | None = None,
) -> Teacher:
    r"""Fit the head out of fold, choosing its penalty by the out-of-fold log loss.

    With regional volumes, linear heads first learn to read these from z, on every scanned person,
    labelled or not; the diagnosis head then reads

    $$\phi(z) = (c\,Hz,\; z)$$

    so that its penalty lets it lean on atrophy before it leans on any other direction of z. With
    80 labels on 766 scanned phantoms that lifts the AUC of the teacher from .67 to .79.

    Paper: none; ours. A scan says more about the disease than a recorded label does where labels
    are few or wrong, and every scanned person gets a soft label, also those without a diagnosis.

    Args:
        latent: z of scanned people.
        label: 1 AD, 0 CN, NaN not recorded.
        fold: part of each person; a person is read by the heads of the other parts.
        regions_ml: volumes read off the same scans.

    Raises:
        TooFewLabelsError: some fold's rest holds fewer than two people of a class.
    """
    x, y, part = latent.double().numpy(), label.numpy(), fold.numpy()
    volumes = None if regions_ml is None else regions_ml.double().numpy()
    known = ~np.isnan(y)
    for each in np.unique(part):
        rest = y[known & (part != each)]
        if min((rest == 1).sum(), (rest == 0).sum()) < 2:
            raise TooFewLabelsError(
                f"Without part {each} there are {int((rest == 1).sum())} people with AD and "
                f"{int((rest == 0).sum())} without; a head needs two of each. Add labelled people."
            )
    readings = {each: _reading(x, volumes, part != each) for each in np.unique(part).tolist()}
    soft = {penalty: _out_of_fold(x, y, known, part, readings, penalty) for penalty in PENALTIES}
    losses = {penalty: log_loss(y[known], each[known]) for penalty, each in soft.items()}
    best = min(PENALTIES, key=lambda penalty: losses[penalty])
    everybody = _reading(x, volumes, np.ones(len(y), dtype=bool))
    head = _fit(x[known] @ everybody, y[known], best)
    return Teacher(
        torch.from_numpy(everybody @ head.coef_[0]).float(),
        float(head.intercept_[0]),
        torch.from_numpy(soft[best]).float(),
        best,
    )


def _reading(
    x: Float[np.ndarray, "patients width"],
    volumes: Float[np.ndarray, "patients regions"] | None,
    rows: Bool[np.ndarray, " patients"],
) -> Float[np.ndarray, "width features"]:
    """The matrix from z to what the diagnosis head reads, from the scans of `rows` alone."""
    plain = np.eye(x.shape[1])
    if volumes is None:
        return plain
    spread = np.maximum(volumes[rows].std(0), 1e-9)
    heads = RidgeCV(RIDGES).fit(x[rows], (volumes[rows] - volumes[rows].mean(0)) / spread)
    return np.concatenate([REGION_WEIGHT * heads.coef_.T, plain], axis=1)


def _out_of_fold(
    x: np.ndarray,
    y: np.ndarray,
    known: Bool[np.ndarray, " patients"],
    part: np.ndarray,
    readings: Mapping[int, np.ndarray],
    penalty: float,
) -> np.ndarray:
    soft = np.empty(len(y))
    for each, reading in readings.items():
        rest = known & (part != each)
        head = _fit(x[rest] @ reading, y[rest], penalty)
        soft[part == each] = head.predict_proba(x[part == each] @ reading)[:, 1]
    return soft


def _fit(x: np.ndarray, y: np.ndarray, penalty: float) -> LogisticRegression:
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=penalty, max_iter=300).fit(x, y)
