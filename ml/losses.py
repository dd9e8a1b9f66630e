"""Differences between volumes: SSIM inside the brain, total variation, and the paper's L_rec."""

from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ml.config import ReconstructionConfig

SSIM_WINDOW_VOXELS = 7
SSIM_K1, SSIM_K2 = 0.01, 0.03
LOSS_STRIDE = 2
"""Windows of a loss stand at every second voxel: see `ssim`."""


def ssim(
    first: Float[Tensor, "patients 1 x y z"],
    second: Float[Tensor, "patients 1 x y z"],
    mask: Bool[Tensor, "x y z"],
    *,
    data_range: float,
    stride: int = 1,
) -> Float[Tensor, " patients"]:
    r"""Structural similarity, averaged over the voxels of the brain mask.

    $$\mathrm{SSIM} = \frac{(2\mu_a\mu_b + c_1)(2\sigma_{ab} + c_2)}
                           {(\mu_a^2 + \mu_b^2 + c_1)(\sigma_a^2 + \sigma_b^2 + c_2)},
      \qquad c_i = (K_i R)^2$$

    with a uniform window of 7 voxels and the sample covariance, as scikit-image's default has it.
    The background is left out because it is alike in all scans and would flatter every method. A
    window that hangs over the edge of the volume averages the voxels that exist.

    Paper: Eq. 4 and Eq. 7 (SSIM after Wang et al. 2004). Mask and data range are ours: the paper
    says neither, and SSIM of z-scored volumes is undefined without a range.

    Args:
        first, second: volumes in the same intensity unit.
        mask: voxels that count.
        data_range: $R$, span of plausible intensities (`ml.data.mri.intensity_range`).
        stride: place a window at every so many voxels along each axis. 1 measures; 2 is for
            losses, at a quarter of the time and nearly the same gradient, since windows overlap.

    Returns:
        One value a patient, 1 for equal volumes.
    """
    pair = torch.cat((first, second, first * first, second * second, first * second), dim=1)
    mean_a, mean_b, square_a, square_b, product = _window_means(pair, stride).unbind(dim=1)
    count = SSIM_WINDOW_VOXELS**3
    sample = count / (count - 1)
    variance_a = sample * (square_a - mean_a * mean_a)
    variance_b = sample * (square_b - mean_b * mean_b)
    covariance = sample * (product - mean_a * mean_b)
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a * mean_a + mean_b * mean_b + c1) * (variance_a + variance_b + c2)
    )
    return similarity[:, mask[::stride, ::stride, ::stride]].mean(dim=1)


def _window_means(volumes: Float[Tensor, "patients maps x y z"], stride: int) -> Tensor:
    """Means of the windows, one axis after the other, each as a product with a band matrix.

    `avg_pool3d` does the same with fewer operations, but its gradient on a processor takes ten
    times as long as these products. They stay in single precision: a variance is a small
    difference of squares.
    """
    patients, maps, x, y, z = volumes.shape
    with torch.autocast(volumes.device.type, enabled=False):
        over_x, over_y, over_z = (
            _window_matrix(edge, stride).to(volumes.device) for edge in (x, y, z)
        )
        means = over_x @ volumes.float().reshape(patients * maps, x, y * z)
        means = over_y @ means.reshape(patients * maps, -1, y, z)
        means = means @ over_z.T
    return means.reshape(patients, maps, *means.shape[1:])


@lru_cache(maxsize=32)
def _window_matrix(edge: int, stride: int) -> Float[Tensor, "windows edge"]:
    """One row a window: equal weights over the voxels of the axis that it covers."""
    centre = torch.arange(0, edge, stride)[:, None]
    covered = (torch.arange(edge)[None] - centre).abs() <= SSIM_WINDOW_VOXELS // 2
    return covered / covered.sum(1, keepdim=True)


def total_variation(
    volumes: Float[Tensor, "patients maps x y z"],
) -> Float[Tensor, " patients"]:
    r"""Mean absolute difference of neighbouring voxels, summed over the three axes.

    Paper: the TV term of Eq. 7, anisotropic form (the paper does not say which).

    Example:
        >>> ramp = torch.arange(4.0).reshape(1, 1, 4, 1, 1).expand(1, 1, 4, 3, 3)
        >>> total_variation(ramp)
        tensor([1.])
    """
    total = volumes.new_zeros(volumes.shape[0])
    for axis in (2, 3, 4):
        total = total + volumes.diff(dim=axis).abs().flatten(1).mean(1)
    return total


def reconstruction_loss(
    decoded: Float[Tensor, "patients 1 x y z"],
    scan: Float[Tensor, "patients 1 x y z"],
    mask: Bool[Tensor, "x y z"],
    weights: ReconstructionConfig,
    *,
    data_range: float,
) -> Float[Tensor, ""]:
    r"""The paper's objective for a decoded volume, averaged over patients.

    $$L_{rec} = \lambda_1 \lVert \hat x - x\rVert_1 + \lambda_2 (1 - \mathrm{SSIM}) + \lambda_3
    TV(\hat x)$$

    Paper: Eq. 7. L1 and SSIM are taken inside the brain mask, TV over the whole volume.
    """
    loss = weights.l1 * (decoded - scan)[:, 0, mask].abs().mean()
    if weights.ssim:
        similarity = ssim(decoded, scan, mask, data_range=data_range, stride=LOSS_STRIDE)
        loss = loss + weights.ssim * (1 - similarity.mean())
    if weights.tv:
        loss = loss + weights.tv * total_variation(decoded).mean()
    return loss
