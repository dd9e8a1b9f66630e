"""The anatomy that phantoms share: tissues, regions and the ways disease can move them.

Everything is derived from the MNI152 template and its tissue maps inside nilearn's wheel, at 1 mm,
in MNI152 coordinates (x to the right, y to the front, z up):

- lateral ventricles: what is neither grey nor white within the box where only they are, and a
  temporal horn painted as a thin crescent above and beside each hippocampus, which the averaged
  template has lost;
- hippocampus: three ellipsoids a side, head, body and tail, along its known axis;
- cortex: grey matter above the cerebellum and outside the central nuclei;
- sulci: the average of 152 brains has glued the banks of most sulci together. A sheet of CSF is
  put back where the distance to white matter has its crest.
"""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import nilearn
import numpy as np
from jaxtyping import Bool, Float32
from nilearn import datasets
from numpy import ndarray
from scipy import ndimage
from scipy.special import expit

from ml.data import mri
from ml.data.mri import Grid, at_grid
from ml.user_cache import USER_CACHE

Volume = Float32[ndarray, "x y z"]
Field = Float32[ndarray, "3 x y z"]
Axis = Float32[ndarray, "_ _ _"]  # coordinates along one axis, ready to broadcast
CSF_INTENSITY, GREY_INTENSITY, WHITE_INTENSITY = 0.24, 0.62, 0.92
# Centre and half axes in mm of head, body and tail on the right. Together 4.2 ml a side, centre of
# mass (26, -23, -16); twenty labelled heads have (27, -21, -16).
_HIPPOCAMPUS = (
    ((25.0, -14.0, -20.0), (8.5, 8.0, 7.0)),
    ((28.5, -24.0, -15.0), (7.0, 10.0, 6.0)),
    ((25.5, -34.0, -8.0), (6.0, 7.5, 6.0)),
)
_HIPPOCAMPUS_AXIS = (
    (22.0, -6.0, -22.0),
    (27.0, -15.0, -19.0),
    (29.0, -25.0, -14.0),
    (24.0, -38.0, -4.0),
)
# The horn that hugs the hippocampus would blow it up while it widens. So much shrinkage per mm of
# widening keeps the volume of the hippocampus as it is.
HORN_PRESSURE = 0.19
REGIONS = ("ventricles", "hippocampus", "cortex", "brain")
FINEST_KEPT_MM = 2.0  # 70 MB; finer ones would be eight times that
_PARTS = (1, len(REGIONS), 3, 3, 3, 1, 1)  # volumes of each field of Anatomy


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One brain on one grid, before age, disease and individual shape.

    Attributes:
        t1: T1 intensities, air 0, white matter .92.
        regions: share of each voxel that belongs to `REGIONS`, `(4, x, y, z)`, 0 to 1.
        ventricle_flow: velocity that widens the ventricles by 1 mm all around per unit of time.
        hippocampus_flow: velocity that shrinks the hippocampus towards its axis, mm per unit.
        thinning: displacement that thins the cortex by about 1 mm and widens sulci.
        periventricular: 0 to 1, white matter beside the ventricles, where small-vessel disease
        shows. superficial: 0 in the depth of the brain to 1 at the gyri.
    """

    t1: Volume
    regions: Float32[ndarray, "4 x y z"]
    ventricle_flow: Field
    hippocampus_flow: Field
    thinning: Field
    periventricular: Volume
    superficial: Volume


@lru_cache(maxsize=3)
def anatomy(grid: Grid) -> Anatomy:
    """The shared anatomy: built in some six seconds once, then read from the user's cache folder.

    What was built by another version of this code is not read. Where the folder cannot be written
    the anatomy is built again in every process.
    """
    place = _kept(grid)
    with suppress(OSError, ValueError, EOFError):  # not there yet, or cut short
        return _read(place, grid)
    built = _build(grid)
    if grid.spacing_mm >= FINEST_KEPT_MM:
        with suppress(OSError):
            _keep(_stacked(built), place)
    return built


def _kept(grid: Grid) -> Path:
    """Where the anatomy of a grid lies, named by all that it follows from."""
    sources = b"".join(Path(path).read_bytes() for path in (__file__, mri.__file__))
    made_by = hashlib.sha256(sources + nilearn.__version__.encode()).hexdigest()[:16]
    return USER_CACHE / f"anatomy-{made_by}-{grid.spacing_mm:g}mm.npy"


def _stacked(brain: Anatomy) -> Float32[ndarray, "volumes x y z"]:
    parts = [getattr(brain, field.name) for field in fields(brain)]
    return np.concatenate([part.reshape(-1, *brain.t1.shape) for part in parts])


def _read(place: Path, grid: Grid) -> Anatomy:
    """The inverse of `_stacked` and `_keep`.

    Raises:
        OSError: there is no such file.
        ValueError, EOFError: it is cut short, or holds something else.
    """
    volumes = np.load(place, allow_pickle=False)
    if volumes.shape != (sum(_PARTS), *grid.shape):
        raise ValueError(f"{place.name} has the shape {volumes.shape}")
    t1, regions, ventricle, hippocampus, thinning, beside, superficial = np.split(
        volumes, np.cumsum(_PARTS)[:-1]
    )
    return Anatomy(
        t1=t1[0],
        regions=regions,
        ventricle_flow=ventricle,
        hippocampus_flow=hippocampus,
        thinning=thinning,
        periventricular=beside[0],
        superficial=superficial[0],
    )


def _keep(volumes: Float32[ndarray, "volumes x y z"], place: Path) -> None:
    """Write a file whole or not at all: several processes may do so at once."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f"{secrets.token_hex(8)}.part")
    try:
        with draft.open("wb") as file:
            np.save(file, volumes)
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def _build(grid: Grid) -> Anatomy:
    box, affine = _brain_box(datasets.load_mni152_brain_mask(resolution=1))
    grey = _fine(datasets.load_mni152_gm_template(resolution=1))[box]
    white = _fine(datasets.load_mni152_wm_template(resolution=1))[box]
    mask = _fine(datasets.load_mni152_brain_mask(resolution=1))[box] > 0.5
    x, y, z = _coordinates(affine, grey.shape)
    grey, white, csf = _tissues(grey, white, mask)
    hippocampus = _hippocampus(x, y, z)
    horn = _temporal_horn(x, y, z, hippocampus)
    ventricles = np.maximum(csf * _ventricle_box(x, y, z), horn)
    ventricles = _largest_pieces(ventricles > 0.4, 4) * np.maximum(ventricles, 0.0)
    cerebral = _cerebral(x, y, z)
    from_white = _distance(white > 0.5)
    sulci = _sulci(from_white, mask * cerebral * (1 - hippocampus))
    csf = np.clip(np.maximum(csf, np.maximum(sulci, horn)), 0, 1)
    grey, white = grey * (1 - csf), white * (1 - csf)
    hippocampus = hippocampus * (1 - csf)
    t1 = (CSF_INTENSITY * csf + GREY_INTENSITY * grey + WHITE_INTENSITY * white) * mask
    t1 = _smooth(t1, 0.5)
    cortex = grey * cerebral * (hippocampus < 0.3) * (from_white < 8)
    inside = _distance(ventricles < 0.5)
    outside = _distance(ventricles >= 0.5)
    shrinking = _hippocampus_flow(x, y, z, hippocampus)
    flows = (
        _ventricle_flow(inside, outside) + HORN_PRESSURE * shrinking,
        shrinking,
        _thinning(from_white, cerebral),
    )
    periventricular = np.exp(-((outside / 4.0) ** 2)) * white
    regions = (ventricles, hippocampus, cortex, grey + white)

    def on_grid(fine: Float32[ndarray, "i j k"]) -> Volume:
        image = nib.Nifti1Image(_single(fine), affine)  # type: ignore[no-untyped-call]
        return at_grid(image, grid)

    return Anatomy(
        t1=on_grid(t1),
        regions=np.stack([on_grid(region * mask) for region in regions]),
        ventricle_flow=np.stack([on_grid(part) for part in flows[0]]),
        hippocampus_flow=np.stack([on_grid(part) for part in flows[1]]),
        thinning=np.stack([on_grid(part) for part in flows[2]]),
        periventricular=on_grid(periventricular),
        superficial=on_grid(_superficial(x, y, z)),
    )


def _brain_box(mask: nib.Nifti1Image) -> tuple[tuple[slice, ...], Float32[ndarray, "4 4"]]:
    """The part of the 1 mm template that holds the brain and 6 mm around it, and its affine."""
    margin = 6
    (found,) = ndimage.find_objects(np.asarray(mask.dataobj, dtype=np.int8))
    box = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in found)
    affine = np.array(mask.affine, dtype=np.float32)
    affine[:3, 3] += [side.start for side in box]
    return box, affine


def _fine(image: nib.Nifti1Image) -> Volume:
    return np.asarray(image.dataobj, dtype=np.float32)


def _coordinates(affine: ndarray, shape: tuple[int, ...]) -> tuple[Axis, Axis, Axis]:
    """MNI152 coordinates along each axis, ready to broadcast."""
    axes = [affine[k, 3] + affine[k, k] * np.arange(edge) for k, edge in enumerate(shape)]
    x, y, z = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij", sparse=True)
    return x, y, z


def _tissues(
    grey: Volume, white: Volume, mask: Bool[ndarray, "x y z"]
) -> tuple[Volume, Volume, Volume]:
    """Shares of grey, white and CSF; the power undoes some of the blur of averaging 152 brains."""
    csf = np.clip(mask - grey - white, 0, 1)
    sharp = [np.power(share, 1.7, dtype=np.float32) for share in (grey, white, csf)]
    total = np.maximum(sharp[0] + sharp[1] + sharp[2], 1e-3)
    return sharp[0] / total * mask, sharp[1] / total * mask, sharp[2] / total * mask


def _ellipsoid(
    x: Axis, y: Axis, z: Axis, centre: tuple[float, ...], axes: tuple[float, ...]
) -> Volume:
    """Scaled distance from a centre on the right side, mirrored to the left: 1 at the surface."""
    squares = (
        ((np.abs(x) - centre[0]) / axes[0]) ** 2,
        ((y - centre[1]) / axes[1]) ** 2,
        ((z - centre[2]) / axes[2]) ** 2,
    )
    return _single(np.sqrt(squares[0] + squares[1] + squares[2]))


def _hippocampus(x: Axis, y: Axis, z: Axis) -> Volume:
    nearest = np.minimum.reduce([_ellipsoid(x, y, z, *part) for part in _HIPPOCAMPUS])
    return _single(expit((1 - nearest) * 12))


def _temporal_horn(x: Axis, y: Axis, z: Axis, hippocampus: Volume) -> Volume:
    """A crescent of about 2 mm over the top and the outer side of the hippocampus."""
    wider = np.minimum.reduce(
        [
            _ellipsoid(x, y, z, centre, tuple(axis + 2.2 for axis in axes))
            for centre, axes in _HIPPOCAMPUS
        ]
    )
    shell = (wider < 1) * (1 - hippocampus)
    beside = expit((np.abs(x) - 29) * 0.9 + (z + 16 - 0.45 * (-20 - y)) * 0.6)
    along = (y > -40) & (y < -7)
    return _smooth(shell * beside * along, 0.6)


def _ventricle_box(x: Axis, y: Axis, z: Axis) -> Bool[ndarray, "x y z"]:
    """Where CSF is lateral ventricle: body and front horn above, trigone and back horn behind."""
    body = (np.abs(x) < 26) & (y > -40) & (y < 34) & (z > 0) & (z < 32) & (np.abs(x) > 1.5)
    back = (np.abs(x) > 10) & (np.abs(x) < 38) & (y > -72) & (y <= -30) & (z > -8) & (z < 28)
    box: Bool[ndarray, "x y z"] = body | back
    return box


def _largest_pieces(region: Bool[ndarray, "x y z"], pieces: int) -> Bool[ndarray, "x y z"]:
    labels, _ = ndimage.label(region)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(np.isin(labels, np.argsort(sizes)[-pieces:]), dtype=np.bool_)


def _cerebral(x: Axis, y: Axis, z: Axis) -> Volume:
    """1 in the cerebrum outside the central nuclei, 0 there, in brainstem and cerebellum."""
    nuclei = ((x / 33) ** 2 + ((y + 6) / 36) ** 2 + ((z - 4) / 20) ** 2) > 1
    above_tentorium = (z > -22 - 0.45 * (y + 40)) | (y > -28)
    not_brainstem = ~((np.abs(x) < 17) & (y < 0) & (y > -50) & (z < -2))
    return _single(nuclei & above_tentorium & not_brainstem)


def _superficial(x: Axis, y: Axis, z: Axis) -> Volume:
    """How near the surface, by an ellipsoid that fits the brain; the cerebellum counts as deep."""
    radius = np.sqrt((x / 68) ** 2 + ((y + 18) / 88) ** 2 + ((z - 8) / 68) ** 2)
    above = expit((z + 30 + 0.3 * (y + 40)) / 4)
    return _single(np.clip((radius - 0.5) / 0.4, 0, 1) * above)


def _distance(outside_of: Bool[ndarray, "x y z"]) -> Volume:
    """Distance in mm to the nearest voxel where the argument holds."""
    return _single(ndimage.distance_transform_edt(~outside_of))


def _unit_gradient(distance: Volume, smooth_mm: float) -> Field:
    """Direction of steepest ascent; shorter than 1 on crests, where it has no direction."""
    gradient = np.stack(np.gradient(_smooth(distance, smooth_mm)))
    return _single(gradient / np.maximum(np.linalg.norm(gradient, axis=0), 0.2))


def _smooth(volume: ndarray, sigma_mm: float) -> Volume:
    return _single(ndimage.gaussian_filter(_single(volume), sigma_mm))


def _single(values: ndarray) -> ndarray:
    return np.asarray(values, dtype=np.float32)


def _sulci(from_white: Volume, where: Volume) -> Volume:
    """Sheets of CSF where two banks meet: the crest of the distance to white matter."""
    normal = _unit_gradient(from_white, 0.7)
    slopes = [_single(np.gradient(normal[axis], axis=axis)) for axis in range(3)]
    crest = expit((_smooth(-slopes[0] - slopes[1] - slopes[2], 0.5) - 0.45) * 14)
    return _single(crest * (from_white > 1.8) * where)


def _ventricle_flow(inside: Volume, outside: Volume) -> Field:
    """Backward velocity: one unit of time moves the ventricle's wall out by about 1 mm."""
    signed = _smooth(outside - inside, 1.5)
    strength = np.clip(1 + signed / 4.0, 0, 1) * np.exp(-((np.maximum(signed, 0) / 16.0) ** 2))
    return _single(-_unit_gradient(signed, 1.0) * strength)


def _hippocampus_flow(x: Axis, y: Axis, z: Axis, hippocampus: Volume) -> Field:
    """Backward velocity away from the hippocampal axis: the tissue moves towards it."""
    axis = np.asarray(_HIPPOCAMPUS_AXIS)
    steps = np.linspace(0, len(axis) - 1, 13)
    path = np.stack([np.interp(steps, np.arange(len(axis)), axis[:, k]) for k in range(3)], axis=1)
    nearest = np.full(hippocampus.shape, np.inf, dtype=np.float32)
    for px, py, pz in path.astype(np.float32):
        squared = (np.abs(x) - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
        np.minimum(nearest, squared, out=nearest)
    nearest = np.sqrt(nearest)
    # Radially out of the axis, strongest at the surface, gone within a centimetre.
    strength = np.where(nearest < 7, nearest / 7, np.exp(-(((nearest - 7) / 6.0) ** 2)))
    near = _smooth(hippocampus, 3.0) > 0.01
    return _single(_unit_gradient(nearest, 1.0) * (strength * near))


def _thinning(from_white: Volume, cerebral: Volume) -> Field:
    """Backward displacement outwards: the ribbon is squeezed onto white matter, sulci open."""
    fading = np.exp(-((np.maximum(from_white - 8, 0) / 6) ** 2))
    depth = np.clip((from_white - 0.5) / 2.5, 0, 1) * fading
    field = _unit_gradient(from_white, 1.5) * (depth * _smooth(cerebral, 2.0))
    return np.stack([_smooth(part, 0.7) for part in field])
