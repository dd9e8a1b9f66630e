"""Bias field and affine registration of a brain to MNI152, by SimpleITK.

Paper: section 3, "N4 bias correction, ... affine registration to MNI152". SimpleITK sees voxels
with their spacing and nothing else; the affines of the files are ours to multiply, so that a tilted
or sheared scan is no special case.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from scipy import ndimage

from ml.data.mri import ORIGIN_MM, Grid, brain_mask, grid, template

with warnings.catch_warnings():
    # The types that SWIG makes warn on import; where warnings are errors the interpreter crashes.
    warnings.simplefilter("ignore", DeprecationWarning)
    import SimpleITK as sitk  # noqa: N813 - its documentation's name

N4_SHRINK_MM = 4.0
N4_ITERATIONS = (40, 40, 30)
N4_TOLERANCE = 1e-3
SPACING_MM = 2.0
"""Registration is done at 2 mm whatever the target: an affine has twelve numbers."""
SHRINK, SMOOTH_MM, SAMPLED = (4, 2, 1), (4.0, 2.0, 0.0), (1.0, 0.3, 0.1)
"""From 8 mm to 2 mm; the share of voxels that is looked at."""
SAMPLING_SEED = 1
"""The places looked at are jittered; without a seed by the clock, and no two runs were alike."""
STEPS = 100
BINS = 40
Volume = Float32[ndarray, "x y z"]  # on an MNI152 grid
Scan = Float32[ndarray, "i j k"]  # in the scan's own voxels
Affine = Float[ndarray, "4 4"]


@dataclass(frozen=True, slots=True)
class Registration:
    """Where MNI152 lies in a scan.

    Attributes:
        to_scan: MNI152 coordinate to voxel index of the scan.
        head_scale: how many times larger the head is on the template's grid than in the scanner:
            millilitres on the grid divided by it are the person's own.
    """

    to_scan: Affine
    head_scale: float


def use_threads(count: int) -> None:
    """How many threads SimpleITK may use in this process."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)


def correct_bias(voxels: Scan, mask: Bool[ndarray, "i j k"], spacing_mm: ndarray) -> Scan:
    """Divide by the smooth field that N4 finds inside the brain, at a quarter of the resolution.

    Paper: section 3; Tustison et al. 2010.
    """
    # N4 works on logarithms.
    low = max(float(voxels[mask].min()), 0.0)
    positive = np.maximum(voxels - low, 0) + 1.0
    image, inside = _image(positive, spacing_mm), _image(mask.astype(np.uint8), spacing_mm)
    shrink = [max(1, round(N4_SHRINK_MM / float(edge))) for edge in spacing_mm]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(N4_ITERATIONS)
    n4.SetConvergenceThreshold(N4_TOLERANCE)
    n4.Execute(sitk.Shrink(image, shrink), sitk.Shrink(inside, shrink))
    field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).transpose(2, 1, 0)
    return np.asarray(voxels / np.exp(field), dtype=np.float32)


def register(brain: Scan, affine: Affine) -> Registration:
    """Find the affine that lays a brain over the MNI152 template, by mutual information.

    It starts where the header puts the axes, with centres of mass and sizes made equal.

    Args:
        brain: intensities inside the brain, 0 outside; axes nearly left to right, back to front,
            bottom to top.
        affine: voxel index to the scanner's coordinates in mm.
    """
    fixed_grid = grid(SPACING_MM)
    fixed_voxels = template(fixed_grid) * brain_mask(fixed_grid)
    fixed = _image(fixed_voxels[::-1], np.full(3, SPACING_MM))  # left to right, too
    corner = np.array(ORIGIN_MM) - [(fixed_grid.shape[0] - 1) * SPACING_MM, 0, 0]
    fixed.SetOrigin(corner.tolist())
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    moving = _image(brain, spacing)

    start = _start(fixed_voxels, fixed_grid, brain, affine, spacing)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentagePerLevel(SAMPLED, SAMPLING_SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel(SMOOTH_MM)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.01, numberOfIterations=STEPS, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)

    to_box = np.eye(4)
    matrix = np.array(start.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(start.GetCenter()), np.array(start.GetTranslation())
    to_box[:3, :3] = matrix
    to_box[:3, 3] = centre + shift - matrix @ centre
    to_index = np.diag([*(1 / spacing), 1.0]) @ to_box
    return Registration(to_index, float(1 / abs(np.linalg.det(matrix))))


def _start(
    fixed: Volume, fixed_grid: Grid, brain: Scan, affine: Affine, spacing: ndarray
) -> sitk.AffineTransform:
    """Turn as the header says, scale by the cube root of the volumes, lay centre over centre."""
    inside = brain > 0
    centre = fixed_grid.affine[:3] @ [*ndimage.center_of_mass(fixed > 0), 1.0]
    found = np.array(ndimage.center_of_mass(inside)) * spacing
    own_mm3 = inside.sum() * np.prod(spacing)
    scale = float((own_mm3 / ((fixed > 0).sum() * SPACING_MM**3)) ** (1 / 3))
    turn = np.diag(spacing) @ np.linalg.inv(affine[:3, :3])  # scanner's mm to the box's mm
    start = sitk.AffineTransform(3)
    start.SetMatrix((scale * turn).ravel().tolist())
    start.SetCenter(centre.tolist())
    start.SetTranslation((found - centre).tolist())
    return start


def resample(voxels: Scan, registration: Registration, target: Grid) -> Volume:
    """Sample a scan at the centres of a grid's voxels, after smoothing away what it cannot hold."""
    to_index = registration.to_scan @ target.affine
    step = np.linalg.norm(to_index[:3, :3], axis=0).mean()  # scan voxels per grid voxel
    if step > 1.2:
        voxels = ndimage.gaussian_filter(voxels, 0.4 * step, truncate=3)
    sampled: Any = ndimage.affine_transform(
        voxels, to_index[:3, :3], to_index[:3, 3], output_shape=target.shape, order=1
    )
    return np.asarray(sampled, dtype=np.float32)


def back_to_scan(
    mask: Bool[ndarray, "x y z"], on: Grid, registration: Registration, shape: tuple[int, ...]
) -> Bool[ndarray, "i j k"]:
    """Where a mask on an MNI152 grid lies in the scan's own voxels."""
    to_grid = np.linalg.inv(on.affine) @ np.linalg.inv(registration.to_scan)
    share: Any = ndimage.affine_transform(
        mask.astype(np.float32), to_grid[:3, :3], to_grid[:3, 3], output_shape=shape, order=1
    )
    return np.asarray(share >= 0.5, dtype=np.bool_)


def _image(voxels: ndarray, spacing_mm: ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    image.SetSpacing([float(edge) for edge in spacing_mm])
    return image
