"""Where the CNN looks: Grad-CAM in three dimensions, and whether that is where it really looks."""

import copy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional

from ml.evaluation.metrics import Estimate, proportion
from ml.volume_classifier import VolumeClassifier

SHARES = (0.02, 0.05, 0.1, 0.2)
"""Shares of the brain's voxels that are taken away or put in."""
RANDOM_ROUNDS = 5
BLOCK = 3
"""Random voxels are taken in cubes of this edge, because a map is smooth and dust is no match."""


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Whether a map shows what the CNN used.

    Attributes:
        better: share of people for whom taking away the map's first voxels lowers the log odds of
            what the CNN said more than as many random voxels do.
        deletion, deletion_random: mean drop of these log odds over `SHARES`.
        insertion, insertion_random: mean gain when only these voxels are put into the mean brain.
        randomised: mean rank correlation with the map of the same CNN with weights shuffled.
    """

    better: Estimate
    deletion: float
    deletion_random: float
    insertion: float
    insertion_random: float
    randomised: float

    def entries(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def grad_cam(
    network: VolumeClassifier,
    coarse: Float[Tensor, "patients i j k"],
    *,
    elementwise: bool = False,
) -> Float[Tensor, "patients i j k"]:
    r"""Map of the voxels that speak for what the CNN says of each volume, 0 to 1.

    $$M = \mathrm{ReLU} \sum_k \alpha_k A_k, \qquad
      \alpha_k = \frac{1}{V} \sum_v \frac{\partial s}{\partial A_k(v)}$$

    with the feature maps A of the last level and the log odds s of the answer given (AD or not).

    Paper: none; MDR-Dx shows such maps. This CNN weighs every place on its own, which a mean
    gradient forgets, so `elementwise` multiplies gradient and feature place by place (HiResCAM).

    Args:
        network: in evaluation mode.
        coarse: volumes, averaged by `VolumeClassifier.coarse`.
        elementwise: without the mean over places.
    """
    kept: list[Tensor] = []
    hook = network.levels[-1].register_forward_hook(lambda *seen: kept.append(seen[2]))
    try:
        logit = network(coarse).logit
    finally:
        hook.remove()
    [before] = kept
    [gradient] = torch.autograd.grad((logit * logit.detach().sign()).sum(), before)
    features = functional.leaky_relu(before, 0.1)
    gradient = gradient / torch.where(before > 0, 1.0, 0.1)  # of the features, behind the ReLU
    weight = gradient if elementwise else gradient.mean((2, 3, 4), keepdim=True)
    relevance = (weight * features).sum(1, keepdim=True).clamp_min(0).detach()
    sized = functional.interpolate(relevance, size=coarse.shape[1:], mode="trilinear")[:, 0]
    return sized / sized.amax((1, 2, 3), keepdim=True).clamp_min(1e-12)


def faithfulness(
    network: VolumeClassifier,
    coarse: Float[Tensor, "patients i j k"],
    inside: Bool[Tensor, "i j k"],
    *,
    elementwise: bool = False,
    seed: int,
) -> Faithfulness:
    """Deletion and insertion against random voxels, and the map of shuffled weights.

    What is taken away is replaced by the mean brain of the CNN's training scans.

    Args:
        network: in evaluation mode.
        coarse: volumes of people it has not seen.
        inside: the brain.
        elementwise: see `grad_cam`.
        seed: of the random voxels and of the shuffling.
    """
    draw = torch.Generator().manual_seed(seed)
    maps = grad_cam(network, coarse, elementwise=elementwise)
    ours = _effects(network, coarse, maps, inside)
    rounds = [
        _effects(network, coarse, _blocks(maps.shape, draw), inside) for _ in range(RANDOM_ROUNDS)
    ]
    random = torch.stack(rounds).mean(0)
    better = int((ours[0] > random[0]).sum())
    other = grad_cam(_shuffled(network, draw), coarse, elementwise=elementwise)
    alike = [
        float(spearmanr(one[inside].numpy(), two[inside].numpy()).statistic)
        for one, two in zip(maps, other, strict=True)
    ]
    return Faithfulness(
        proportion(better, len(coarse)),
        float(ours[0].mean()),
        float(random[0].mean()),
        float(ours[1].mean()),
        float(random[1].mean()),
        float(np.nan_to_num(alike).mean()),
    )


@torch.no_grad()
def _effects(
    network: VolumeClassifier,
    coarse: Float[Tensor, "patients i j k"],
    order: Float[Tensor, "patients i j k"],
    inside: Bool[Tensor, "i j k"],
) -> Float[Tensor, "2 patients"]:
    """Drop by deletion and gain by insertion of the voxels that come first, mean over shares."""
    whole = network(coarse).logit
    sign, empty = whole.sign(), network.mean_brain.expand_as(coarse)
    start = network(empty).logit
    ranked = order.masked_fill(~inside, -1.0).flatten(1).argsort(1, descending=True)
    drops, gains = [], []
    for share in SHARES:
        count = max(1, round(share * int(inside.sum())))
        first = torch.zeros_like(ranked, dtype=torch.bool).scatter(1, ranked[:, :count], value=True)
        chosen = first.reshape(coarse.shape)
        drops.append(sign * (whole - network(torch.where(chosen, empty, coarse)).logit))
        gains.append(sign * (network(torch.where(chosen, coarse, empty)).logit - start))
    return torch.stack([torch.stack(drops).mean(0), torch.stack(gains).mean(0)])


def _blocks(shape: torch.Size, draw: torch.Generator) -> Float[Tensor, "patients i j k"]:
    """An order of cubes drawn at random."""
    patients, *edges = shape
    cubes = [-(-edge // BLOCK) for edge in edges]
    drawn = torch.rand(patients, 1, *cubes, generator=draw)
    stretched = functional.interpolate(drawn, scale_factor=float(BLOCK), mode="nearest")[:, 0]
    x, y, z = edges
    return stretched[:, :x, :y, :z]


def _shuffled(network: VolumeClassifier, draw: torch.Generator) -> VolumeClassifier:
    """The same CNN with the weights of every layer in another order."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for weight in other.parameters():
            order = torch.randperm(weight.numel(), generator=draw)
            weight.copy_(weight.flatten()[order].reshape(weight.shape))
    return other.eval()
