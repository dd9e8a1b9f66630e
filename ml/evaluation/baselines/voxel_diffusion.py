"""Conditional diffusion in voxel space, at 8 mm: MONAI's DiffusionModelUNet with the record."""

import torch
from jaxtyping import Float, Float16
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn
from torch.nn import functional

from ml.data.mri import Grid
from ml.evaluation.baselines.diffusion import (
    Condition,
    denoising_loss,
    sample,
    training_schedule,
)
from ml.evaluation.baselines.generators import GeneratorConfig, optimise
from ml.lattice import crop_to, depth_to_space, pad_to, padded_shape, space_to_depth

SPACING_MM = 8.0
CELL = 2
"""Edge of the cubes whose voxels become channels: an eighth of the places, a tenth of the time."""
STRIDE = 4
"""The network halves the volume once more."""


class VoxelDiffusion(nn.Module):
    """Denoises scans averaged to 8 mm, less their mean, given a record.

    Paper: row 'conditional diffusion' of Table 1. At 8 mm because fifty steps of it at 4 mm take
    eight times as long, and hours on a processor.

    Args:
        inputs: length of a record's row.
        grid: of the volumes that come in and go out.
        hidden: feature maps of the coarsest level.
    """

    mean_brain: Tensor
    spread: Tensor

    def __init__(self, inputs: int, grid: Grid, hidden: int) -> None:
        super().__init__()
        self.shape = grid.shape
        self.cube = max(1, round(SPACING_MM / grid.spacing_mm))
        x, y, z = (-(-edge // self.cube) for edge in grid.shape)
        self.coarse_shape = (x, y, z)
        self.padded = padded_shape(self.coarse_shape, STRIDE)
        self.condition = Condition(inputs, hidden)
        self.network = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=CELL**3,
            out_channels=CELL**3,
            channels=(hidden // 2, hidden),
            attention_levels=(False, True),
            num_res_blocks=1,
            num_head_channels=(0, hidden),
            norm_num_groups=max(1, hidden // 16),
            with_conditioning=True,
            cross_attention_dim=hidden,
        )
        self.register_buffer("mean_brain", torch.zeros(*self.coarse_shape))
        self.register_buffer("spread", torch.ones(()))

    def coarse(self, volumes: Float[Tensor, "patients x y z"]) -> Float[Tensor, "patients 1 i j k"]:
        """What the network learns: averages over cubes, centred, scaled, on a box it can halve."""
        averaged = functional.avg_pool3d(
            volumes.float()[:, None], self.cube, ceil_mode=True, count_include_pad=False
        )
        return pad_to((averaged - self.mean_brain) / self.spread, self.padded)

    def fine(self, coarse: Float[Tensor, "patients 1 i j k"]) -> Float[Tensor, "patients x y z"]:
        """Back to the grid that the CNN looks at."""
        volumes = crop_to(coarse, self.coarse_shape) * self.spread + self.mean_brain
        if self.cube > 1:
            stretched = [edge * self.cube for edge in self.coarse_shape]
            volumes = functional.interpolate(volumes, size=stretched, mode="trilinear")
        cropped: Tensor = crop_to(volumes, self.shape)[:, 0]
        return cropped

    def denoise(self, noisy: Tensor, times: Tensor, condition: Tensor) -> Tensor:
        """The noise in coarse volumes at a time."""
        cells = space_to_depth(noisy, CELL)
        found = self.network(cells, timesteps=times, context=condition[:, None])
        return depth_to_space(found, CELL)

    def draw(
        self,
        table: Float[Tensor, "patients inputs"],
        noise: Float[Tensor, "patients 1 i j k"],
        config: GeneratorConfig,
    ) -> Float[Tensor, "patients x y z"]:
        """One volume a patient, decided by its record and its noise."""
        coarse = sample(
            self.denoise,
            noise,
            self.condition(table),
            self.condition.nobody,
            guidance=config.guidance,
            steps=config.sampling_steps,
        )
        return self.fine(coarse)


def fit_voxel_diffusion(
    table: Float[Tensor, "patients inputs"],
    volumes: Float16[Tensor, "patients x y z"],
    grid: Grid,
    config: GeneratorConfig,
    *,
    seed: int,
) -> tuple[VoxelDiffusion, list[float]]:
    """Train the denoiser on scans.

    Returns:
        The network in evaluation mode, and the loss of each step.
    """
    torch.manual_seed(seed)
    network = VoxelDiffusion(table.shape[1], grid, config.hidden).train()
    whole = crop_to(network.coarse(volumes), network.coarse_shape)[:, 0]
    network.mean_brain.copy_(whole.mean(0))
    network.spread.copy_((whole - whole.mean(0)).std())
    clean, schedule = network.coarse(volumes), training_schedule()

    def loss_of(batch: Tensor, step: int) -> Tensor:
        del step
        condition = network.condition(table[batch], config.drop_condition)
        return denoising_loss(schedule, network.denoise, clean[batch], condition)

    losses = optimise(network.parameters(), len(table), loss_of, config)
    return network.eval(), losses
