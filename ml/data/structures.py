"""Volumes of five structures on the model's grid: of real scans and of pseudo-MRIs alike.

Paper: none; ours. `ml.data.regions` reads what the teacher leans on; this is what a person reads.
A structure is looked for in a zone of the template that is wide enough for heads of other shapes,
and what the zone holds of its tissue is turned into millilitres by a straight line. The lines were
fitted on twenty labelled heads on the 2 mm grid (labels after FreeSurfer, intensities made from
them); `CALIBRATION` states the error for a head that the line had not seen.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from nilearn import datasets
from numpy import ndarray
from scipy import ndimage
from torch import Tensor

from ml.data.mri import Grid, at_grid, brain_mask
from ml.data.phantom_anatomy import REGIONS, anatomy

STRUCTURES = ("hippocampus", "amygdala", "lateral ventricles", "cortex", "brain")
TISSUE = {
    "hippocampus": "grey",
    "amygdala": "grey",
    "lateral ventricles": "csf",
    "cortex": "grey",
    "brain": "tissue",
}
NEAR_MM = {"hippocampus": 2.0, "amygdala": 2.0, "lateral ventricles": 14.0, "cortex": 2.0}
# Slope, intercept in ml, and mean absolute error in ml for a head left out. Both sides together.
CALIBRATION = {
    "hippocampus": (1.517, -5.04, 1.06),
    "amygdala": (1.315, -2.86, 0.45),
    "lateral ventricles": (1.000, -15.86, 6.57),
    "cortex": (1.287, -49.21, 13.28),
    "brain": (1.414, -541.11, 23.95),
}
LEAST_ML = 0.05
"""A straight line may pass below 0, a volume not."""
# Centre and half axes in mm of the amygdala on the right, of twenty labelled heads.
_AMYGDALA = ((24.9, -3.3, -21.5), (9.0, 6.5, 10.0))
_SAMPLE, _ROUNDS = 12_000, 12  # voxels and rounds of the fit of tissue levels
_PRIOR_BLUR_MM, _RAREST = 3.0, 0.03
_DARKEST = 0.1  # what is darker than this, of the way from air to white matter, is air
_NARROWEST, _APART = 0.05, 0.05


def structure_volumes_ml(
    volumes: Float[Tensor, "people x y z"], grid: Grid
) -> Float[Tensor, "people structures"]:
    """The volume in ml of each of `STRUCTURES` in normalised volumes, on the template's head.

    Divide by `head_ml` for the share of the head; multiply that by a person's own head, or divide
    by `Preprocessed.head_scale`, for the person's own millilitres.

    Each voxel's share of CSF, grey and white matter follows from where its intensity lies between
    the levels of the three in that volume.
    """
    slope, intercept = (
        torch.tensor([CALIBRATION[name][column] for name in STRUCTURES]) for column in (0, 1)
    )
    found = torch.stack([_reads_ml(volume.float().numpy(), grid) for volume in volumes])
    return (slope * found + intercept).clamp(min=LEAST_ML)


def head_ml(grid: Grid) -> float:
    """Volume of the template's brain mask: the head that every registered scan is scaled to."""
    return float(brain_mask(grid).sum()) * grid.voxel_ml


def _reads_ml(volume: Float32[ndarray, "x y z"], grid: Grid) -> Float[Tensor, " structures"]:
    """How many ml of its tissue each structure's zone holds."""
    csf, grey, white = tissue_levels(volume, grid)
    inside = volume[brain_mask(grid)]
    dark = np.clip((grey - inside) / (grey - csf), 0, 1)
    bright = np.clip((inside - grey) / (white - grey), 0, 1)
    shares = {"csf": dark, "grey": 1 - dark - bright, "tissue": 1 - dark}
    zones = _zones(grid)
    found = [float(shares[TISSUE[name]][zones[name]].sum()) for name in STRUCTURES]
    return torch.tensor(found) * grid.voxel_ml


def tissue_levels(volume: Float32[ndarray, "x y z"], grid: Grid) -> tuple[float, float, float]:
    """Intensities of CSF, grey and white matter: means of three Gaussians, fitted by EM.

    What a voxel may be is weighed by how often it is that in the template, blurred for heads of
    other shapes: the histogram alone mistakes an edge of the mask for a tissue.
    """
    where, prior = _priors(grid)
    inside = volume.reshape(-1)[where].astype(np.float64)
    air, white = float(volume.min()), float(np.percentile(inside, 85))
    seen = inside > air + _DARKEST * (white - air)
    inside, prior = inside[seen], prior[:, seen]
    share = prior
    for _ in range(_ROUNDS):
        total = np.maximum(share.sum(1), 1e-9)
        mean = (share * inside).sum(1) / total
        spread = np.sqrt((share * (inside - mean[:, None]) ** 2).sum(1) / total) + _NARROWEST
        density = prior * np.exp(-0.5 * ((inside - mean[:, None]) / spread[:, None]) ** 2)
        density = density / spread[:, None] + 1e-12
        share = density / density.sum(0)
    csf, grey, white = (float(each) for each in mean)
    return min(csf, grey - _APART), grey, max(white, grey + _APART)


@lru_cache(maxsize=4)
def _priors(grid: Grid) -> tuple[Int[ndarray, " voxels"], Float[ndarray, "3 voxels"]]:
    """Some voxels of the brain, and how often each is CSF, grey and white matter."""
    mask = brain_mask(grid)
    grey, white = (
        at_grid(load(resolution=1), grid)
        for load in (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    )
    shares = np.stack([np.clip(mask - grey - white, 0, 1), grey, white]).astype(np.float64)
    blur = _PRIOR_BLUR_MM / grid.spacing_mm
    blurred = np.stack([ndimage.gaussian_filter(share, blur) for share in shares]) + _RAREST
    where = np.flatnonzero(mask)
    where = where[:: max(1, len(where) // _SAMPLE)]
    chosen = blurred.reshape(3, -1)[:, where]
    return where, chosen / chosen.sum(0)


@lru_cache(maxsize=4)
def _zones(grid: Grid) -> dict[str, Bool[ndarray, " voxels"]]:
    """Where each structure is looked for, among the voxels of the brain mask."""
    mask = brain_mask(grid)
    share = dict(zip(REGIONS, anatomy(grid).regions, strict=True))
    x, y, z = grid.coordinates_mm()
    (cx, cy, cz), (ax, ay, az) = _AMYGDALA
    amygdala = ((abs(x) - cx) / ax) ** 2 + ((y - cy) / ay) ** 2 + ((z - cz) / az) ** 2 < 1
    cores = {
        "hippocampus": share["hippocampus"] > 0.3,
        "amygdala": amygdala,
        "lateral ventricles": share["ventricles"] > 0.3,
        "cortex": share["cortex"] > 0.3,
    }
    zones = {
        name: ndimage.binary_dilation(
            core, iterations=max(1, round(NEAR_MM[name] / grid.spacing_mm))
        )[mask]
        for name, core in cores.items()
    }
    return {**zones, "brain": np.ones(int(mask.sum()), dtype=np.bool_)}
