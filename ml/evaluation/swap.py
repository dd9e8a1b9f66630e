"""Does z carry the disease? The swap test and the reconstruction figures of an autoencoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ml.data.mri import Grid, brain_mask, intensity_range
from ml.data.regions import ventricle_ml
from ml.losses import ssim
from ml.skip_bank import SkipBank
from ml.training.pretrain_unet import encode_with_skips
from ml.unet import UNet3D

Decode = Callable[[Tensor, Sequence[Tensor]], Tensor]


class NoContrastError(ValueError):
    """The test needs people with AD and people without."""


@dataclass(frozen=True, slots=True)
class Swap:
    """Result of the swap test.

    Attributes:
        decoded_ml, true_ml: mean ventricle volume of AD minus that of CN, in ml.
    """

    decoded_ml: float
    true_ml: float

    @property
    def ratio(self) -> float:
        """1 if z carries the whole difference between the groups, 0 if the decoder ignores z."""
        return self.decoded_ml / self.true_ml


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
    decoded_ml = torch.cat(
        [
            ventricle_ml(
                decode(part, [skip.expand(len(part), -1, -1, -1, -1) for skip in fixed_skips])[
                    :, 0
                ],
                grid,
            )
            for part in torch.split(z, batch_size)
        ]
    )
    true_ml = torch.cat([ventricle_ml(part[:, 0], grid) for part in torch.split(scans, batch_size)])
    return Swap(_shift(decoded_ml, labels), _shift(true_ml, labels))


def _shift(volume_ml: Float[Tensor, " patients"], labels: Int[Tensor, " patients"]) -> float:
    return float(volume_ml[labels == 1].mean() - volume_ml[labels == 0].mean())


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
