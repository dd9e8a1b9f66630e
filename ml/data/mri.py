"""Grids of MNI152 space, reading and writing volumes on them, and one scale for intensities.

Every volume inside `ml` lies on one of four grids: FSL's MNI152 box of 182 x 218 x 182 mm at 1, 2,
4 or 8 mm, stored left-first (the first axis runs from right to left of the page, as FSL stores it).
A scan in another space is conformed before it comes here; nothing is resampled in silence.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from scipy import ndimage

BOX_MM = (182, 218, 182)
ORIGIN_MM = (90.0, -126.0, -72.0)
SPACINGS_MM = (1.0, 2.0, 4.0, 8.0)
MNI152_CODE = 4  # NIfTI-1's number of the space in sform_code and qform_code
SYNTHETIC_MARK = "SYNTHETIC"
AFFINE_TOLERANCE_MM = 1e-3


class VolumeError(ValueError):
    """A volume cannot be used; the text says why and what to do."""


class UnknownSpacingError(VolumeError):
    """There is no MNI152 grid of this spacing."""


class UnreadableVolumeError(VolumeError):
    """The file is not a NIfTI volume."""


class OffGridError(VolumeError):
    """The volume's shape or affine is not the grid's."""


class InvalidVoxelsError(VolumeError):
    """The volume holds NaN or infinite voxels, or nothing at all."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the voxels of a volume lie in MNI152 space.

    Attributes:
        shape: voxels along right-left, posterior-anterior and inferior-superior.
        spacing_mm: edge of a voxel; all voxels are cubes.
    """

    shape: tuple[int, int, int]
    spacing_mm: float

    @property
    def affine(self) -> Float[ndarray, "4 4"]:
        """Voxel index to MNI152 coordinate in mm; the first axis is flipped, as FSL does."""
        affine = np.diag([-self.spacing_mm, self.spacing_mm, self.spacing_mm, 1.0])
        affine[:3, 3] = ORIGIN_MM
        return affine

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return self.spacing_mm**3 / 1000

    def coordinates_mm(self) -> Float32[ndarray, "3 x y z"]:
        """MNI152 coordinate of each voxel's centre."""
        index = np.indices(self.shape, dtype=np.float32)
        scale = np.diag(self.affine)[:3].astype(np.float32)
        origin = np.asarray(ORIGIN_MM, np.float32)
        return index * scale[:, None, None, None] + origin[:, None, None, None]


def grid(spacing_mm: float) -> Grid:
    """The MNI152 grid of one spacing.

    Raises:
        UnknownSpacingError: the spacing is not 1, 2, 4 or 8 mm.

    Example:
        >>> grid(2.0).shape, grid(4.0).shape
        ((91, 109, 91), (46, 55, 46))
    """
    if spacing_mm not in SPACINGS_MM:
        known = ", ".join(f"{spacing:g}" for spacing in SPACINGS_MM)
        raise UnknownSpacingError(f"No grid of {spacing_mm:g} mm. Choose one of {known} mm.")
    x, y, z = (math.ceil(edge / spacing_mm) for edge in BOX_MM)
    return Grid(shape=(x, y, z), spacing_mm=float(spacing_mm))


def grid_of(path: Path) -> Grid:
    """The grid that a volume lies on, from its header alone.

    Raises:
        UnreadableVolumeError: missing or not NIfTI.
        OffGridError: on none of the four grids.
    """
    try:
        shape = nib.load(path).shape  # type: ignore[attr-defined]
    except (OSError, EOFError, nib.filebasedimages.ImageFileError) as error:
        raise UnreadableVolumeError(
            f"{path.name} cannot be read as NIfTI ({type(error).__name__}). "
            "Export the scan again as .nii or .nii.gz."
        ) from error
    for each in map(grid, SPACINGS_MM):
        if shape == each.shape:
            return each
    raise OffGridError(
        f"{path.name} has {_times(shape)} voxels, which is none of the MNI152 grids of "
        f"{', '.join(f'{spacing:g}' for spacing in SPACINGS_MM)} mm. Register the scan first."
    )


def read_volume(path: Path, grid: Grid) -> Float32[ndarray, "x y z"]:
    """Read a volume that lies on `grid`.

    Raises:
        UnreadableVolumeError: missing, truncated or not NIfTI.
        OffGridError: another shape, spacing, orientation or origin.
        InvalidVoxelsError: NaN, infinite or all equal.
    """
    try:
        image: Any = nib.load(path)
        voxels = np.asarray(image.dataobj, dtype=np.float32)
        affine = np.asarray(image.affine, dtype=np.float64)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise UnreadableVolumeError(
            f"{path.name} cannot be read as NIfTI ({type(error).__name__}). "
            "Export the scan again as .nii or .nii.gz."
        ) from error
    if voxels.shape != grid.shape:
        raise OffGridError(
            f"{path.name} has {_times(voxels.shape)} voxels; the {grid.spacing_mm:g} mm MNI152 "
            f"grid has {_times(grid.shape)}. Register and resample the scan to that grid first."
        )
    if not np.allclose(affine, grid.affine, atol=AFFINE_TOLERANCE_MM):
        raise OffGridError(
            f"{path.name} has the right number of voxels, but its affine puts voxel (0, 0, 0) "
            f"at ({', '.join(f'{value:g}' for value in affine[:3, 3])}) mm or turns the axes; "
            f"the grid starts at {ORIGIN_MM} mm with the first axis flipped. Resample it."
        )
    _check_voxels(voxels, path.name)
    return voxels


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(edge) for edge in shape)


def _check_voxels(voxels: Float32[ndarray, "x y z"], name: str) -> None:
    bad = int(voxels.size - np.isfinite(voxels).sum())
    if bad:
        raise InvalidVoxelsError(
            f"{name} holds {bad} NaN or infinite voxels of {voxels.size}; none is allowed. "
            "Repeat the preprocessing that made it."
        )
    if voxels.min() == voxels.max():
        raise InvalidVoxelsError(
            f"Every voxel of {name} is {voxels.flat[0]:g}; there is no brain in it. "
            "Repeat the preprocessing that made it."
        )


def write_volume(
    path: Path,
    voxels: Float[ndarray, "x y z"],
    grid: Grid,
    *,
    synthetic: bool,
    description: str,
) -> None:
    """Write a volume as NIfTI-1 with 16-bit voxels; `.nii` is plain and `.nii.gz` compressed.

    Sixteen bits with the format's own scale keep 1/65,000 of the volume's range. A synthetic
    volume says so in `descrip` and `intent_name`, which viewers show and which survive most
    conversions. Both `sform_code` and `qform_code` say MNI152, so that no reader falls back to a
    guess.

    Raises:
        OffGridError: `voxels` do not have the grid's shape.
        InvalidVoxelsError: NaN, infinite or all equal.
    """
    if voxels.shape != grid.shape:
        raise OffGridError(
            f"A volume of {_times(voxels.shape)} voxels cannot be written on the "
            f"{grid.spacing_mm:g} mm grid of {_times(grid.shape)}."
        )
    values = np.ascontiguousarray(voxels, dtype=np.float32)
    _check_voxels(values, path.name)
    image: Any = nib.Nifti1Image(values, grid.affine)  # type: ignore[no-untyped-call]
    image.header.set_data_dtype(np.int16)
    image.header.set_xyzt_units("mm")
    image.set_sform(grid.affine, code=MNI152_CODE)
    image.set_qform(grid.affine, code=MNI152_CODE)
    image.header["descrip"] = _description(synthetic, description)
    image.header["cal_min"], image.header["cal_max"] = values.min(), values.max()
    if synthetic:
        image.header["intent_name"] = SYNTHETIC_MARK.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def _description(synthetic: bool, description: str) -> bytes:
    text = f"{SYNTHETIC_MARK}: {description}" if synthetic else description
    return text.encode("ascii", "replace")[:79]  # the field of NIfTI-1 holds 80 bytes


def is_marked_synthetic(path: Path) -> bool:
    """Whether a NIfTI file's header says that its volume was generated."""
    image: Any = nib.load(path)
    return bytes(image.header["descrip"]).startswith(SYNTHETIC_MARK.encode())


@lru_cache(maxsize=8)
def template(grid: Grid) -> Float32[ndarray, "x y z"]:
    """The MNI152 T1 template, brain only, 0 to about 1, from the files inside nilearn's wheel."""
    from nilearn import datasets  # loads pandas and scikit-learn: 3 s that serving does without

    return at_grid(datasets.load_mni152_template(resolution=1), grid)


@lru_cache(maxsize=8)
def brain_mask(grid: Grid) -> Bool[ndarray, "x y z"]:
    """Voxels of which the MNI152 brain, ventricles and outer CSF included, fills at least half."""
    from nilearn import datasets

    mask = at_grid(datasets.load_mni152_brain_mask(resolution=1), grid) >= 0.5
    mask.setflags(write=False)
    return mask


def at_grid(image: nib.Nifti1Image, grid: Grid) -> Float32[ndarray, "x y z"]:
    """Sample a 1 mm image of MNI152 space at the centres of a coarser grid's voxels.

    A Gaussian of .4 voxels of the coarser grid goes first, so that a fine sulcus is averaged and
    not met by chance.
    """
    fine = np.asarray(image.dataobj, dtype=np.float32)
    sigma = 0.4 * grid.spacing_mm if grid.spacing_mm > 1 else 0.0
    if sigma:
        fine = ndimage.gaussian_filter(fine, sigma, truncate=3)
    to_fine = np.linalg.inv(image.affine) @ grid.affine
    sampled = ndimage.affine_transform(
        fine, np.diag(to_fine)[:3], offset=to_fine[:3, 3], output_shape=grid.shape, order=1
    )
    sampled = np.asarray(sampled, dtype=np.float32)
    sampled.setflags(write=False)  # cached by the callers and shared between them
    return sampled


def coarsened(
    voxels: Float32[ndarray, "x y z"], fine: Grid, coarse: Grid
) -> Float32[ndarray, "i j k"]:
    """The same volume on a coarser grid: every n-th voxel, smoothed before as in `at_grid`.

    Raises:
        OffGridError: the other grid is finer; nobody knows what lies between two voxels.
    """
    step = round(coarse.spacing_mm / fine.spacing_mm)
    if step < 1:
        raise OffGridError(
            f"Scans of {fine.spacing_mm:g} mm cannot be used on the {coarse.spacing_mm:g} mm grid. "
            f"Choose a profile of {fine.spacing_mm:g} mm or coarser."
        )
    if step == 1:
        return voxels
    smooth = ndimage.gaussian_filter(voxels, 0.4 * step, truncate=3)
    return np.ascontiguousarray(smooth[::step, ::step, ::step])


def normalise(
    voxels: Float32[ndarray, "x y z"], mask: Bool[ndarray, "x y z"]
) -> Float32[ndarray, "x y z"]:
    """Give the brain mean 0 and standard deviation 1 (z-score inside the mask, applied everywhere).

    A T1 volume has no unit: scanners differ in scale and offset. The background keeps its distance
    to the brain (about -5) instead of a fixed 0, so the outline of the brain is not a step of our
    own making.

    Raises:
        InvalidVoxelsError: the voxels inside the mask are all equal.
    """
    inside = voxels[mask]
    spread = float(inside.std())
    if spread < 1e-6:
        raise InvalidVoxelsError(
            "The voxels inside the brain mask are all equal; the scan does not cover the brain. "
            "Check its registration to MNI152."
        )
    return np.asarray((voxels - float(inside.mean())) / spread, dtype=np.float32)


def to_template_intensities(
    normalised: Float32[ndarray, "x y z"], grid: Grid
) -> Float32[ndarray, "x y z"]:
    """Turn z-scored voxels back into the template's intensities: air 0, white matter about .9."""
    inside = template(grid)[brain_mask(grid)]
    intensities = normalised * float(inside.std()) + float(inside.mean())
    return np.maximum(intensities, 0.0, dtype=np.float32)


@lru_cache(maxsize=8)
def intensity_range(grid: Grid) -> float:
    """Span of normalised intensities inside the brain: 1st to 99th percentile of the template.

    The data range of SSIM. It is a constant of the grid, not of the pair that is compared, so
    figures of different patients and models can be set side by side.
    """
    inside = normalise(template(grid), brain_mask(grid))[brain_mask(grid)]
    low, high = np.percentile(inside, [1, 99])
    return float(high - low)
