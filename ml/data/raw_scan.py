"""A scan as it left the hospital, read into memory: NIfTI, MGH or a zipped DICOM series.

`ml.data.scan_file` has looked at the file before anything here parses it. What comes out is voxels
and an affine: no header text, no identifier.
"""

import gzip
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from ml.data.scan_file import GZIP_MAGIC, ScanFileError, check_scan_file
from ml.data.scan_header import EXPORT, Kind, ScanHeader
from ml.data.scan_zip import AGAIN, unpack_dicom_zip

CONVERSION_S = 120
CONVERSION_BYTES = 3 * 2**30


@dataclass(frozen=True, slots=True)
class RawScan:
    """Voxels and where they lie; nothing that tells who this is.

    Attributes:
        voxels: intensities, in the file's own order of axes.
        affine: voxel index to the scanner's coordinates in mm (x right, y front, z up).
        header: what the file's header said; for DICOM, that of the volume built from it.
    """

    voxels: Float32[ndarray, "x y z"]
    affine: Float[ndarray, "4 4"]
    header: ScanHeader


def read_scan(path: Path) -> RawScan:
    """Check a scan file and read its voxels.

    Raises:
        ScanFileError: as `check_scan_file`; or voxels are NaN or infinite, or a DICOM zip does
            not make exactly one volume.
    """
    header = check_scan_file(path)
    if header.kind is not Kind.DICOM_ZIP:
        return _read_volume(path, header)
    with tempfile.TemporaryDirectory() as folder:
        slices, volumes = Path(folder, "slices"), Path(folder, "volumes")
        slices.mkdir()
        volumes.mkdir()
        unpack_dicom_zip(path, slices)
        volume = _one_volume(slices, volumes)
        return _read_volume(volume, check_scan_file(volume))


def _read_volume(path: Path, header: ScanHeader) -> RawScan:
    """The format is given, not guessed from the name: uploads are stored under names of ours."""
    form: Any = nib.MGHImage
    if header.kind is Kind.NIFTI:
        form = nib.Nifti2Image if _is_nifti2(path) else nib.Nifti1Image
    try:
        with _opened(path) as file, np.errstate(over="ignore", invalid="ignore"):
            image = form.from_stream(file)
            voxels = np.asarray(image.dataobj, dtype=np.float32).reshape(header.shape)
            affine = np.asarray(image.affine, dtype=np.float64)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise ScanFileError(
            f"The volume cannot be read ({type(error).__name__}). {EXPORT}"
        ) from None
    bad = int(voxels.size - np.isfinite(voxels).sum())
    if bad:
        raise ScanFileError(
            f"{bad:,} of {voxels.size:,} voxels are NaN or infinite; none is allowed. {EXPORT}"
        )
    return RawScan(voxels, affine, header)


def _opened(path: Path) -> Any:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    return gzip.open(path) if packed else path.open("rb")


def _is_nifti2(path: Path) -> bool:
    with _opened(path) as file:
        return bytes(file.read(8)[4:7]) == b"n+2"


def _one_volume(slices: Path, out: Path) -> Path:
    """Run dcm2niix in a process of its own, with a limit on time and memory.

    It writes no JSON beside the volume, and a name of ours; the header that it fills is not read
    beyond its numbers.
    """
    command = [dcm2niix.bin, "-b", "n", "-z", "n", "-f", "volume", "-o", out, slices]
    process = subprocess.Popen(  # noqa: S603 - the arguments are ours
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    resource.prlimit(process.pid, resource.RLIMIT_AS, (CONVERSION_BYTES, CONVERSION_BYTES))
    try:
        process.wait(timeout=CONVERSION_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise ScanFileError(
            f"The DICOM series was not converted within {CONVERSION_S} s. {AGAIN}"
        ) from None
    found = sorted(out.glob("*.nii"))
    if len(found) != 1:
        raise ScanFileError(
            f"The DICOM files make {len(found)} volumes; a scan is one. Choose one T1 series. "
            f"{AGAIN}"
        )
    return found[0]
