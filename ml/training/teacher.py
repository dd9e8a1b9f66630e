"""The teacher: what a head reads from real MRI latents of patients it had not seen."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits
from torch import Tensor

from ml.training.people import TrainingPeople

PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Inverse strengths of the squared penalty to choose from, out of fold."""
RIDGES = tuple(np.logspace(0, 4, 9))
READ_WEIGHT, SEEN_WEIGHT = 4.0, 2.0
"""How much further than one unit of z one standard deviation of a regional volume reaches."""
LEADING = 16
"""Components of z, first to last, that soft labels may use."""


class TooFewLabelsError(ValueError):
    """There are not enough labelled people of both classes to fit a head in every fold."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A linear diagnosis head on real latents.

    Attributes:
        weight, bias: of the head that reads z, fitted on all labelled people it was given.
        soft: P(AD) of each person from a head that had not seen that person; labelled or not. NaN
            for people without a scan, of whom a teacher knows nothing.
        penalty: the inverse penalty of the head that reads z.
    """

    weight: Float[Tensor, " width"]
    bias: float
    soft: Float[Tensor, " patients"]
    penalty: float


def teacher_of(people: TrainingPeople) -> Teacher:
    """The teacher of some training people, fitted on those of them who have a scan.

    Raises:
        TooFewLabelsError: see `fit_teacher`.
    """
    seen = people.with_scan()
    teacher = fit_teacher(seen.latent, seen.label, seen.fold, seen.regions_ml)
    soft = torch.full((len(people),), torch.nan)
    soft[people.scanned] = teacher.soft
    return replace(teacher, soft=soft)


def fit_teacher(
    latent: Float[Tensor, "patients width"],
    label: Float[Tensor, " patients"],
    fold: Int[Tensor, " patients"],
    regions_ml: Float[Tensor, "patients regions"] | None = None,
) -> Teacher:
    r"""Fit two heads on scans: one that gives everybody a soft label, one that reads z.

    Soft labels come out of fold from the scan's regional volumes and its leading components of z.
    The other components are left out of them: autoencoder and components were fitted on these very
    scans, which pushes people apart in the small directions of z, and out of fold a head on all of
    z told the disease of training people worse than that of others (AUC .61 for .66 with 80 labels
    on 600 phantoms; volumes and 16 components: .75 for .77).

    The head that reads z is what a surrogate, which has no volumes, can be read by. Linear heads
    learn the volumes from z on every scanned person, and the diagnosis head reads

    $$\phi(z) = (c\,Hz,\; z)$$

    so that its penalty lets it lean on atrophy before any other direction.

    Paper: none; ours. A scan says more about the disease than a recorded label does where labels
    are few or wrong, and every scanned person gets a soft label, also those without a diagnosis.

    Args:
        latent: z of scanned people.
        label: 1 AD, 0 CN, NaN not recorded.
        fold: part of each person; its soft label comes from a head fitted on the other parts.
        regions_ml: volumes read off the same scans; without them both heads read all of z.

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
    reading, seen = np.eye(x.shape[1]), x
    if regions_ml is not None:
        volumes = regions_ml.double().numpy()
        volumes = (volumes - volumes.mean(0)) / np.maximum(volumes.std(0), 1e-9)
        heads = RidgeCV(RIDGES).fit(x, volumes).coef_
        reading = np.concatenate([READ_WEIGHT * heads.T, reading], axis=1)
        seen = np.concatenate([SEEN_WEIGHT * volumes, x[:, :LEADING]], axis=1)
    with threadpool_limits(1):  # once: it looks through all libraries, which takes as long as a fit
        soft, _ = _choose(seen, y, known, part)
        _, penalty = _choose(x @ reading, y, known, part)
        head = _fit(x[known] @ reading, y[known], penalty)
    return Teacher(
        torch.from_numpy(reading @ head.coef_[0]).float(),
        float(head.intercept_[0]),
        torch.from_numpy(soft).float(),
        penalty,
    )


def _choose(
    x: np.ndarray, y: np.ndarray, known: Bool[np.ndarray, " patients"], part: np.ndarray
) -> tuple[Float[np.ndarray, " patients"], float]:
    """Out-of-fold P(AD) under the penalty with the least out-of-fold log loss, and the penalty."""
    soft = {penalty: _out_of_fold(x, y, known, part, penalty) for penalty in PENALTIES}
    losses = {penalty: log_loss(y[known], each[known]) for penalty, each in soft.items()}
    best = min(PENALTIES, key=lambda penalty: losses[penalty])
    return soft[best], best


def _out_of_fold(
    x: np.ndarray,
    y: np.ndarray,
    known: Bool[np.ndarray, " patients"],
    part: np.ndarray,
    penalty: float,
) -> np.ndarray:
    soft = np.empty(len(y))
    for each in np.unique(part):
        rest = known & (part != each)
        head = _fit(x[rest], y[rest], penalty)
        soft[part == each] = head.predict_proba(x[part == each])[:, 1]
    return soft


def _fit(x: np.ndarray, y: np.ndarray, penalty: float) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=penalty, max_iter=300).fit(x, y)
