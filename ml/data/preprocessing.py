"""From a scan as it left the hospital to a brain on the grid the model speaks.

Paper: section 3, "N4 bias correction, brain extraction, affine registration to MNI152, z-score
normalisation". Brain extraction goes first, so that N4 fits the field of the brain and not of the
scalp. ADR 15 names the tools and what they cost.

The z-score is written in the template's intensities, as pseudo-MRIs are: air 0, white matter about
.9. `ml.data.mri.normalise` gives the z-score back.
"""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from scipy import ndimage

from ml.data.brain_extraction import BrainExtractionError, brain_of
from ml.data.mri import (
    Grid,
    brain_mask,
    grid,
    normalise,
    to_template_intensities,
    write_volume,
)
from ml.data.quality import Quality, draw, measure_quality
from ml.data.raw_scan import RawScan, read_scan
from ml.data.registration import Registration, correct_bias, register, resample
from ml.data.scan_file import ENDINGS, ScanFileError
from ml.data.structures import STRUCTURES, structure_volumes_ml

VERSION = 1
"""Of the steps below; it stands in qc.json, and a scan done by another version is done again."""

JUDGED_ON = grid(2.0)
MARGIN = 8
"""Voxels around the brain that go along."""


class ScanError(ValueError):
    """A scan cannot be used; the text says why and what to do, and names no file and no person."""


class QualityError(ScanError):
    """A scan was refused by quality control.

    Attributes:
        quality: what was measured.
        picture: PNG of three slices with the template's outline.
    """

    def __init__(self, quality: Quality, picture: Path) -> None:
        super().__init__(
            "The scan was refused by quality control. "
            + " ".join(quality.problems)
            + " Look at the picture; choose a T1 series of the whole head without gaps or motion."
        )
        self.quality = quality
        self.picture = picture


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """What became of one scan.

    Attributes:
        registered: brain on the MNI152 grid, NIfTI, in the template's intensities.
        mask: the brain's voxels in the scan's own space, NIfTI.
        report: NAME_qc.json.
        quality: what was measured.
        spacing_mm: voxel edge of `registered`.
        head_scale: millilitres on the grid divided by this are the person's own.
        volumes_ml: the person's own millilitres of `ml.data.structures.STRUCTURES`.
        source_sha256: of the file that was read.
        duration_s: wall time of it all.
    """

    registered: Path
    mask: Path
    report: Path
    quality: Quality
    spacing_mm: float
    head_scale: float
    volumes_ml: dict[str, float]
    source_sha256: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class Laid:
    """A scan laid over the template, before it is judged.

    Attributes:
        registered: brain on the MNI152 grid in the template's intensities; air is 0.
        grid: that grid.
        judged: the same at 2 mm, whatever `grid` is: limits and lines were chosen there.
        mask: the brain in the scan's voxels, axes left to right, back to front, bottom to top.
        affine: index of such a voxel to the scanner's coordinates in mm.
        head_scale: millilitres on the grid divided by this are the person's own.
        quality: how well the brain lies.
    """

    registered: Float32[ndarray, "x y z"]
    grid: Grid
    judged: Float32[ndarray, "p q r"]
    mask: Bool[ndarray, "i j k"]
    affine: Float[ndarray, "4 4"]
    head_scale: float
    quality: Quality


def preprocess(source: Path, out: Path, *, spacing_mm: int = 2) -> Preprocessed:
    """Read one scan, find its brain, lay it over MNI152 and judge the result.

    Nothing of the file's header but its geometry reaches the outputs; the head outside the brain
    is never written.

    Args:
        source: a NIfTI, MGH or zipped DICOM file.
        out: folder for NAME_mni152_2mm.nii.gz, NAME_mask.nii.gz and NAME_qc.json, NAME being that
            of `source` without its ending; of a scan that quality control refuses, NAME_qc.json
            and NAME_qc.png alone.
        spacing_mm: voxel edge of the registered volume, 2 or 1.

    Raises:
        ScanError: the file is no usable scan, or holds no brain.
        QualityError: the brain does not lie well enough on the template.
    """
    began = time.monotonic()
    name, digest = scan_name(source), sha256_of(source)
    try:
        scan = read_scan(source)
        laid = lay_over_template(scan, grid(float(spacing_mm)))
    except (ScanFileError, BrainExtractionError) as error:
        raise ScanError(str(error)) from error
    return keep(laid, scan, out, name, source_sha256=digest, began=began)


def lay_over_template(scan: RawScan, on: Grid) -> Laid:
    """Bias field, brain, affine, z-score; nothing is judged or written yet.

    Raises:
        BrainExtractionError: no brain was found.
    """
    image: Any = nib.Nifti1Image(scan.voxels, scan.affine)  # type: ignore[no-untyped-call]
    upright: Any = nib.as_closest_canonical(image)  # type: ignore[no-untyped-call]
    voxels = np.ascontiguousarray(upright.dataobj, dtype=np.float32)
    affine = np.asarray(upright.affine, dtype=np.float64)
    mask = brain_of(voxels)
    box = _around(mask)
    here, part = affine.copy(), mask[box]
    here[:3, 3] = (affine @ [*(side.start for side in box), 1.0])[:3]
    corrected = correct_bias(voxels[box], part, np.linalg.norm(affine[:3, :3], axis=0))
    brain = np.where(part, np.maximum(corrected, 0), np.float32(0))
    registration = register(brain, here)
    judged, inside = _sampled(brain, part, registration, JUDGED_ON)
    registered = judged if on == JUDGED_ON else _sampled(brain, part, registration, on)[0]
    brain_ml = float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)
    quality = measure_quality(judged, inside, JUDGED_ON, brain_ml=brain_ml)
    return Laid(registered, on, judged, mask, affine, registration.head_scale, quality)


def _sampled(
    brain: Float32[ndarray, "i j k"],
    mask: Bool[ndarray, "i j k"],
    registration: Registration,
    on: Grid,
) -> tuple[Float32[ndarray, "x y z"], Bool[ndarray, "x y z"]]:
    """The brain on a grid, z-scored inside itself, in the template's intensities; and its mask."""
    inside = resample(mask.astype(np.float32), registration, on) >= 0.5
    scaled = to_template_intensities(normalise(resample(brain, registration, on), inside), on)
    return np.where(inside, scaled, np.float32(0)), inside


def _around(mask: Bool[ndarray, "i j k"]) -> tuple[slice, ...]:
    """The box of the brain and a margin: a fifth of the voxels of a head, and of the time."""
    (found,) = ndimage.find_objects(mask.astype(np.int8))
    return tuple(
        slice(max(0, side.start - MARGIN), min(edge, side.stop + MARGIN))
        for side, edge in zip(found, mask.shape, strict=True)
    )


def keep(
    laid: Laid, scan: RawScan, out: Path, name: str, *, source_sha256: str, began: float
) -> Preprocessed:
    """Write what quality control takes; of what it refuses, a picture and the figures.

    Raises:
        QualityError: the brain does not lie well enough on the template.
    """
    out.mkdir(parents=True, exist_ok=True)
    on, quality = laid.grid, laid.quality
    volumes_ml = {} if quality.problems else _own_volumes_ml(laid)
    duration_s = round(time.monotonic() - began, 2)
    report: dict[str, Any] = {
        "version": VERSION,
        "passed": not quality.problems,
        "problems": list(quality.problems),
        "quality": asdict(quality),
        "spacing_mm": on.spacing_mm,
        "head_scale": laid.head_scale,
        "volumes_ml": {each: round(ml, 3) for each, ml in volumes_ml.items()},
        "scan": {
            "kind": scan.header.kind,
            "voxels": list(scan.header.shape),
            "spacing_mm": [round(float(edge), 4) for edge in scan.header.spacing_mm],
        },
        "source_sha256": source_sha256,
        "duration_s": duration_s,
    }
    path = out / f"{name}_qc.json"
    if quality.problems:
        picture = out / f"{name}_qc.png"
        draw(picture, laid.judged, JUDGED_ON)
        _write_json(path, report)
        raise QualityError(quality, picture)
    volume = out / f"{name}_mni152_{on.spacing_mm:g}mm.nii.gz"
    write_volume(volume, laid.registered, on, synthetic=False, description="")
    own = out / f"{name}_mask.nii.gz"
    _write_mask(own, laid, scan)
    _write_json(path, report)  # last: whoever finds it finds the rest
    return Preprocessed(
        volume, own, path, quality, on.spacing_mm, laid.head_scale, volumes_ml, source_sha256,
        duration_s,
    )  # fmt: skip


def scan_name(source: Path) -> str:
    """A scan's name: its file's without the ending."""
    lower = source.name.lower()
    ending = max((each for each in ENDINGS if lower.endswith(each)), key=len, default="")
    return source.name[: len(source.name) - len(ending)] or "scan"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_volumes_ml(laid: Laid) -> dict[str, float]:
    """Volumes of structures in the person's own head, not the template's."""
    normalised = torch.from_numpy(normalise(laid.judged, brain_mask(JUDGED_ON)))[None]
    found = structure_volumes_ml(normalised, JUDGED_ON)[0] / laid.head_scale
    return dict(zip(STRUCTURES, found.tolist(), strict=True))


def _write_mask(path: Path, laid: Laid, scan: RawScan) -> None:
    """Write the mask in the scan's own order of axes, so that it lies over the file as it came."""
    voxels = laid.mask.astype(np.uint8)
    upright: Any = nib.Nifti1Image(voxels, laid.affine)  # type: ignore[no-untyped-call]
    axes: Any = nib.orientations
    back = axes.ornt_transform(axes.io_orientation(laid.affine), axes.io_orientation(scan.affine))
    turned = np.asarray(upright.as_reoriented(back).dataobj)
    own: Any = nib.Nifti1Image(turned, scan.affine)  # type: ignore[no-untyped-call]
    own.header.set_xyzt_units("mm")
    nib.save(own, path)


def _write_json(path: Path, report: dict[str, Any]) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)
