"""A whole head made of the phantom's brain, with meninges, skull and scalp, as a scanner has it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ml.data.mri import brain_mask, grid
from ml.data.phantom_anatomy import anatomy

GRID = grid(2.0)
CANARY = "Zaphod Beeblebrox"


@dataclass(frozen=True)
class Head:
    """A scan with known truth: where its brain is and where MNI152 lies in it."""

    voxels: np.ndarray
    affine: np.ndarray
    brain: np.ndarray
    to_scan: np.ndarray  # MNI152 coordinate to voxel index

    def save(self, path: Path) -> Path:
        """Write it with a name in every text field of the header."""
        image = nib.Nifti1Image(self.voxels.astype(np.int16), self.affine)
        image.header["descrip"] = CANARY.encode()
        image.header["aux_file"] = b"../../Zaphod"
        image.header["intent_name"] = b"Zaphod"
        image.header["db_name"] = b"Zaphod"
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", CANARY.encode()))
        nib.save(image, path)
        return path


@lru_cache(maxsize=1)
def _template_head() -> tuple[np.ndarray, np.ndarray]:
    """Intensities and brain on the 2 mm grid."""
    brain = brain_mask(GRID)
    distance = ndimage.distance_transform_edt(~brain, sampling=2.0)
    _, _, z = GRID.coordinates_mm()
    head = np.where(brain, anatomy(GRID).t1, 0)
    head = np.where((distance > 0) & (distance <= 3), 0.22, head)  # CSF
    head = np.where((distance > 3) & (distance <= 8), 0.08, head)  # skull
    head = np.where((distance > 8) & (distance <= 15), 0.75, head)  # scalp
    head[(distance > 15) | ((z < -66) & (distance > 8))] = 0
    return ndimage.gaussian_filter(head, 0.4).astype(np.float32), brain


def make_head(
    *,
    degrees: tuple[float, float, float] = (8.0, -5.0, 10.0),
    shift_mm: tuple[float, float, float] = (12.0, -9.0, 7.0),
    scale: float = 0.93,
    bias: float = 0.6,
    spacing_mm: float = 2.0,
) -> Head:
    """The head turned, moved, made smaller or larger, shaded, with noise, in a box of 256 mm.

    The affine of the file knows nothing of turn, shift and scale: they are the patient's.
    """
    rng = np.random.default_rng(3)
    edge = round(240 / spacing_mm)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = -120
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * scale
    turn[:3, 3] = shift_mm  # MNI152 to scanner
    to_index = np.linalg.inv(GRID.affine) @ np.linalg.inv(turn) @ affine
    head, brain = _template_head()

    def sampled(volume: np.ndarray) -> np.ndarray:
        return ndimage.affine_transform(
            volume, to_index[:3, :3], to_index[:3, 3], output_shape=(edge,) * 3, order=1
        )

    x, y, z = (np.indices((edge,) * 3) / edge - 0.5).astype(np.float32)
    shading = np.exp(bias * (1.5 * x - y + 1.2 * z + 2 * x * y))
    voxels = 900 * sampled(head) * shading + rng.normal(20, 12, (edge,) * 3)
    inside = sampled(brain.astype(np.float32)) >= 0.5
    return Head(np.maximum(voxels, 0), affine, inside, np.linalg.inv(affine) @ turn)
