"""Phase 1: train the autoencoder on the scans, then freeze its decoder for good.

The difficulty is not to reconstruct but to make z carry what differs between patients (method.md
trap 4). Three things see to that: z alone moves the atlas, skips exist at coarse levels only, and
in most steps a scan is decoded with the skips of others, so that whatever is particular to it must
come through z.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ml.config import PretrainConfig, UNetConfig
from ml.data.mri import brain_mask, intensity_range
from ml.losses import LOSS_STRIDE, ssim
from ml.skip_bank import mix_skips, neighbour_weights
from ml.training.components import fit_components
from ml.unet import Skips, UNet3D

Volumes = Float[Tensor, "patients x y z"]
Progress = Callable[[int, int, float], None]
MIN_PATIENTS = 8


class TooFewScansError(ValueError):
    """Too few scans to estimate a mean brain and the statistics of z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainReport:
    """What happened, for the card.

    Attributes:
        steps: optimiser steps.
        losses: mean loss of each epoch.
        components_share: share of the coarse variance that the principal components hold, 0 to 1.
    """

    steps: int
    losses: tuple[float, ...]
    components_share: float


def pretrain_unet(
    volumes: Volumes,
    unet_config: UNetConfig,
    config: PretrainConfig,
    *,
    seed: int,
    progress: Progress | None = None,
) -> tuple[UNet3D, PretrainReport]:
    r"""Train E and D on normalised scans (`Cohort.normalised_volumes`, any float type).

    $$L_{AE} = \lVert x - D(z, \tilde s)\rVert^2 + \lambda\,(1 - \mathrm{SSIM}) + \mu \lVert\nabla
    u\rVert^2$$

    where the skips are the batch's mean, in-batch donors' or the scan's own.

    Paper: Eq. 2, which is the first term with the scan's own skips. The rest is ours: ADR on the
    autoencoder.

    Args:
        volumes: scans of training patients only.
        seed: of weights, order of scans and choice of skips. The same seed gives the same weights
            on the same machine and number of threads.
        progress: called after each step with steps done, steps in all and the loss.

    Returns:
        The autoencoder in evaluation mode, decoder frozen, z's statistics taken over all scans.

    Raises:
        TooFewScansError: fewer than 8 scans.
    """
    volumes = volumes[: config.max_scans]
    patients = volumes.shape[0]
    if patients < MIN_PATIENTS:
        raise TooFewScansError(
            f"{patients} scans cannot train an autoencoder; it needs at least {MIN_PATIENTS}."
        )
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    unet = UNet3D(unet_config).train()
    for weight in unet.parameters():  # this layout of the convolutions is a third faster on CPUs
        if weight.dim() == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
    unet.set_mean_brain(_mean(volumes))
    held = fit_components(unet, volumes) if unet_config.principal else 0.0
    mask = torch.tensor(brain_mask(unet.grid))
    batches = max(1, patients // config.batch_size)
    steps = config.epochs * batches
    optimiser = torch.optim.AdamW(
        unet.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=max(1, steps), pct_start=0.2
    )
    losses, done = [], 0
    for _ in range(config.epochs):
        total = 0.0
        rows = torch.randperm(patients, generator=order)
        for batch in torch.split(rows[: batches * config.batch_size], config.batch_size):
            scans = volumes[batch].float()[:, None]
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
                z, own = unet.encoder(scans)
                skips = _training_skips(z, own, done / steps, config, order)
                loss = _loss(unet, scans, z, skips, mask, config)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            done += 1
            total += loss.item()
            if progress is not None:
                progress(done, steps, loss.item())
        losses.append(total / batches)
    if not unet_config.principal:
        _measure_z(unet, volumes, config.batch_size)
    unet.decoder.freeze()
    return unet.eval(), PretrainReport(steps=done, losses=tuple(losses), components_share=held)


def _loss(
    unet: UNet3D,
    scans: Float[Tensor, "patients 1 x y z"],
    z: Float[Tensor, "patients width"],
    skips: Skips,
    mask: Bool[Tensor, "x y z"],
    config: PretrainConfig,
) -> Float[Tensor, ""]:
    decoded = unet.decoder(z, skips)
    loss = functional.mse_loss(decoded, scans)
    if config.ssim_weight:
        similarity = ssim(
            decoded, scans, mask, data_range=intensity_range(unet.grid), stride=LOSS_STRIDE
        )
        loss = loss + config.ssim_weight * (1 - similarity.mean())
    if unet.decoder.displacement is not None and config.warp_smoothness:
        loss = loss + config.warp_smoothness * unet.decoder.displacement.roughness(z)
    return loss


def _training_skips(
    z: Float[Tensor, "patients width"],
    own: Skips,
    share_done: float,
    config: PretrainConfig,
    order: torch.Generator,
) -> Skips:
    """The batch's mean skips at first; later those of in-batch donors in most steps, else own."""
    patients = z.shape[0]
    if share_done < config.mean_skip_share:
        return tuple(level.mean(0, keepdim=True).expand_as(level) for level in own)
    if torch.rand((), generator=order) >= config.neighbour_skip_share:
        return own
    others = ~torch.eye(patients, dtype=torch.bool)
    weights = neighbour_weights(
        z.detach(), z.detach(), others, k=min(config.neighbours, patients - 1), cap=1.0
    )
    return tuple(mix_skips(weights, level) for level in own)


def _mean(volumes: Volumes) -> Float[Tensor, "x y z"]:
    """Their mean in single precision, without a copy of them all in it."""
    total = torch.zeros(volumes.shape[1:])
    for part in torch.split(volumes, 64):
        total += part.float().sum(0)
    return total / len(volumes)


@torch.no_grad()
def _measure_z(unet: UNet3D, volumes: Volumes, batch_size: int) -> None:
    """Replace z's running mean and variance by those of all training scans, exactly."""
    norm = unet.encoder.normalise
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    mean.zero_()
    variance.fill_(1 - norm.eps)  # normalising now changes nothing: `encode` gives raw z
    raw = encode(unet, volumes, batch_size)
    mean.copy_(raw.mean(0))
    variance.copy_(raw.var(0))


@torch.no_grad()
def encode(unet: UNet3D, volumes: Volumes, batch_size: int = 8) -> Float[Tensor, "patients width"]:
    """Latents of normalised scans, in evaluation mode."""
    unet.eval()
    return torch.cat(
        [unet.encoder(batch.float()[:, None])[0] for batch in torch.split(volumes, batch_size)]
    )


@torch.no_grad()
def encode_with_skips(
    unet: UNet3D, volumes: Volumes, batch_size: int = 8
) -> tuple[Float[Tensor, "patients width"], Skips]:
    """Latents and skips of normalised scans; for donors, because skips are large."""
    unet.eval()
    parts = [unet.encoder(batch.float()[:, None]) for batch in torch.split(volumes, batch_size)]
    levels = zip(*(skips for _, skips in parts), strict=True)
    return torch.cat([z for z, _ in parts]), tuple(torch.cat(level) for level in levels)
