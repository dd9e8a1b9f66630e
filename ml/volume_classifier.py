"""The paper's downstream network: a 3D CNN that reads the diagnosis off a volume."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ml.config import ClassifierConfig
from ml.data.mri import grid

MAPS_OF_INPUT = 2
"""A scan without the mean brain, and the scan itself: change, and which tissue it happened in."""
PLACES_GAIN = 50.0
"""Places are learned this much faster than other weights, because a region is a small part of the
head: after 8 passes over 613 scans the held-out AUC was .78 without, .83 with 20 and more."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the CNN says of some volumes.

    Attributes:
        logit: of AD.
        regions: regional volumes, in standard deviations of the training people.
    """

    logit: Float[Tensor, " patients"]
    regions: Float[Tensor, "patients regions"]


class VolumeClassifier(nn.Module):
    """3D CNN trained on real MRIs and applied to pseudo-MRIs.

    Strided convolutions, then each feature map is averaged with a learned map of places: heads are
    registered, so where something lies is known. Features are never normalised by the volume they
    come from, which would erase how strong a change is: a volume is set against the mean brain of
    the training scans, and averages against their mean and deviation (batch norm, whose statistics
    stand still outside training). Regional volumes are learned beside the diagnosis, which is read
    off both.

    Paper: the downstream classifier of its evaluation, whose form is not given.

    Args:
        config: sizes.
        spacing_mm: voxel edge of the volumes that come in.
        regions: how many regional volumes are learned beside the diagnosis.

    Shape:
        forward: `(patients, i, j, k) -> Sight`, with volumes that `coarse` has averaged
    """

    mean_brain: Tensor

    def __init__(self, config: ClassifierConfig, spacing_mm: float, regions: int) -> None:
        super().__init__()
        self.cube = max(1, round(config.spacing_mm / spacing_mm))
        shape = tuple(-(-edge // self.cube) for edge in grid(spacing_mm).shape)
        self.register_buffer("mean_brain", torch.zeros(*shape))
        self.levels = nn.ModuleList()
        self.places = nn.ParameterList()
        before = MAPS_OF_INPUT
        for maps in config.channels:
            self.levels.append(nn.Conv3d(before, maps, 3, stride=2, padding=1))
            shape = tuple(-(-edge // 2) for edge in shape)
            self.places.append(nn.Parameter(torch.zeros(maps, *shape)))
            before = maps
        self.normalise = nn.BatchNorm1d(sum(config.channels), affine=False)
        self.to_regions = nn.Linear(sum(config.channels), regions)
        self.to_logit = nn.Linear(sum(config.channels) + regions, 1)

    def coarse(self, volumes: Float[Tensor, "patients x y z"]) -> Float[Tensor, "patients i j k"]:
        """Averages over cubes: what the network looks at."""
        if self.cube == 1:
            return volumes.float()
        averaged = functional.avg_pool3d(
            volumes.float()[:, None], self.cube, ceil_mode=True, count_include_pad=False
        )
        return averaged[:, 0]

    def forward(self, coarse: Float[Tensor, "patients i j k"]) -> Sight:
        features = torch.stack([coarse - self.mean_brain, coarse], dim=1)
        averages = []
        for level, places in zip(self.levels, self.places, strict=True):
            features = functional.leaky_relu(level(features), 0.1)
            weights = (1 + PLACES_GAIN * places) / places[0].numel()
            averages.append((features * weights).flatten(2).sum(2))
        found = self.normalise(torch.cat(averages, dim=1))
        regions = self.to_regions(found)
        logit = self.to_logit(torch.cat([found, regions], dim=1)).squeeze(1)
        return Sight(logit, regions)
