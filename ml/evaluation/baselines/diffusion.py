"""Classifier-free guided diffusion by MONAI's schedulers; the caller says what is denoised."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from monai.networks.schedulers.ddim import DDIMScheduler
from monai.networks.schedulers.ddpm import DDPMScheduler
from torch import Tensor, nn

TRAINING_STEPS = 1000
SCHEDULE = "scaled_linear_beta"
Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Noisy sample, time step and condition to the noise in it."""


class Condition(nn.Module):
    """What a record says to the denoiser, and the learned token that stands for no record.

    Args:
        inputs: length of a record's row.
        width: length of the token.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.read = nn.Sequential(
            nn.Linear(inputs, width), nn.GELU(), nn.Dropout(0.2), nn.Linear(width, width)
        )
        self.nobody = nn.Parameter(torch.zeros(width))

    def forward(
        self, table: Float[Tensor, "patients inputs"], drop: float = 0.0
    ) -> Float[Tensor, "patients width"]:
        """Tokens of the records; a share `drop` of them becomes the token of nobody."""
        hidden = torch.rand(len(table), 1) < drop
        return torch.where(hidden, self.nobody, self.read(table))


def training_schedule() -> DDPMScheduler:
    """The forward process."""
    return DDPMScheduler(num_train_timesteps=TRAINING_STEPS, schedule=SCHEDULE, clip_sample=False)


def denoising_loss(
    schedule: DDPMScheduler,
    denoise: Denoiser,
    clean: Float[Tensor, "patients ..."],
    condition: Float[Tensor, "patients width"],
) -> Float[Tensor, ""]:
    r"""$\lVert \epsilon - \epsilon_\theta(x_t, t, c) \rVert^2$ at random times and noise."""
    noise = torch.randn_like(clean)
    times = torch.randint(TRAINING_STEPS, (len(clean),))
    noisy = schedule.add_noise(original_samples=clean, noise=noise, timesteps=times)
    return nn.functional.mse_loss(denoise(noisy, times, condition), noise)


@torch.no_grad()
def sample(
    denoise: Denoiser,
    noise: Float[Tensor, "patients ..."],
    condition: Float[Tensor, "patients width"],
    nobody: Float[Tensor, " width"],
    *,
    guidance: float,
    steps: int,
) -> Float[Tensor, "patients ..."]:
    r"""DDIM from given noise, which alone decides what is drawn (its own noise is off).

    $$\hat\epsilon = (1 + w)\,\epsilon_c - w\,\epsilon_u$$

    Paper: row 'conditional diffusion' of Table 1; the guidance is that of Ho and Salimans (2021)
    and of MDR-Dx.

    Args:
        noise: where each patient starts; the same noise gives the same sample.
        condition, nobody: tokens of `Condition`.
        guidance: w; 0 draws from the conditional model as it is, -1 from the unconditional one.
        steps: of DDIM.
    """
    schedule = DDIMScheduler(
        num_train_timesteps=TRAINING_STEPS, schedule=SCHEDULE, clip_sample=False
    )
    schedule.set_timesteps(steps)
    drawn, free = noise, nobody.expand_as(condition)
    for step in schedule.timesteps:
        times = torch.full((len(drawn),), int(step))
        found = denoise(drawn, times, condition)
        if guidance:
            found = (1 + guidance) * found - guidance * denoise(drawn, times, free)
        drawn, _ = schedule.step(found, int(step), drawn, eta=0.0)
    return drawn


def noise_of(
    rows: Int[Tensor, " patients"], shape: tuple[int, ...], seed: int
) -> Float[Tensor, "patients ..."]:
    """Noise that depends on seed and person alone, so a sample depends on nobody beside it."""
    return torch.stack(
        [
            torch.randn(shape, generator=torch.Generator().manual_seed(seed * 1_000_003 + row))
            for row in rows.tolist()
        ]
    )
