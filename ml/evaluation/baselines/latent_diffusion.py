"""Conditional diffusion in the autoencoder's latent (cross-modal diffusion of MDR-Dx)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ml.evaluation.baselines.diffusion import (
    Condition,
    denoising_loss,
    sample,
    training_schedule,
)
from ml.evaluation.baselines.generators import GeneratorConfig, optimise

TIME_WIDTH = 32


class LatentDiffusion(nn.Module):
    """Denoises z, given a record.

    Paper: row 'conditional diffusion' of Table 1. MONAI's DiffusionModelUNet convolves, and the
    components of z have no neighbours to convolve over, so this denoiser is a residual perceptron;
    the schedulers are MONAI's.

    Args:
        inputs: length of a record's row.
        latent: length of z.
        hidden: units of the hidden layers.
    """

    def __init__(self, inputs: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.condition = Condition(inputs, hidden)
        self.enter = nn.Linear(latent + TIME_WIDTH, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden),
                nn.Linear(hidden, hidden),
                nn.GELU(),
                nn.Linear(hidden, hidden),
            )
            for _ in range(3)
        )
        self.leave = nn.Linear(hidden, latent)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def denoise(
        self,
        noisy: Float[Tensor, "patients latent"],
        times: Int[Tensor, " patients"],
        condition: Float[Tensor, "patients hidden"],
    ) -> Float[Tensor, "patients latent"]:
        """The noise in z at a time."""
        features = self.enter(torch.cat([noisy, time_features(times)], dim=1))
        for block in self.blocks:
            features = features + block(features + condition)
        noise: Tensor = self.leave(features)
        return noise

    def draw(
        self,
        table: Float[Tensor, "patients inputs"],
        noise: Float[Tensor, "patients latent"],
        config: GeneratorConfig,
    ) -> Float[Tensor, "patients latent"]:
        """One z a patient, decided by its record and its noise."""
        return sample(
            self.denoise,
            noise,
            self.condition(table),
            self.condition.nobody,
            guidance=config.guidance,
            steps=config.sampling_steps,
        )


def time_features(times: Int[Tensor, " patients"]) -> Float[Tensor, "patients 32"]:
    """Sines and cosines of the time, from slow to fast."""
    half = TIME_WIDTH // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half) / half)
    angle = times[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def fit_latent_diffusion(
    table: Float[Tensor, "patients inputs"],
    latent: Float[Tensor, "patients latent"],
    config: GeneratorConfig,
    *,
    seed: int,
) -> tuple[LatentDiffusion, list[float]]:
    """Train on z as it is: its components have mean 0 and variance 1 over the training scans.

    Returns:
        The network in evaluation mode, and the loss of each step.
    """
    torch.manual_seed(seed)
    network = LatentDiffusion(table.shape[1], latent.shape[1], config.hidden).train()
    schedule = training_schedule()

    def loss_of(batch: Tensor, step: int) -> Tensor:
        del step
        condition = network.condition(table[batch], config.drop_condition)
        return denoising_loss(schedule, network.denoise, latent[batch], condition)

    losses = optimise(network.parameters(), len(table), loss_of, config)
    return network.eval(), losses
