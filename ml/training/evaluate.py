"""What a trained model is worth on people whom no stage has seen; looked at once."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ml.bundle import PseudoMRIModel
from ml.concepts import dictionary, schema
from ml.data.cohort import Cohort
from ml.data.mri import Grid, brain_mask, grid, intensity_range
from ml.evaluation.ehr_baseline import ehr_baseline
from ml.evaluation.metrics import auc, auc_difference, proportion, scorecard
from ml.losses import ssim
from ml.mirage import Mirage
from ml.records import Answer
from ml.training.pretrain_unet import encode_with_skips
from ml.unet import UNet3D

MOST_DECODED = 32
"""Test people whose pseudo-MRI is compared with their scan."""


def evaluate(
    cohort: Cohort,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    mirage: Mirage,
    unet: UNet3D,
    drawer: PseudoMRIModel,
    threshold: float,
    *,
    seed: int,
) -> dict[str, Any]:
    """Figures with intervals, beside tuned logistic regression on the same people.

    Args:
        cohort: of both parts.
        train_ids, test_ids: who trained the model, and labelled people who did not.
        mirage: the trained model.
        unet: its autoencoder.
        drawer: its decoder with the donors' skips.
        threshold: of the probability for balanced accuracy, chosen out of fold.
    """
    labels = _labels(cohort, test_ids)
    records = [cohort.records[each] for each in test_ids]
    findings = mirage.scaler.encode(records)
    reading = mirage.read(findings)
    probability = mirage.calibration.probability(reading.logits.mean(0)).double().numpy()
    labelled = [each for each in train_ids if cohort.labels[each] is not None]
    known = dictionary()
    baselines = {
        name: ehr_baseline(
            tuple(known[each] for each in schema() if wide or not known[each].label_proximal),
            [cohort.records[each] for each in labelled],
            _labels(cohort, labelled),
            records,
            seed=seed,
        )
        for name, wide in (("logistic_regression", False), ("with_label_proximal", True))
    }
    baseline = baselines["logistic_regression"]
    metrics: dict[str, Any] = dict(scorecard(probability, labels, threshold))
    metrics["logistic_regression"] = {
        "auc": asdict(auc(baseline, labels)),
        "auc_with_label_proximal": asdict(auc(baselines["with_label_proximal"], labels)),
    }
    metrics["auc_minus_logistic_regression"] = asdict(auc_difference(probability, baseline, labels))
    metrics["answers"] = _answers(mirage, probability, labels)
    scanned = set(cohort.ids_with_scan())
    shown = [place for place, each in enumerate(test_ids) if each in scanned][:MOST_DECODED]
    if shown:
        here = grid(mirage.profile.spacing_mm)
        volumes = torch.from_numpy(
            cohort.normalised_volumes([test_ids[place] for place in shown], here)
        )
        metrics["ssim"] = _similarities(unet, drawer, volumes, reading.surrogate[shown], here)
    return metrics


def youden_threshold(
    probability: Float[np.ndarray, " patients"], ad: Bool[np.ndarray, " patients"]
) -> float:
    """The probability from which calling it AD gives the largest balanced accuracy."""
    candidates = np.unique(probability)
    gains = [
        float((probability[ad] >= each).mean() - (probability[~ad] >= each).mean())
        for each in candidates
    ]
    return float(candidates[int(np.argmax(gains))])


def _labels(cohort: Cohort, ids: Sequence[str]) -> np.ndarray:
    return np.array([cohort.labels[each] for each in ids], dtype=np.int64)


def _answers(mirage: Mirage, probability: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How often the conformal set holds the truth, by class, and how often it is one class."""
    answers = np.array(mirage.calibration.answers(torch.from_numpy(probability)))
    sure = answers != Answer.UNCERTAIN
    figures: dict[str, Any] = {"certain": asdict(proportion(int(sure.sum()), len(labels)))}
    for name, value, own in (("ad", 1, Answer.AD), ("cn", 0, Answer.CN)):
        of_class = labels == value
        held = (answers == own) | ~sure
        figures[f"{name}_covered"] = asdict(
            proportion(int(held[of_class].sum()), int(of_class.sum()))
        )
    return figures


@torch.no_grad()
def _similarities(
    unet: UNet3D,
    drawer: PseudoMRIModel,
    volumes: Tensor,
    surrogate: Float[Tensor, "patients width"],
    here: Grid,
) -> dict[str, float]:
    """Mean SSIM to the person's scan: of its pseudo-MRI and, for comparison, of trivial guesses."""
    mask = torch.from_numpy(brain_mask(here).copy())
    span = intensity_range(here)
    sums: dict[str, float] = {}
    for batch, guess in zip(torch.split(volumes, 8), torch.split(surrogate, 8), strict=True):
        scans = batch.float()[:, None]
        z, own = encode_with_skips(unet, batch)
        mean_brain = unet.encoder.mean_brain.expand_as(scans)
        pairs = {
            "pseudo_mri": drawer.decoder(guess),
            "mean_brain": mean_brain,
            "autoencoder_own_skips": unet.decoder(z, own),
            "autoencoder_donor_skips": drawer.decoder(z),
        }
        for name, volume in pairs.items():
            similarity = float(ssim(volume, scans, mask, data_range=span).sum())
            sums[name] = sums.get(name, 0.0) + similarity
    return {name: total / len(volumes) for name, total in sums.items()}
