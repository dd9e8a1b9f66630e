"""The two ways to a probability side by side, and what the neighbours' skips have to do with it.

The paper judges its pseudo-MRIs by a CNN that was trained on real ones. Such a CNN could read the
disease of the neighbours that the skips come from (method.md trap 7), so the same surrogates are
decoded with other skips, and others' surrogates with the same skips.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ml.data.cohort import Cohort
from ml.data.mri import grid
from ml.evaluation.metrics import auc, auc_difference
from ml.mirage import Mirage, PseudoMRIDecoder
from ml.patient_graph import Findings
from ml.pseudo_mri_reader import PseudoMRIReader
from ml.skip_bank import SkipBank, mix_skips, neighbour_weights

Weights = Float[Tensor, "patients donors"]
Progress = Callable[[int, int], None]
DRAWN_AT_ONCE, SCANS_AT_ONCE = 8, 32
MOST_CONTROLLED = 120
"""People whose pseudo-MRIs are drawn with other skips too; each costs six decodings."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """People whom nobody that reads them has seen.

    Attributes:
        findings: from their records.
        on_real: what the CNN says of their scans (`read_scans`).
        labels: 1 AD, 0 CN.
    """

    findings: Findings
    on_real: Float[Tensor, " patients"]
    labels: Int[np.ndarray, " patients"]


def read_scans(
    reader: PseudoMRIReader, cohort: Cohort, ids: Sequence[str], spacing_mm: float
) -> Float[Tensor, " patients"]:
    """The CNN's logit of each person's scan, some scans at a time."""
    here = grid(spacing_mm)
    return torch.cat(
        [
            reader.cnn_logit(
                torch.from_numpy(
                    cohort.normalised_volumes(ids[start : start + SCANS_AT_ONCE], here)
                )
            )
            for start in range(0, len(ids), SCANS_AT_ONCE)
        ]
    )


def both_diagnoses(labels: Int[np.ndarray, " patients"]) -> bool:
    """Whether there are two of each, without whom there is no AUC."""
    return min(int((labels == 1).sum()), int((labels == 0).sum())) >= 2


def compare_heads(
    mirage: Mirage,
    drawer: PseudoMRIDecoder,
    reader: PseudoMRIReader,
    people: HeldOut,
    donor_labels: Float[Tensor, " donors"] | None,
    *,
    seed: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """AUC of CNN on scans and on pseudo-MRIs, of the fusion beside its parts, and the controls.

    Args:
        mirage, drawer, reader: a trained model.
        people: with both diagnoses among them.
        donor_labels: of the skip bank's donors, 1 AD, 0 CN, NaN unknown; without them (a bundle
            names nobody) the controls that need them are left out.
        seed: of the shuffling and of random donors.
        progress: called with volumes drawn and volumes in all.

    Returns:
        JSON: estimates with intervals; `neighbours` holds the controls.
    """
    reading = mirage.read(people.findings)
    z, surrogate = reading.surrogate, reading.logits.mean(0)
    draw = _Drawing(drawer, reader, progress, len(z))
    on_pseudo = draw.logits(z, retrieved(drawer.skip_bank, z))
    scores = {
        "cnn_on_real_mri": people.on_real,
        "cnn_on_pseudo_mri": on_pseudo,
        "surrogate": surrogate,
        "record": reader.record_logit(people.findings),
        "fusion": reader.fused_probability(surrogate, on_pseudo, people.findings),
    }
    arrays = {name: each.double().numpy() for name, each in scores.items()}
    figures: dict[str, Any] = {
        name: asdict(auc(each, people.labels)) for name, each in arrays.items()
    }
    figures["cnn_pseudo_minus_real"] = asdict(
        auc_difference(arrays["cnn_on_pseudo_mri"], arrays["cnn_on_real_mri"], people.labels)
    )
    for part in ("surrogate", "cnn_on_pseudo_mri", "record"):
        figures[f"fusion_minus_{part}"] = asdict(
            auc_difference(arrays["fusion"], arrays[part], people.labels)
        )
    some = slice(0, MOST_CONTROLLED)
    if both_diagnoses(people.labels[some]):
        figures["neighbours"] = neighbour_figures(
            drawer, reader, z[some], people.labels[some], donor_labels, seed=seed, progress=progress
        )
    return figures


def neighbour_figures(
    drawer: PseudoMRIDecoder,
    reader: PseudoMRIReader,
    z: Float[Tensor, "patients width"],
    labels: Int[np.ndarray, " patients"],
    donor_labels: Float[Tensor, " donors"] | None,
    *,
    seed: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What the CNN reads where skips or surrogates are exchanged, all on the same people.

    Returns:
        JSON: AUC of each of `neighbour_controls` and, as `true`, with nothing exchanged; of the
        vote of the donors' diagnoses, weighted as their skips are; and how far skips of donors
        with AD in place of those without move the logit, as a share of its difference between
        people with AD and without.
    """
    bank = drawer.skip_bank
    drawn_as = {"true": (z, retrieved(bank, z))} | neighbour_controls(bank, z, donor_labels, seed)
    draw = _Drawing(drawer, reader, progress, len(drawn_as) * len(z))
    logits = {name: draw.logits(*each) for name, each in drawn_as.items()}
    figures: dict[str, Any] = {
        name: asdict(auc(each.double().numpy(), labels)) for name, each in logits.items()
    }
    if donor_labels is not None:
        vote = retrieved(bank, z) @ donor_labels.nan_to_num(0.5)
        figures["donors_vote"] = asdict(auc(vote.double().numpy(), labels))
        figures["donors_with_ad"] = int((donor_labels == 1).sum())
    if {"cn_donors", "ad_donors"} <= logits.keys():
        ad = torch.from_numpy(labels == 1)
        moved = float((logits["ad_donors"] - logits["cn_donors"]).mean())
        apart = float(logits["true"][ad].mean() - logits["true"][~ad].mean())
        figures["ad_donors_shift_over_ad_cn_difference"] = moved / apart if apart else None
    return figures


def neighbour_controls(
    bank: SkipBank,
    z: Float[Tensor, "patients width"],
    donor_labels: Float[Tensor, " donors"] | None,
    seed: int,
) -> dict[str, tuple[Float[Tensor, "patients width"], Weights]]:
    """Surrogates and donors' weights of each control of trap 7.

    `mean_skips`: everybody's true z with the mean of all donors. `shuffled_z`: z of somebody else
    with the true skips. `random_donors`: true z with K donors drawn at random. `cn_donors` and
    `ad_donors`: true z with the nearest donors of one diagnosis alone.
    """
    draw = torch.Generator().manual_seed(seed)
    donors = len(bank.donor_keys)
    mean = torch.full((len(z), donors), 1 / donors)
    chosen = torch.rand(len(z), donors, generator=draw).topk(bank.k, dim=1).indices
    at_random = torch.zeros(len(z), donors).scatter(1, chosen, 1 / bank.k)
    controls = {
        "mean_skips": (z, mean),
        "shuffled_z": (z[torch.randperm(len(z), generator=draw)], retrieved(bank, z)),
        "random_donors": (z, at_random),
    }
    for name, label in (("cn_donors", 0), ("ad_donors", 1)):
        if donor_labels is None or not bool((donor_labels == label).any()):
            continue
        allowed = (donor_labels == label).expand(len(z), -1)
        k = min(bank.k, int(allowed[0].sum()))
        controls[name] = (z, neighbour_weights(z, bank.donor_z, allowed, k=k, cap=1.0))
    return controls


def retrieved(bank: SkipBank, z: Float[Tensor, "patients width"]) -> Weights:
    """The weights with which the skip bank mixes its donors for people from outside training."""
    everyone = torch.ones(len(z), len(bank.donor_keys), dtype=torch.bool)
    return neighbour_weights(z, bank.donor_z, everyone, k=bank.k, cap=bank.weight_cap)


class _Drawing:
    """Draws volumes batch by batch and keeps what the CNN says of them."""

    def __init__(
        self,
        drawer: PseudoMRIDecoder,
        reader: PseudoMRIReader,
        progress: Progress | None,
        total: int,
    ) -> None:
        self.drawer, self.reader, self.progress = drawer, reader, progress
        self.done, self.total = 0, total

    @torch.no_grad()
    def logits(
        self, z: Float[Tensor, "patients width"], weights: Weights
    ) -> Float[Tensor, " patients"]:
        """The CNN's logit of what z and these donors' skips decode to."""
        found = []
        for rows in torch.split(torch.arange(len(z)), DRAWN_AT_ONCE):
            skips = [mix_skips(weights[rows], level) for level in self.drawer.skip_bank.skips]
            found.append(self.reader.cnn_logit(self.drawer.decoder(z[rows], skips)[:, 0]))
            self.done += len(rows)
            if self.progress is not None:
                self.progress(self.done, self.total)
        return torch.cat(found)
