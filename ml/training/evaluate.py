"""What a trained model is worth on people whom no stage has seen; looked at once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Tensor

from ml.bundle import PseudoMRIModel
from ml.concepts import Concept, dictionary, schema
from ml.data.cohort import Cohort
from ml.data.mri import brain_mask, grid, intensity_range
from ml.evaluation.ehr_baseline import ehr_baseline
from ml.evaluation.heads import HeldOut, both_diagnoses, compare_heads, read_scans
from ml.evaluation.metrics import auc, auc_difference, proportion, scorecard
from ml.evaluation.swap import reconstruction, swap_test
from ml.losses import ssim
from ml.mirage import Mirage, PseudoMRIDecoder
from ml.pseudo_mri_reader import PseudoMRIReader
from ml.records import Answer
from ml.training.course import Course
from ml.training.pretrain_unet import encode
from ml.unet import UNet3D

MOST_DECODED = 32
"""Test people whose pseudo-MRI is compared with their scan, voxel by voxel."""
MOST_SWAPPED = 200
"""Test people whose ventricles are measured as decoded; of 32 the true difference can be 0."""
MOST_READ = 400
"""Test people whose scan and pseudo-MRI the CNN reads."""


def evaluate(
    cohort: Cohort,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    mirage: Mirage,
    unet: UNet3D,
    drawer: PseudoMRIModel,
    reader: PseudoMRIReader,
    donor_labels: Float[Tensor, " donors"],
    threshold: float,
    *,
    seed: int,
    course: Course,
) -> dict[str, Any]:
    """Figures with intervals, beside tuned logistic regression on the same people.

    Args:
        cohort: of both parts.
        train_ids, test_ids: who trained the model, and labelled people who did not.
        mirage: the trained model.
        unet: its autoencoder.
        drawer: its decoder with the donors' skips.
        reader: its CNNs.
        donor_labels: diagnoses of the donors, for the controls of trap 7.
        threshold: of the probability for balanced accuracy, chosen out of fold.
        seed: of everything random.
        course: of the training.
    """
    labels = _labels(cohort, test_ids)
    records = [cohort.records[each] for each in test_ids]
    findings = mirage.scaler.encode(records)
    reading = mirage.read(findings)
    probability = mirage.calibration.probability(reading.logits.mean(0)).double().numpy()
    labelled = [each for each in train_ids if cohort.labels[each] is not None]
    known = dictionary()
    everything = tuple(known[each] for each in schema())
    alone = tuple(each for each in everything if not each.label_proximal)

    def logistic_regression(name: str, concepts: tuple[Concept, ...]) -> np.ndarray:
        trained = [cohort.records[each] for each in labelled]
        said = course.once(
            name,
            lambda: ehr_baseline(
                concepts, trained, _labels(cohort, labelled), records, seed=seed
            ).tolist(),
        )
        return np.array(said)

    baseline = logistic_regression("logistic regression", alone)
    wide = logistic_regression("logistic regression with label-proximal", everything)
    metrics: dict[str, Any] = dict(scorecard(probability, labels, threshold))
    metrics["logistic_regression"] = {
        "auc": asdict(auc(baseline, labels)),
        "auc_with_label_proximal": asdict(auc(wide, labels)),
    }
    metrics["auc_minus_logistic_regression"] = asdict(auc_difference(probability, baseline, labels))
    metrics["answers"] = _answers(mirage, probability, labels)
    scanned = set(cohort.ids_with_scan())
    shown = [place for place, each in enumerate(test_ids) if each in scanned][:MOST_READ]
    ids = [test_ids[place] for place in shown]
    spacing_mm = mirage.profile.spacing_mm
    first = shown[:MOST_SWAPPED]
    if len(set(labels[first])) == 2:
        metrics |= course.once(
            "imaging",
            lambda: _imaging(
                unet,
                drawer.decoder,
                torch.from_numpy(cohort.normalised_volumes(ids[: len(first)], grid(spacing_mm))),
                reading.surrogate[first],
                torch.from_numpy(labels[first]),
                [cohort.persons[each] for each in ids[: len(first)]],
            ),
        )
    if both_diagnoses(labels[shown]):
        metrics["heads"] = course.once(
            "heads",
            lambda: compare_heads(
                mirage,
                drawer.decoder,
                reader,
                HeldOut(
                    findings.rows(torch.tensor(shown)),
                    read_scans(reader, cohort, ids, spacing_mm),
                    labels[shown],
                ),
                donor_labels,
                seed=seed,
                progress=course.step,
            ),
        )
    course.tell("metric", values=_told(metrics))
    return metrics


def _told(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The figures that whoever watches the training sees at its end."""
    people = f"{metrics['auc']['n']} test people"
    told = {
        f"AUC of the surrogate, {people}": metrics["auc"]["value"],
        f"AUC of logistic regression, {people}": metrics["logistic_regression"]["auc"]["value"],
    }
    if "ssim" in metrics:
        told |= {
            "SSIM of pseudo-MRIs, test people": metrics["ssim"]["pseudo_mri"],
            "SSIM of the mean brain, test people": metrics["ssim"]["mean_brain"],
            "SSIM of reconstructions, test people": metrics["ssim"]["own_latent_own_skips"],
        }
    if "swap_ratio" in metrics:
        told["swap ratio, test people"] = metrics["swap_ratio"]
    if "heads" in metrics:
        fusion = metrics["heads"]["fusion"]
        told[f"AUC of the fusion, {fusion['n']} test people"] = fusion["value"]
    return told


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
def _imaging(
    unet: UNet3D,
    decoder: PseudoMRIDecoder,
    volumes: Float16[Tensor, "patients x y z"],
    surrogate: Float[Tensor, "patients width"],
    labels: Int[Tensor, " patients"],
    persons: Sequence[str],
) -> dict[str, Any]:
    """SSIM to the person's scan beside trivial guesses, and what z and surrogate show of AD.

    The swap ratios are shares of the true difference of ventricle volume between AD and CN that
    decoding shows with the same skips for everybody: `swap_ratio` from real latents, the proof
    that the decoder listens to z, `surrogate_swap_ratio` from surrogates. Where the true
    difference could be chance, there are none.
    """
    mean_skips = tuple(level.float().mean(0, keepdim=True) for level in decoder.skip_bank.skips)
    latent = encode(unet, volumes)
    swap = {
        name: swap_test(unet.decoder, z, labels, mean_skips, volumes[:, None], unet.grid)
        for name, z in (("swap_ratio", latent), ("surrogate_swap_ratio", surrogate))
    }
    mask = torch.from_numpy(brain_mask(unet.grid).copy())
    span = intensity_range(unet.grid)
    few, scans = volumes[:MOST_DECODED], volumes[:MOST_DECODED].float()[:, None]
    drawn_from = torch.split(surrogate[:MOST_DECODED], 8)
    similar = [
        ssim(decoder(guess), batch, mask, data_range=span)
        for guess, batch in zip(drawn_from, torch.split(scans, 8), strict=True)
    ]
    guesses = reconstruction(unet, decoder.skip_bank, few, persons[:MOST_DECODED])
    return {
        **{name: each.ratio for name, each in swap.items() if each.told},
        "ventricle_difference_ml": swap["swap_ratio"].true_ml,
        "ssim": {
            "pseudo_mri": float(torch.cat(similar).mean()),
            "mean_brain": guesses.mean_brain,
            "own_latent_own_skips": guesses.own,
            "own_latent_donor_skips": guesses.neighbour,
            "no_latent_donor_skips": guesses.neighbour_only,
        },
    }
