"""Whether a scan was registered well enough to be read: three numbers with a limit each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32
from numpy import ndarray
from PIL import Image
from scipy import ndimage

from ml.data.mri import Grid, brain_mask, template

# On 308 scans of OASIS-1 that others registered, the 24 whose registration they call failed reach
# .487 at most, the 284 others .500 (and .872 of overlap) at least.
LEAST_CORRELATION = 0.49
LEAST_OVERLAP = 0.86
BRAIN_ML = (800.0, 2200.0)
"""Intracranial volumes of adults lie between these, with room on both sides."""
PICTURE_PIXELS = 3
"""Edge of a voxel of the 2 mm grid in the picture, in pixels."""
OUTLINE = (255, 176, 0)
Volume = Float32[ndarray, "x y z"]


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a registered brain lies on the template.

    Attributes:
        correlation: of intensities with the template's, inside the template's brain, -1 to 1.
        overlap: Dice overlap of the brain mask with the template's, 0 to 1.
        brain_ml: what brain extraction kept, in the person's own millilitres, CSF included.
    """

    correlation: float
    overlap: float
    brain_ml: float

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the scan is refused, a sentence each; empty if it is taken."""
        found = []
        if not self.correlation >= LEAST_CORRELATION:
            found.append(
                f"Its intensities correlate {self.correlation:.2f} with the template's; at least "
                f"{LEAST_CORRELATION:g} is needed."
            )
        if not self.overlap >= LEAST_OVERLAP:
            found.append(
                f"Its brain overlaps {self.overlap:.2f} with the template's; at least "
                f"{LEAST_OVERLAP:g} is needed."
            )
        if not BRAIN_ML[0] <= self.brain_ml <= BRAIN_ML[1]:
            found.append(
                f"Its brain has {self.brain_ml:.0f} ml; from {BRAIN_ML[0]:g} to {BRAIN_ML[1]:g} ml "
                "is plausible."
            )
        return tuple(found)


def measure_quality(
    registered: Volume, mask: Bool[ndarray, "x y z"], grid: Grid, *, brain_ml: float
) -> Quality:
    """Compare a registered brain with the MNI152 template.

    Args:
        registered: intensities of any scale, 0 outside the brain.
        mask: the scan's brain on the same grid.
        grid: on which both lie.
        brain_ml: the brain's own volume, before it was scaled to the template.
    """
    inside = brain_mask(grid)
    one, other = registered[inside], template(grid)[inside]
    flat = one.std() < 1e-6
    correlation = 0.0 if flat else float(np.corrcoef(one, other)[0, 1])
    return Quality(correlation, overlap(mask, inside), brain_ml)


def overlap(one: Bool[ndarray, "x y z"], other: Bool[ndarray, "x y z"]) -> float:
    """Dice overlap: twice what is shared over the sum of both; 0 if both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 0.0


def draw(path: Path, registered: Volume, grid: Grid) -> None:
    """Three slices of a registered brain with the template's outline, as PNG.

    Sagittal, coronal and axial through the middle; the face is not in them, for everything
    outside the brain was removed before.
    """
    top = max(float(np.quantile(registered[brain_mask(grid)], 0.995)), 1e-6)
    grey = np.clip(registered / top, 0, 1)
    edge = brain_mask(grid) & ~ndimage.binary_erosion(brain_mask(grid))
    times = max(1, round(PICTURE_PIXELS * grid.spacing_mm / 2))
    tiles = []
    for axis in range(3):
        middle = grid.shape[axis] // 2
        slice_, outline = (np.take(each, middle, axis=axis) for each in (grey, edge))
        colour = np.repeat((255 * slice_[..., None]).astype(np.uint8), 3, axis=2)
        colour[outline] = OUTLINE
        upright = colour.transpose(1, 0, 2)[::-1]
        tiles.append(upright.repeat(times, axis=0).repeat(times, axis=1))
    height = max(tile.shape[0] for tile in tiles)
    padded = [np.pad(tile, ((0, height - tile.shape[0]), (0, times), (0, 0))) for tile in tiles]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(padded, axis=1)).save(path)
