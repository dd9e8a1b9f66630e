"""Regional volumes read off a scan by an atlas: no training, no label, the same for every scan.

What a radiologist looks at first in dementia, as far as CSF shows it: lateral ventricles, temporal
horns beside the hippocampi, the sulci of each lobe, and all tissue.
"""

from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import ndimage
from torch import Tensor

from ml.data.mri import Grid, brain_mask
from ml.data.phantom_anatomy import CSF_INTENSITY, GREY_INTENSITY, REGIONS, anatomy

REGION_NAMES = (
    "left_ventricle_csf",
    "right_ventricle_csf",
    "left_temporal_horn_csf",
    "right_temporal_horn_csf",
    "frontal_csf",
    "parietal_csf",
    "temporal_csf",
    "occipital_csf",
    "tissue",
)
NEAR_VENTRICLES_MM, NEAR_HORN_MM, NEAR_CORTEX_MM = 10.0, 8.0, 4.0


def regional_volumes_ml(
    volumes: Float[Tensor, "patients x y z"], grid: Grid, batch_size: int = 16
) -> Float[Tensor, "patients regions"]:
    """The volume in ml of each of `REGION_NAMES` in normalised scans.

    Each voxel counts by where its normalised intensity lies between CSF (1) and grey matter (0),
    so a half-filled voxel counts half. A region is a zone of the template wide enough for brains
    of other shapes, so it also sees a little of its neighbours, alike in all people.
    Paper: none; ours. What the teacher reads beside the latent.
    """
    zones, csf, grey = _zones(grid)
    parts = []
    for batch in torch.split(volumes, batch_size):
        share = ((grey - batch.float()) / (grey - csf)).clamp(0, 1)
        read = [share[:, zone].sum(1) for zone in zones[:-1]]
        parts.append(torch.stack([*read, (1 - share)[:, zones[-1]].sum(1)], dim=1))
    return torch.cat(parts) * grid.voxel_ml


def ventricle_ml(
    volumes: Float[Tensor, "patients x y z"], grid: Grid
) -> Float[Tensor, " patients"]:
    """CSF within 10 mm of the template's lateral ventricles, in ml; scans and decoded alike."""
    return regional_volumes_ml(volumes, grid)[:, :2].sum(1)


@lru_cache(maxsize=4)
def _zones(grid: Grid) -> tuple[list[Bool[Tensor, "x y z"]], float, float]:
    """Where to look for each region, and the normalised intensities of CSF and grey matter."""
    brain, mask = anatomy(grid), brain_mask(grid)
    region = {name: share > 0.3 for name, share in zip(REGIONS, brain.regions, strict=True)}
    x, y, z = grid.coordinates_mm()
    left, right = x < 0, x >= 0

    def around(name: str, margin_mm: float) -> Bool[ndarray, "x y z"]:
        voxels = max(1, round(margin_mm / grid.spacing_mm))
        near: Bool[ndarray, "x y z"] = (
            ndimage.binary_dilation(region[name], iterations=voxels) & mask
        )
        return near

    ventricles = around("ventricles", NEAR_VENTRICLES_MM)
    horn = around("hippocampus", NEAR_HORN_MM)
    cortex = around("cortex", NEAR_CORTEX_MM)
    between = (y <= 10) & (y >= -60)
    zones = [
        *(ventricles & side for side in (left, right)),
        *(horn & side for side in (left, right)),
        cortex & (y > 10),
        cortex & between & (z >= 5),
        cortex & between & (z < 5),
        cortex & (y < -60),
        mask,
    ]
    inside = brain.t1[mask]
    csf, grey = (
        (tissue - float(inside.mean())) / float(inside.std())
        for tissue in (CSF_INTENSITY, GREY_INTENSITY)
    )
    return [torch.tensor(zone) for zone in zones], csf, grey
