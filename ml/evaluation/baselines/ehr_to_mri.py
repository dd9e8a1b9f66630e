"""EHR -> MRI: a convolutional decoder that draws a volume straight from the record."""

from itertools import pairwise

import torch
from jaxtyping import Float, Float16
from torch import Tensor, nn
from torch.nn import functional

from ml.data.mri import Grid, brain_mask, intensity_range
from ml.evaluation.baselines.generators import GeneratorConfig, optimise
from ml.lattice import coarser, crop_to, depth_to_space, padded_shape, voxels_of
from ml.losses import LOSS_STRIDE, ssim

STRIDE = 8
"""Voxels of an edge that one place of the coarsest map covers."""
CELL = 2
"""Edge of the cubes whose voxels the last level draws as channels, at a quarter of the time."""
SSIM_WEIGHT = 0.5


class EhrToMri(nn.Module):
    r"""$\hat x = \bar x + G(r)$: the mean brain, and a correction that the record r asks for.

    Paper: row 'EHR -> MRI' of Table 1; its network is not described. Ours starts at the mean brain
    of the training scans.

    Args:
        inputs: length of a record's row.
        grid: of the volumes.
        maps: feature maps of the coarsest level; each finer one has half.

    Shape:
        forward: `(patients, inputs) -> (patients, 1, x, y, z)`
    """

    mean_brain: Tensor

    def __init__(self, inputs: int, grid: Grid, maps: int) -> None:
        super().__init__()
        self.shape = grid.shape
        self.coarsest = coarser(padded_shape(grid.shape, STRIDE), STRIDE)
        self.maps = maps
        self.read = nn.Sequential(nn.Linear(inputs, 64), nn.GELU(), nn.Dropout(0.2))
        self.spread = nn.Linear(64, maps * voxels_of(self.coarsest))
        widths = [maps, maps // 2, maps // 4]
        self.levels = nn.ModuleList(
            nn.Conv3d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        self.to_voxels = nn.Conv3d(widths[-1], CELL**3, 3, padding=1, bias=False)
        nn.init.zeros_(self.to_voxels.weight)
        self.register_buffer("mean_brain", torch.zeros(*grid.shape))

    def forward(self, table: Float[Tensor, "patients inputs"]) -> Float[Tensor, "patients 1 x y z"]:
        features = self.spread(self.read(table)).unflatten(1, (self.maps, *self.coarsest))
        for level in self.levels:
            features = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = functional.leaky_relu(level(features), 0.1)
        correction = depth_to_space(self.to_voxels(features), CELL)
        drawn: Tensor = crop_to(correction, self.shape) + self.mean_brain
        return drawn


def fit_ehr_to_mri(
    table: Float[Tensor, "patients inputs"],
    volumes: Float16[Tensor, "patients x y z"],
    grid: Grid,
    config: GeneratorConfig,
    *,
    seed: int,
) -> tuple[EhrToMri, list[float]]:
    r"""Train by $\lVert x - \hat x \rVert_1 + \lambda (1 - \mathrm{SSIM})$.

    Returns:
        The network in evaluation mode, and the loss of each step.
    """
    torch.manual_seed(seed)
    network = EhrToMri(table.shape[1], grid, config.hidden).train()
    network.mean_brain.copy_(volumes.float().mean(0))
    mask, span = torch.tensor(brain_mask(grid)), intensity_range(grid)

    def loss_of(batch: Tensor, step: int) -> Tensor:
        del step
        scans, drawn = volumes[batch].float()[:, None], network(table[batch])
        similar = ssim(drawn, scans, mask, data_range=span, stride=LOSS_STRIDE).mean()
        return functional.l1_loss(drawn, scans) + SSIM_WEIGHT * (1 - similar)

    losses = optimise(network.parameters(), len(table), loss_of, config)
    return network.eval(), losses
