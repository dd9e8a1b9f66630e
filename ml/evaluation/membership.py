"""What released pseudo-MRIs say about who trained the model, and whether they are real alike.

An attacker who has a person's record and scan asks the model for the pseudo-MRI. If those of the
training people were nearer to their own scans than those of others, membership could be told.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ml.evaluation.metrics import Estimate, auc


@dataclass(frozen=True, slots=True)
class Attack:
    """How well one statistic tells training people from others.

    Attributes:
        name: what the attacker looks at.
        auc: of telling members; .5 is nothing.
    """

    name: str
    auc: Estimate


def attack(
    name: str, members: Float[Tensor, " members"], others: Float[Tensor, " others"]
) -> Attack:
    """Judge a statistic that an attacker expects to be larger for training people."""
    scores = torch.cat([members, others]).double().numpy()
    labels = np.concatenate([np.ones(len(members)), np.zeros(len(others))]).astype(np.int64)
    return Attack(name, auc(scores, labels))


def membership(
    drawn: tuple[Float[Tensor, "members width"], Float[Tensor, "others width"]],
    real: tuple[Float[Tensor, "members width"], Float[Tensor, "others width"]],
    logit: tuple[Float[Tensor, " members"], Float[Tensor, " others"]],
    label: tuple[Float[Tensor, " members"], Float[Tensor, " others"]],
) -> dict[str, Any]:
    """Two attacks, each on training people and on others.

    Args:
        drawn: surrogates as the finished model gives them out, of members and of others.
        real: latents of their scans.
        logit: of AD, as the finished model gives it out.
        label: 1 AD, 0 CN.

    Returns:
        JSON: attack to AUC with its interval.
    """
    near = [nearer_than_others(ours, own, drawn) for ours, own in zip(drawn, real, strict=True)]
    loss = [
        -torch.nn.functional.binary_cross_entropy_with_logits(said, truth, reduction="none")
        for said, truth in zip(logit, label, strict=True)
    ]
    found = [
        attack("nearness of surrogate and own scan", near[0], near[1]),
        attack("loss of the probability", loss[0], loss[1]),
    ]
    return {each.name: asdict(each.auc) for each in found}


def nearer_than_others(
    surrogate: Float[Tensor, "patients width"],
    scan: Float[Tensor, "patients width"],
    released: tuple[Float[Tensor, "members width"], Float[Tensor, "others width"]],
) -> Float[Tensor, " patients"]:
    r"""How much nearer to the own scan the own surrogate is than all that was released.

    $$\overline{\lVert s_j - z_i \rVert^2} - \lVert s_i - z_i \rVert^2$$

    Without the first term the attack would tell the length of z, which is larger for the scans
    that the components were fitted on: a mark of the encoder, which is not given out.
    """
    everybody = torch.cat(released)
    own: Tensor = (surrogate - scan).square().sum(1)
    usual: Tensor = torch.cdist(scan, everybody).square().mean(1)
    return usual - own


def nearest_donor(
    drawn: Float[Tensor, "patients voxels"], donors: Float[Tensor, "donors voxels"]
) -> dict[str, float]:
    """How near pseudo-MRIs come to a donor's scan, beside how near donors' scans are to another.

    Returns:
        Mean distance of a pseudo-MRI to the nearest donor and of a donor to the nearest other one
        (root mean square of voxels), and the share of pseudo-MRIs that are nearer to a donor than
        the nearest pair of donors are to each other: copies, if there are any.
    """
    scale = drawn.shape[1] ** 0.5
    among = torch.cdist(donors, donors).fill_diagonal_(torch.inf).amin(1) / scale
    to_donor = torch.cdist(drawn, donors).amin(1) / scale
    return {
        "to_nearest_donor": float(to_donor.mean()),
        "donors_to_nearest_other": float(among.mean()),
        "nearer_than_any_pair": float((to_donor < among.min()).double().mean()),
    }


def frechet_distance(
    first: Float[Tensor, "some width"], second: Float[Tensor, "others width"]
) -> float:
    r"""Fréchet distance of two sets of features, taken as normal distributions.

    $$d^2 = \lVert \mu_1 - \mu_2 \rVert^2
      + \mathrm{tr}\big(C_1 + C_2 - 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2}\big)$$

    The FID of 3D volumes, on the autoencoder's features instead of a photograph network's. It
    grows as people become few, so set it beside that of real scans of as many other people.
    """
    means = [each.double().mean(0).numpy() for each in (first, second)]
    spreads = [np.cov(each.double().numpy(), rowvar=False) for each in (first, second)]
    root = _root(spreads[0])
    cross = _root(root @ spreads[1] @ root)
    apart = float(((means[0] - means[1]) ** 2).sum())
    return apart + float(np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * np.trace(cross))


def _root(matrix: Float[np.ndarray, "width width"]) -> Float[np.ndarray, "width width"]:
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return root
