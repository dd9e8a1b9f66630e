"""Study copies: every volume of a study drawn again by the same steps, whatever its arm.

The grid, the type of the voxels, the background, the range of grey and all 352 bytes before the
voxels are the same for every copy. What is left to tell arms apart is the picture itself, which is
what readers are asked about. numpy is loaded here, so only workers import this module.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float32, UInt8

from apps.errors import MirageError
from ml.data.mri import MNI152_CODE, Grid, VolumeError, brain_mask, coarsened, grid, grid_of
from ml.data.mri import read_volume as read_on_grid

BACKGROUND, DARKEST, BRIGHTEST = 0, 1, 255
PERCENTILES = (1.0, 99.0)  # of the brain: what becomes darkest and brightest
NO_EXTENSION = bytes(4)


class SourceError(MirageError):
    """A source of a case cannot be drawn; the text says which case and what to do."""


def study_copy(source: Path, *, sha256: str, spacing_mm: float, case: int) -> bytes:
    """The study copy of a volume, as the bytes of a NIfTI file.

    Args:
        source: a volume on one of the MNI152 grids.
        sha256: of the source when the case was drawn.
        spacing_mm: of the copy; the source is at least as fine.
        case: number of the case, for the text of an error.

    Raises:
        SourceError: the source is gone, another one than was drawn, too coarse or unreadable.
    """
    way_out = "Take the study back to draft and draw the cases again."
    try:
        content = source.read_bytes()
    except OSError as error:
        raise SourceError(f"The source of case {case} is gone. {way_out}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SourceError(f"The source of case {case} has changed since the draw. {way_out}")
    on = grid(spacing_mm)
    try:
        own = grid_of(source)
        voxels = coarsened(read_on_grid(source, own), own, on)
    except VolumeError as error:
        raise SourceError(
            f"The source of case {case} cannot be used ({type(error).__name__}). {way_out}"
        ) from error
    return header(on) + grey(voxels, on, case).tobytes(order="F")


def grey(voxels: Float32[np.ndarray, "x y z"], on: Grid, case: int) -> UInt8[np.ndarray, "x y z"]:
    """Voxels as 255 steps of grey inside the template's brain, and 0 outside it.

    Raises:
        SourceError: the brain is of one grey.
    """
    mask = brain_mask(on)
    low, high = np.percentile(voxels[mask], PERCENTILES)
    if not high > low:
        raise SourceError(
            f"The source of case {case} shows no brain. Take the study back to draft, have the "
            "volume made again and draw the cases again."
        )
    share = np.clip((voxels - low) / (high - low), 0, 1)
    steps = np.rint(share * (BRIGHTEST - DARKEST)) + DARKEST
    return np.where(mask, steps, BACKGROUND).astype(np.uint8)


@cache
def header(on: Grid) -> bytes:
    """The 352 bytes before the voxels: nothing in them depends on the volume."""
    made: Any = nib.Nifti1Header()  # type: ignore[no-untyped-call]
    made.set_data_dtype(np.uint8)
    made.set_data_shape(on.shape)
    made.set_zooms((on.spacing_mm,) * 3)
    made.set_xyzt_units("mm")
    made.set_sform(on.affine, code=MNI152_CODE)
    made.set_qform(on.affine, code=MNI152_CODE)
    made.set_slope_inter(1, 0)
    made["cal_min"], made["cal_max"] = BACKGROUND, BRIGHTEST
    made["vox_offset"] = len(made.binaryblock) + len(NO_EXTENSION)
    return bytes(made.binaryblock) + NO_EXTENSION
