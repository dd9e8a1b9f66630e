"""Phase 1: train the autoencoder on the scans, then freeze its decoder for good.

The difficulty is not to reconstruct but to make z carry what differs between patients (method.md
trap 4). Three things see to that: z alone moves the atlas, skips exist at coarse levels only, and
in most steps a scan is decoded with the skips of others, so that whatever is particular to it must
come through z. In some steps z is only guessed, because that is what the decoder gets in use.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ml.config import PretrainConfig, UNetConfig
from ml.data.mri import brain_mask, intensity_range
from ml.losses import LOSS_STRIDE, ssim
from ml.skip_bank import mix_skips, neighbour_weights
from ml.training.components import fit_components
from ml.training.course import Course, Part
from ml.training.examples import Examples
from ml.training.ranks import Ranks
from ml.unet import Skips, UNet3D

Volumes = Float[Tensor, "patients x y z"]
MIN_PATIENTS = 8
FITTED_ONCE = (
    "unet.encoder.mean_brain",
    "unet.encoder.principal.weight",
    "unet.decoder.principal.weight",
)
"""Most of the autoencoder's bytes, and computed again before its steps go on."""


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
    part: Part | None = None,
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
        part: of the course of a training: who is told, where its steps are saved, on which device
            and with how many other processes it is trained.

    Returns:
        The autoencoder on the CPU and in evaluation mode, decoder frozen, z's statistics taken over
        all scans.

    Raises:
        TooFewScansError: fewer than 8 scans.
        NotFiniteLossError, StoppedError: see `ml.training.course.Loop.done`.
    """
    part = part or Course().part(name="autoencoder")
    course = part.course
    volumes = volumes[: config.max_scans]
    held_out = volumes[len(volumes) - config.held_out :] if config.patience else volumes[:0]
    volumes = volumes[: len(volumes) - len(held_out)]
    patients = volumes.shape[0]
    if patients < MIN_PATIENTS:
        raise TooFewScansError(
            f"{patients} scans cannot train an autoencoder; it needs at least {MIN_PATIENTS}."
        )
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    unet = fresh_unet(unet_config).train()
    unet.set_mean_brain(_mean(volumes))
    held = fit_components(unet, volumes) if unet_config.principal else 0.0
    unet.to(course.device)
    batches = max(1, patients // config.batch_size)
    steps = config.epochs * batches
    optimiser = torch.optim.AdamW(
        unet.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    warm_up = 0.3 if steps == 5 else 0.2  # a first phase of exactly one step divides by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=max(1, steps), pct_start=warm_up
    )
    loop = part.loop(steps, {"unet": unet}, optimiser, schedule, order, FITTED_ONCE)
    mask = torch.tensor(brain_mask(unet.grid)).to(course.device)
    scans_of = _Scans(volumes, course.device)
    examples = Examples(course, unet, volumes)
    notes = loop.notes or {"rows": [], "epoch": [], "losses": [], "waited": 0}
    loop.notes = notes
    for step in loop.steps():
        if config.patience and notes["waited"] >= config.patience:
            break
        place = step % batches
        if place == 0:
            notes["rows"], notes["epoch"] = torch.randperm(patients, generator=order).tolist(), []
        batch = notes["rows"][place * config.batch_size : (place + 1) * config.batch_size]
        optimiser.zero_grad(set_to_none=True)
        loss = learn_batch(unet, scans_of, batch, step / steps, mask, config, order, course.ranks)
        course.ranks.add_gradients(unet.parameters())
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        notes["epoch"].append(loss)
        if place == batches - 1:
            notes["losses"].append(sum(notes["epoch"]) / batches)
            _judge(unet, held_out, mask, config, notes, course)
        loop.done(step, {"loss": loss}, batch)
        examples.look(step + 1)
    unet.cpu()
    if not unet_config.principal:
        _measure_z(unet, volumes, config.batch_size)
    unet.decoder.freeze()
    losses = tuple(notes["losses"])
    return unet.eval(), PretrainReport(
        steps=len(losses) * batches, losses=losses, components_share=held
    )


def fresh_unet(config: UNetConfig) -> UNet3D:
    """An autoencoder whose convolutions lie in memory as channels last: a third faster on CPUs."""
    unet = UNet3D(config)
    for weight in unet.parameters():
        if weight.dim() == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
    return unet


class _Scans:
    """Batches of scans on a device: all of them lie there if they fit in half of its memory."""

    def __init__(self, volumes: Volumes, device: torch.device) -> None:
        self.device = device
        self.volumes = volumes
        if device.type == "cuda":
            size = volumes.numel() * volumes.element_size()
            fits = size < torch.cuda.mem_get_info(device)[0] / 2
            self.volumes = volumes.to(device) if fits else volumes

    def __call__(self, rows: Tensor) -> Float[Tensor, "patients 1 x y z"]:
        batch = self.volumes[rows.to(self.volumes.device)]
        if batch.device != self.device:
            batch = batch.pin_memory().to(self.device, non_blocking=True)
        return batch.float()[:, None]


def learn_batch(
    unet: UNet3D,
    scans_of: _Scans,
    batch: list[int],
    share_done: float,
    mask: Bool[Tensor, "x y z"],
    config: PretrainConfig,
    order: torch.Generator,
    ranks: Ranks,
) -> float:
    """Gradients of one batch, in as many pieces as `config.accumulate`, and the mean loss.

    Each piece's loss counts by its share of the batch. Of several processes, each decodes its share
    of a piece; donors and mean skips are those of the whole piece.
    """
    device, loss = scans_of.device, torch.zeros(())
    half = config.bfloat16 or device.type == "cuda"
    for piece in torch.tensor(batch).tensor_split(config.accumulate):
        own = ranks.share(piece)
        scans = scans_of(own)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            z, levels = unet.encoder(scans)
            if config.guess_share and torch.rand((), generator=order) < config.guess_share:
                z, skips = _guessed(z, levels, config, order, ranks, len(piece))
            else:
                skips = _training_skips(z, levels, share_done, config, order, ranks, len(piece))
            part = _loss(unet, scans, z, skips, mask, config) * (len(own) / len(batch))
        torch.autograd.backward(part)
        loss = loss + part.detach().float().cpu()
    return ranks.total(loss).item()


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
    ranks: Ranks,
    whole: int,
) -> Skips:
    """The batch's mean skips at first; later those of in-batch donors in most steps, else own."""
    if share_done < config.mean_skip_share:
        means = [ranks.gathered(level).mean(0, keepdim=True) for level in own]
        return tuple(mean.expand_as(level) for mean, level in zip(means, own, strict=True))
    if torch.rand((), generator=order) >= config.neighbour_skip_share:
        return own
    return _skips_of_donors(z.detach(), z.detach(), own, config, ranks, whole)


def _guessed(
    z: Float[Tensor, "patients width"],
    own: Skips,
    config: PretrainConfig,
    order: torch.Generator,
    ranks: Ranks,
    whole: int,
) -> tuple[Float[Tensor, "patients width"], Skips]:
    """A guess of each z, from which no gradient reaches z, and the skips of donors near it."""
    place, latent = ranks.places(len(z), whole), z.detach().float()
    certainty = torch.rand(whole, 1, generator=order)[place].to(z.device)
    noise = torch.randn(whole, z.shape[1], generator=order)[place].to(z.device)
    guess = guess_of(latent, certainty, noise)
    return guess, _skips_of_donors(guess, latent, own, config, ranks, whole)


def guess_of(
    z: Float[Tensor, "patients width"],
    certainty: Float[Tensor, "patients 1"],
    noise: Float[Tensor, "patients width"],
) -> Float[Tensor, "patients width"]:
    r"""The best guess of z for somebody who sees it through noise.

    $$y = \rho z + \sqrt{1 - \rho^2}\,\epsilon, \qquad z' = E[z \mid y] = \rho y$$

    for z of mean 0 and variance 1. A decoder that is to draw the scan from z' learns the mean of
    all scans that may stand behind it, as a surrogate is a guess, too: where nothing is known, the
    mean brain. Paper: none; ours (ADR on guesses).

    Args:
        z: latents.
        certainty: rho, 0 (nothing is known) to 1.
        noise: epsilon, standard normal.
    """
    return certainty * (certainty * z + (1 - certainty.square()).sqrt() * noise)


def _skips_of_donors(
    wanted: Float[Tensor, "patients width"],
    z: Float[Tensor, "patients width"],
    own: Skips,
    config: PretrainConfig,
    ranks: Ranks,
    whole: int,
) -> Skips:
    """For each wanted latent the skips of the nearest others in the batch."""
    others = ~torch.eye(whole, dtype=torch.bool, device=z.device)[ranks.places(len(z), whole)]
    weights = neighbour_weights(
        wanted, ranks.gathered(z), others, k=min(config.neighbours, whole - 1), cap=1.0
    )
    return tuple(mix_skips(weights, ranks.gathered(level)) for level in own)


@torch.no_grad()
def _judge(
    unet: UNet3D,
    held_out: Volumes,
    mask: Bool[Tensor, "x y z"],
    config: PretrainConfig,
    notes: dict[str, Any],
    course: Course,
) -> None:
    """Count the epochs since the loss of the scans that were kept out has fallen."""
    if not len(held_out):
        return
    unet.eval()
    scans = held_out.to(course.device).float()[:, None]
    z, own = unet.encoder(scans)
    skips = tuple(level.mean(0, keepdim=True).expand_as(level) for level in own)
    loss = float(_loss(unet, scans, z, skips, mask, config))
    unet.train()
    course.tell("metric", values={"loss of scans kept out of the autoencoder": loss})
    notes["waited"] = 0 if loss < notes.get("least", math.inf) else notes["waited"] + 1
    notes["least"] = min(loss, notes.get("least", loss))


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
    """Latents of normalised scans, in evaluation mode; on the CPU, wherever the network is."""
    unet.eval()
    device = unet.encoder.mean_brain.device
    return torch.cat(
        [
            unet.encoder(batch.to(device).float()[:, None])[0].cpu()
            for batch in torch.split(volumes, batch_size)
        ]
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
