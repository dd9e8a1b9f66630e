"""Pseudo-MRIs against their people's scans, beside the one picture that fits everybody."""

from dataclasses import asdict
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import norm
from torch import Tensor

from ml.data.regions import REGION_NAMES
from ml.evaluation.clinical import resampled
from ml.evaluation.membership import frechet_distance
from ml.evaluation.metrics import Estimate, Labels
from ml.evaluation.parts.drawn_people import LIKENESS, DrawnPeople, Guesses
from ml.evaluation.parts.trial import LEAST, Figures, NotToldError, Trial, mean_of
from ml.volume_classifier import VolumeClassifier

HALVINGS = 40
FEWEST_FOR_FRECHET = 20
REPLICATES = 1_000


def picture_figures(trial: Trial, drawn: DrawnPeople) -> Figures:
    """Likeness, regional volumes and Fréchet distances of pseudo-MRI and mean picture.

    Returns:
        JSON: `people`; `pseudo_mri` and `mean_surrogate` with SSIM, PSNR and L1, and under
        `pseudo_minus_mean` their paired difference; `regions`; `frechet`, None without a CNN or
        with too few people.

    Raises:
        NotToldError: nobody has a scan.
    """
    if drawn.scans is None:
        raise NotToldError("no scans in this cohort, so no picture is judged")
    kinds = {"pseudo_mri": drawn.pseudo, "mean_surrogate": drawn.mean}
    pairs = {**kinds, "pseudo_minus_mean": None}
    likeness: Figures = {}
    for name, guesses in pairs.items():
        values = (
            drawn.pseudo.likeness - drawn.mean.likeness if guesses is None else guesses.likeness
        )
        likeness[name] = {
            figure: mean_of(values[:, place].double().numpy())
            for place, figure in enumerate(LIKENESS)
        }
    return {
        "people": len(drawn),
        **likeness,
        "regions": [
            {"name": name, **_region(place, drawn, drawn.scans, trial.seed)}
            for place, name in enumerate(REGION_NAMES)
        ],
        "frechet": _frechet(trial, drawn, drawn.scans),
    }


def _region(place: int, drawn: DrawnPeople, scans: Guesses, seed: int) -> Figures:
    """One region: correlation with the scan, error beside the mean picture's, AD minus CN."""
    true, pseudo, mean = (
        each.regions_ml[:, place].double().numpy() for each in (scans, drawn.pseudo, drawn.mean)
    )
    off, mean_off = np.abs(pseudo - true), np.abs(mean - true)
    return {
        "scan_ml": mean_of(true),
        "correlation": correlation(pseudo, true),
        "error_ml": mean_of(off),
        "mean_error_ml": mean_of(mean_off),
        "error_minus_mean_ml": mean_of(off - mean_off),
        "scan_ad_minus_cn_ml": group_difference(true, drawn.labels, seed),
        "pseudo_ad_minus_cn_ml": group_difference(pseudo, drawn.labels, seed),
        "pseudo_minus_scan_ml": group_difference(pseudo - true, drawn.labels, seed),
    }


def correlation(
    one: Float[np.ndarray, " people"], two: Float[np.ndarray, " people"]
) -> Figures | None:
    """Pearson's correlation with Fisher's interval; None of too few, or where nothing varies.

    Example:
        >>> steps = np.arange(10.0)
        >>> round(correlation(steps, -steps)["value"], 6)
        -1.0
    """
    n = len(one)
    if n < LEAST or min(np.ptp(one), np.ptp(two)) == 0:
        return None
    value = float(np.corrcoef(one, two)[0, 1])
    reach = float(norm.ppf(0.975)) / (n - 3) ** 0.5
    middle = np.arctanh(np.clip(value, -1 + 1e-9, 1 - 1e-9))
    low, high = np.tanh([middle - reach, middle + reach])
    return asdict(Estimate(value=value, low=float(low), high=float(high), n=n))


def group_difference(
    volume_ml: Float[np.ndarray, " people"], labels: Labels, seed: int
) -> Figures | None:
    """Mean of AD minus mean of CN with the bootstrap's interval; None with too few of one."""
    if min((labels == 1).sum(), (labels == 0).sum()) < LEAST:
        return None
    weights = resampled(labels, seed=seed, replicates=REPLICATES)

    def apart(counts: Float[np.ndarray, "samples people"]) -> Float[np.ndarray, " samples"]:
        ad, cn = counts * (labels == 1), counts * (labels == 0)
        found: Float[np.ndarray, " samples"] = ad @ volume_ml / ad.sum(1) - cn @ volume_ml / cn.sum(
            1
        )
        return found

    low, high = np.percentile(apart(weights), (2.5, 97.5))
    value = float(apart(np.ones((1, len(labels))))[0])
    return asdict(Estimate(value=value, low=float(low), high=float(high), n=len(labels)))


def _frechet(trial: Trial, drawn: DrawnPeople, scans: Guesses) -> Figures | None:
    """Fréchet distances on the features of the bundle's first CNN, over random halvings.

    The distance grows as people become few, so each compares the pictures of one random half with
    the scans of the other half, and the scans of the first half stand beside them as what real
    scans of as many people reach.
    """
    if trial.reader is None or len(drawn) < FEWEST_FOR_FRECHET:
        return None
    network = cast("VolumeClassifier", trial.reader.members[0])
    kinds = {"pseudo_mri": drawn.pseudo, "mean_surrogate": drawn.mean, "scans": scans}
    features = {name: cnn_features(network, each.coarse) for name, each in kinds.items()}
    draw = torch.Generator().manual_seed(trial.seed)
    half = len(drawn) // 2
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(HALVINGS):
        order = torch.randperm(len(drawn), generator=draw)
        one, other = order[:half], order[half : 2 * half]
        for name, each in features.items():
            found[name].append(frechet_distance(each[one], features["scans"][other]))
    return {name: _over_halvings(each, half) for name, each in found.items()} | {
        "pseudo_minus_scans": _over_halvings(
            [a - b for a, b in zip(found["pseudo_mri"], found["scans"], strict=True)], half
        )
    }


def _over_halvings(values: list[float], half: int) -> Figures:
    low, high = np.percentile(values, (2.5, 97.5))
    return asdict(Estimate(value=float(np.mean(values)), low=float(low), high=float(high), n=half))


@torch.no_grad()
def cnn_features(
    network: VolumeClassifier, coarse: Float[Tensor, "people i j k"]
) -> Float[Tensor, "people width"]:
    """What a CNN's answer is read off: its feature maps, averaged over their places."""
    kept: list[Tensor] = []
    hook = network.normalise.register_forward_hook(lambda *seen: kept.append(seen[2]))
    try:
        for part in torch.split(coarse, 16):
            network(part)
    finally:
        hook.remove()
    return torch.cat(kept)
