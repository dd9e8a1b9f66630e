"""Principal components of the training scans: where z and the decoder start."""

import torch
from jaxtyping import Float
from torch import Tensor

from ml.unet import UNet3D

SCANS_AT_ONCE = 16


@torch.no_grad()
def fit_components(unet: UNet3D, volumes: Float[Tensor, "patients x y z"]) -> float:
    r"""Set the principal components of an autoencoder from the training scans.

    With coarse features $f_i$ (means over cubes, mean brain taken off) and the eigenvectors $q_k$
    of the scans' Gram matrix, the component is $v_k = \sum_i q_{ki} f_i / \sqrt{\lambda_k}$. z is
    the score over its standard deviation, and one unit of z stands for $v_k$ times that deviation.

    Paper: none; ours. A network trained from nothing had learned less after six passes over 308
    scans (SSIM .67 of held-out scans, swap ratio .40) than 128 such components hold (.74, .91).

    Args:
        unet: with `config.principal`, its mean brain set.
        volumes: normalised scans of training people only.

    Returns:
        Share of the variance of the coarse features that the components hold, 0 to 1.
    """
    features = torch.cat(
        [
            unet.encoder.coarse_features(part.float()[:, None])
            for part in torch.split(volumes, SCANS_AT_ONCE)
        ]
    )
    values, vectors = torch.linalg.eigh((features @ features.T).double())
    width = min(unet.config.width, len(volumes) - 1)
    kept, scores = values[-width:].flip(0), vectors[:, -width:].flip(1)
    deviation = (kept / (len(volumes) - 1)).sqrt()
    direction = (scores / kept.sqrt()).T.float() @ features
    project = torch.zeros_like(unet.encoder.principal.weight)
    basis = torch.zeros_like(unet.decoder.principal.weight)
    project[:width] = direction / deviation[:, None].float()
    basis[:width] = direction * deviation[:, None].float()
    unet.set_components(project, basis)
    return float(kept.sum() / values.sum())


@torch.no_grad()
def component_scores(
    unet: UNet3D, volumes: Float[Tensor, "patients x y z"]
) -> Float[Tensor, "patients width"]:
    """z of an autoencoder of which no step was trained: it is its components, and no convolution.

    Args:
        unet: fresh from `fit_components`.
        volumes: normalised scans, of training people and others.
    """
    return torch.cat(
        [
            unet.encoder.principal.scores(unet.encoder.coarse_features(part.float()[:, None]))
            for part in torch.split(volumes, SCANS_AT_ONCE)
        ]
    )
