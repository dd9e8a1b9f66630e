"""Does z carry the disease? The swap test and the reconstruction figures of an autoencoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.stats import ttest_ind
from torch import Tensor

from ml.data.mri import Grid, brain_mask, intensity_range
from ml.data.regions import ventricle_ml
from ml.losses import ssim
from ml.skip_bank import SkipBank
from ml.training.pretrain_unet import encode_with_skips
from ml.unet import UNet3D

Decode = Callable[[Tensor, Sequence[Tensor]], Tensor]
CHANCE = 0.05


class NoContrastError(ValueError):
    """The test needs people with AD and people without."""


@dataclass(frozen=True, slots=True)
class Swap:
    """Result of the swap test.

    Attributes:
        decoded_ml, true_ml: mean ventricle volume of AD minus that of CN, in ml.
        told: whether the true difference's 95 % interval (Welch) leaves out 0. If it does not, a
            ratio to it says nothing.
    """

    decoded_ml: float
    true_ml: float
    told: bool

    @property
    def ratio(self) -> float:
        """1 if z carries the whole difference between the groups, 0 if the decoder ignores z."""
        return self.decoded_ml / self.true_ml


@dataclass(frozen=True, slots=True)
class Carried:
    """Which of the decoder's inputs the difference in ventricle volume between AD and CN is in.

    Attributes:
        z: share that the true z shows with the same skips for everybody.
        skips: share that the true skips show with the z of others; what an image network could
            read of the neighbours' disease.
    """

    z: float
    skips: float


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Mean SSIM inside the brain mask, with what trivial decoders reach.

    Attributes:
        own: decoded with the scan's own skips.
        neighbour: decoded from its z with the skip bank's average, never its own.
        mean_brain: the mean of the training scans in place of any decoding.
        neighbour_only: a z of zeros with the skip bank's average: what the skips alone show.
    """

    own: float
    neighbour: float
    mean_brain: float
    neighbour_only: float


@torch.no_grad()
def swap_test(
    decode: Decode,
    z: Float[Tensor, "patients width"],
    labels: Int[Tensor, " patients"],
    fixed_skips: Sequence[Tensor],
    scans: Float[Tensor, "patients 1 x y z"],
    grid: Grid,
    batch_size: int = 8,
) -> Swap:
    """Decode everybody's z with skips that do not depend on them, and compare the ventricles.

    Without a z that carries the disease, the decoded volumes would differ between AD and CN only
    through the skips, and these are the same for all here (method.md trap 4).

    Args:
        decode: the decoder, or a stand-in for a negative control.
        labels: 1 for AD, 0 for CN.
        fixed_skips: skips of one person or an average, `(1, maps, i, j, k)` each.
        scans: the normalised scans that z was made from.

    Raises:
        NoContrastError: one of the two groups is empty.
    """
    if len(set(labels.tolist())) != 2:
        raise NoContrastError("The swap test needs scans of people with AD and of people without.")
    decoded_ml = _decoded_ml(decode, z, fixed_skips, grid, batch_size)
    true_ml = torch.cat([ventricle_ml(part[:, 0], grid) for part in torch.split(scans, batch_size)])
    return Swap(_shift(decoded_ml, labels), _shift(true_ml, labels), _told(true_ml, labels))


@torch.no_grad()
def carried_by(
    decode: Decode,
    z: Float[Tensor, "patients width"],
    skips: Sequence[Tensor],
    labels: Int[Tensor, " patients"],
    scans: Float[Tensor, "patients 1 x y z"],
    grid: Grid,
    *,
    rounds: int = 4,
    seed: int = 0,
    batch_size: int = 8,
) -> Carried:
    """Tell the disease that the decoder takes from z from what it takes from the skips.

    The first is the swap test with everybody's mean skips. For the second, everybody's own skips
    meet the z of the same few people, as many with AD as without, drawn at random: z is then the
    same in the two groups, and a difference can come from the skips alone (method.md trap 7).

    Args:
        skips: of these patients, their own or those that the skip bank gave them.
        rounds: people of each group whose z everybody gets in turn.
        seed: of the choice of these people.

    Raises:
        NoContrastError: one of the two groups is empty.
    """
    mean_skips = [level.float().mean(0, keepdim=True) for level in skips]
    of_z = swap_test(decode, z, labels, mean_skips, scans, grid, batch_size)
    draw = torch.Generator().manual_seed(seed)
    groups = [(labels == value).nonzero().squeeze(1) for value in (0, 1)]
    somebody = torch.cat(
        [each[torch.randint(len(each), (rounds,), generator=draw)] for each in groups]
    )
    volumes_ml = [
        _decoded_ml(decode, z[row].expand_as(z), skips, grid, batch_size) for row in somebody
    ]
    decoded_ml = _shift(torch.stack(volumes_ml).mean(0), labels)
    of_skips = Swap(decoded_ml, of_z.true_ml, of_z.told)
    return Carried(z=of_z.ratio, skips=of_skips.ratio)


def _decoded_ml(
    decode: Decode,
    z: Float[Tensor, "patients width"],
    skips: Sequence[Tensor],
    grid: Grid,
    batch_size: int,
) -> Float[Tensor, " patients"]:
    """Ventricle volumes decoded from z, with skips for each or one for all."""
    everybody = [level.expand(len(z), -1, -1, -1, -1) for level in skips]
    return torch.cat(
        [
            ventricle_ml(decode(z[rows], [level[rows] for level in everybody])[:, 0], grid)
            for rows in torch.split(torch.arange(len(z)), batch_size)
        ]
    )


def _shift(volume_ml: Float[Tensor, " patients"], labels: Int[Tensor, " patients"]) -> float:
    return float(volume_ml[labels == 1].mean() - volume_ml[labels == 0].mean())


def _told(volume_ml: Float[Tensor, " patients"], labels: Int[Tensor, " patients"]) -> bool:
    """Whether the two groups differ by more than chance; never from one person of a group."""
    groups = [volume_ml[labels == value].double().numpy() for value in (1, 0)]
    if min(map(len, groups)) < 2:
        return False
    return bool(ttest_ind(*groups, equal_var=False).pvalue < CHANCE)


@torch.no_grad()
def reconstruction(
    unet: UNet3D,
    bank: SkipBank,
    scans: Float[Tensor, "patients x y z"],
    persons: Sequence[str],
    batch_size: int = 8,
) -> Reconstruction:
    """SSIM of held-out scans, decoded with their own skips and with those of the skip bank."""
    mask = torch.tensor(brain_mask(unet.grid))
    sums = torch.zeros(4)
    for start in range(0, len(scans), batch_size):
        batch = scans[start : start + batch_size].float()
        z, own = encode_with_skips(unet, batch, batch_size)
        neighbours, _ = bank.aggregate(z, persons[start : start + batch_size])
        decoded = (
            unet.decoder(z, own),
            unet.decoder(z, neighbours),
            unet.encoder.mean_brain.expand(len(batch), -1, -1, -1, -1),
            unet.decoder(torch.zeros_like(z), neighbours),
        )
        for place, volumes in enumerate(decoded):
            similar = ssim(volumes, batch[:, None], mask, data_range=intensity_range(unet.grid))
            sums[place] += similar.sum()
    own_mean, neighbour, mean_brain, neighbour_only = (sums / len(scans)).tolist()
    return Reconstruction(own_mean, neighbour, mean_brain, neighbour_only)
