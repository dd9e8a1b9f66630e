"""The headers of NIfTI-1, NIfTI-2 and MGH, checked number by number; standard library only.

Everything is refused here that a reader would crash on, misread in silence, or need a guess for: a
volume whose left and right are not known is no use to anybody.
No sentence holds header text: hospitals put people's names there.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_VOXELS = 2**26
"""400 x 400 x 420: a head at .6 mm. A float copy of it takes 256 MiB."""
MAX_PRELUDE_BYTES = 2**20
"""Header and extensions of NIfTI, or the footer of MGH."""
MIN_EDGE, MAX_EDGE = 16, 1024
MIN_SPACING_MM, MAX_SPACING_MM = 0.2, 8.0
MIN_FIELD_MM, MAX_FIELD_MM = 100.0, 500.0
MIN_SCALE, MAX_SCALE = 1e-20, 1e20
FLATTEST = 1e-3
"""Smallest share of the voxel's box that its axes may span: below, they lie in one plane."""
EXPORT = "Export the scan again as .nii.gz, for example with dcm2niix."

# NIfTI's code of a type to numpy's name and the bits of a voxel.
NIFTI_TYPES = {
    2: ("uint8", 8),
    4: ("int16", 16),
    8: ("int32", 32),
    16: ("float32", 32),
    64: ("float64", 64),
    256: ("int8", 8),
    512: ("uint16", 16),
    768: ("uint32", 32),
    1024: ("int64", 64),
    1280: ("uint64", 64),
}
NIFTI_REFUSED_TYPES = {
    1: "one bit a voxel",
    32: "complex numbers",
    128: "RGB colours",
    1536: "128-bit numbers",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "RGBA colours",
}
MGH_TYPES = {
    0: ("uint8", 8),
    1: ("int32", 32),
    3: ("float32", 32),
    4: ("int16", 16),
    10: ("uint16", 16),
}
MGH_DATA_START = 284
HEAD_BYTES = 540
"""Enough of any header to check it."""

# Where each field stands: struct's format and the first byte.
_NIFTI1 = {
    "dim": ("8h", 40),
    "datatype": ("h", 70),
    "bitpix": ("h", 72),
    "pixdim": ("8f", 76),
    "vox_offset": ("f", 108),
    "scale": ("2f", 112),
    "units": ("B", 123),
    "codes": ("2h", 252),
    "quaternion": ("6f", 256),
    "rows": ("12f", 280),
}
_NIFTI2 = {
    "datatype": ("h", 12),
    "bitpix": ("h", 14),
    "dim": ("8q", 16),
    "pixdim": ("8d", 104),
    "vox_offset": ("q", 168),
    "scale": ("2d", 176),
    "codes": ("2i", 344),
    "quaternion": ("6d", 352),
    "rows": ("12d", 400),
    "units": ("i", 500),
}
_MGH = {
    "dim": ("4i", 4),
    "type": ("i", 20),
    "good_ras": ("h", 28),
    "spacing": ("3f", 30),
    "cosines": ("9f", 42),
    "centre": ("3f", 78),
}

Row = tuple[int | float, ...]


class ScanFileError(ValueError):
    """A file cannot be taken as a scan; one sentence says what, the value, the limit, the way out.

    It never holds the file's name or header text.
    """


class Kind(StrEnum):
    """The kinds of file that are taken."""

    NIFTI = "NIfTI"
    MGH = "MGH"
    DICOM_ZIP = "zipped DICOM series"


@dataclass(frozen=True, slots=True)
class ScanHeader:
    """What the header of a scan file says, checked.

    Attributes:
        kind: the format.
        shape: voxels along the three axes; empty for DICOM, whose volume is not built yet.
        spacing_mm: voxel edges; empty for DICOM.
        datatype: of the stored voxels, as numpy names it; empty for DICOM.
        unpacked_bytes: size of the file once unpacked.
        files: DICOM files in a zip, else 1.
    """

    kind: Kind
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    datatype: str
    unpacked_bytes: int
    files: int = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the voxels lie in the unpacked stream.

    Attributes:
        header: what is told to callers.
        order: struct's sign of the file's byte order, "<" or ">".
        extensions_start: first byte after NIfTI's header; `data_start` for MGH, which has none.
        data_start, data_bytes, voxel_bytes: of the voxels.
        footer_bytes: how many bytes may follow the voxels.
    """

    header: ScanHeader
    order: str
    extensions_start: int
    data_start: int
    data_bytes: int
    voxel_bytes: int
    footer_bytes: int


def is_nifti(head: bytes) -> bool:
    """Whether the first bytes are a header of NIfTI-1 or NIfTI-2, in either byte order."""
    return _size(head) in {348, 540}


def is_mgh(head: bytes) -> bool:
    """Whether the first bytes are a header of MGH, version 1."""
    return len(head) >= MGH_DATA_START and head[:4] == b"\0\0\0\1"


def nifti_layout(head: bytes) -> Layout:
    """Check a NIfTI header and say where the voxels lie.

    Raises:
        ScanFileError: the header contradicts itself, passes a limit, or leaves a guess.
    """
    second = _size(head) == 540
    size, table = (540, _NIFTI2) if second else (348, _NIFTI1)
    if len(head) < size:
        raise ScanFileError(
            f"The file ends inside its header, after {len(head)} of {size} bytes. {EXPORT}"
        )
    magic = head[4:12] if second else head[344:348]
    if magic != (b"n+2\0\r\n\x1a\n" if second else b"n+1\0"):
        raise ScanFileError(
            "The header lacks the mark of a single NIfTI file (n+1 or n+2), as in a pair of .hdr "
            f"and .img or in ANALYZE; only single files are taken. {EXPORT}"
        )
    order = "<" if struct.unpack("<i", head[:4])[0] in {348, 540} else ">"
    fields = _read(head, table, order)
    shape = _shape(fields["dim"])
    datatype, bits = _nifti_type(int(fields["datatype"][0]), int(fields["bitpix"][0]))
    _check_scale(*fields["scale"])
    spacing = _check_affine(_nifti_axes(fields), shape)
    start = _data_start(fields["vox_offset"][0], size + 4)
    data = math.prod(shape) * bits // 8
    header = ScanHeader(Kind.NIFTI, shape, spacing, datatype, start + data)
    return Layout(header, order, size, start, data, bits // 8, footer_bytes=0)


def mgh_layout(head: bytes) -> Layout:
    """Check an MGH header and say where the voxels lie.

    Raises:
        ScanFileError: the header contradicts itself, passes a limit, or leaves a guess.
    """
    fields = _read(head, _MGH, ">")
    shape = _shape((4, *fields["dim"]))
    code = int(fields["type"][0])
    if code not in MGH_TYPES:
        raise ScanFileError(
            f"The header gives the voxel type {code}; MGH has {_names(MGH_TYPES)}. {EXPORT}"
        )
    if fields["good_ras"] != (1,):
        raise ScanFileError(
            "The header does not say how the head lies (goodRASFlag is not 1), so left and right "
            f"are unknown. {EXPORT}"
        )
    datatype, bits = MGH_TYPES[code]
    cosines, spacing = fields["cosines"], fields["spacing"]
    columns = [tuple(c * spacing[k] for c in cosines[3 * k : 3 * k + 3]) for k in range(3)]
    if not all(math.isfinite(value) for value in fields["centre"]):
        raise ScanFileError(f"The header puts the centre at a number that is none. {EXPORT}")
    found = _check_affine(columns, shape)
    start, data = MGH_DATA_START, math.prod(shape) * bits // 8
    header = ScanHeader(Kind.MGH, shape, found, datatype, start + data)
    return Layout(header, ">", start, start, data, bits // 8, footer_bytes=MAX_PRELUDE_BYTES)


def check_extensions(prelude: bytes, layout: Layout) -> None:
    """Walk NIfTI's extensions, which lie between header and voxels; their content is never read.

    Raises:
        ScanFileError: an extension's size is negative, no multiple of 16, or past the voxels.
    """
    at, end = layout.extensions_start + 4, layout.data_start
    if layout.header.kind is not Kind.NIFTI or prelude[at - 4 : at - 3] in {b"", b"\0"}:
        return
    while at + 8 <= end:
        (size,) = struct.unpack(layout.order + "i", prelude[at : at + 4])
        if size == 0 and not any(prelude[at:end]):
            return  # padding up to the voxels
        if size < 16 or size % 16 or at + size > end:
            raise ScanFileError(
                f"A header extension claims {size:,} bytes; it must have a multiple of 16, from "
                f"16 to the {end - at:,} before the voxels. {EXPORT}"
            )
        at += size


def _size(head: bytes) -> int:
    if len(head) < 4:
        return 0
    sizes = struct.unpack("<i", head[:4]) + struct.unpack(">i", head[:4])
    return next((size for size in sizes if size in {348, 540}), 0)


def _read(head: bytes, table: dict[str, tuple[str, int]], order: str) -> dict[str, Row]:
    return {
        name: struct.unpack_from(order + layout, head, at) for name, (layout, at) in table.items()
    }


def _shape(dim: Row) -> tuple[int, ...]:
    axes, sizes = int(dim[0]), [int(size) for size in dim[1:]]
    if not 3 <= axes <= 7:
        raise ScanFileError(
            f"The header gives {axes} axes; a volume has 3. Choose one T1 volume. {EXPORT}"
        )
    used, more = sizes[:3], sizes[3:axes]
    if any(size != 1 for size in more):
        raise ScanFileError(
            f"The header gives {_times([*used, *more])} voxels, more than one volume; a scan is "
            "one volume of three axes. Choose one T1 volume and export it alone."
        )
    if any(not MIN_EDGE <= size <= MAX_EDGE for size in used):
        raise ScanFileError(
            f"The header gives {_times(used)} voxels; each axis must have from {MIN_EDGE} to "
            f"{MAX_EDGE}. {EXPORT}"
        )
    if math.prod(used) > MAX_VOXELS:
        raise ScanFileError(
            f"The header gives {_times(used)} = {math.prod(used):,} voxels; at most "
            f"{MAX_VOXELS:,} are taken. Resample the scan to 1 mm and try again."
        )
    return tuple(used)


def _nifti_type(code: int, bitpix: int) -> tuple[str, int]:
    if code in NIFTI_REFUSED_TYPES:
        raise ScanFileError(
            f"The voxels are {NIFTI_REFUSED_TYPES[code]} (type {code}); a T1 volume has one whole "
            f"or real number a voxel. Export the magnitude image as .nii.gz."
        )
    if code not in NIFTI_TYPES:
        raise ScanFileError(
            f"The header gives the voxel type {code}, which NIfTI does not know; taken are "
            f"{_names(NIFTI_TYPES)}. {EXPORT}"
        )
    datatype, bits = NIFTI_TYPES[code]
    if bitpix != bits:
        raise ScanFileError(
            f"The header gives {bitpix} bits a voxel, but its type {datatype} has {bits}. {EXPORT}"
        )
    return datatype, bits


def _check_scale(slope: float, inter: float) -> None:
    """A slope of 0 means "no scale" in the standard."""
    usable = slope == 0 or MIN_SCALE <= abs(slope) <= MAX_SCALE
    if not (usable and abs(inter) <= MAX_SCALE):  # false for NaN, too
        raise ScanFileError(
            f"The header scales voxels by {slope:g} and adds {inter:g}; both must be numbers up to "
            f"{MAX_SCALE:g}, the first at least {MIN_SCALE:g} or 0 for none. {EXPORT}"
        )


def _data_start(offset: int | float, least: int) -> int:
    if not (least <= offset <= MAX_PRELUDE_BYTES and offset == int(offset)):
        raise ScanFileError(
            f"The header puts the first voxel at byte {offset:g}; it must be a whole number from "
            f"{least} to {MAX_PRELUDE_BYTES:,}. {EXPORT}"
        )
    return int(offset)


def _nifti_axes(fields: dict[str, Row]) -> list[Row]:
    """The step in mm along each voxel axis, from the sform or, without one, from the qform."""
    qform_code, sform_code = fields["codes"]
    if int(fields["units"][0]) & 7 not in {0, 2}:
        raise ScanFileError(
            f"The header measures space in unit {int(fields['units'][0]) & 7}; only millimetres "
            f"(2) are taken. {EXPORT}"
        )
    if sform_code <= 0 and qform_code <= 0:
        raise ScanFileError(
            "The header does not say how the head lies (sform_code and qform_code are 0), so left "
            f"and right are unknown. {EXPORT}"
        )
    rows = fields["rows"]
    sform: list[Row] = [(rows[k], rows[4 + k], rows[8 + k]) for k in range(3)]
    offsets = (rows[3], rows[7], rows[11]) if sform_code > 0 else fields["quaternion"][3:]
    if not all(math.isfinite(value) for value in offsets):
        raise ScanFileError(f"The header puts voxel (0, 0, 0) at no place at all (NaN). {EXPORT}")
    if qform_code <= 0:
        return sform
    qform = _rotation(fields["quaternion"][:3], fields["pixdim"])
    if sform_code <= 0:
        return qform
    if _volume(sform) * _volume(qform) < 0:
        raise ScanFileError(
            "The header's two descriptions of how the head lies (sform and qform) exchange left "
            f"and right between them. {EXPORT}"
        )
    return sform


def _rotation(quaternion: Row, pixdim: Row) -> list[Row]:
    b, c, d = quaternion
    rest = 1 - (b * b + c * c + d * d)
    if not rest > -1e-4:  # also for NaN
        raise ScanFileError(
            f"The header's rotation (quaternion {b:g}, {c:g}, {d:g}) is longer than 1. {EXPORT}"
        )
    a = math.sqrt(max(rest, 0.0))
    flip = -1.0 if pixdim[0] < 0 else 1.0
    x, y, z = pixdim[1], pixdim[2], flip * pixdim[3]
    return [
        (x * (a * a + b * b - c * c - d * d), x * 2 * (b * c + a * d), x * 2 * (b * d - a * c)),
        (y * 2 * (b * c - a * d), y * (a * a + c * c - b * b - d * d), y * 2 * (c * d + a * b)),
        (z * 2 * (b * d + a * c), z * 2 * (c * d - a * b), z * (a * a + d * d - c * c - b * b)),
    ]


def _check_affine(columns: list[Row], shape: tuple[int, ...]) -> Row:
    if not all(math.isfinite(value) for column in columns for value in column):
        raise ScanFileError(f"The header's affine holds NaN or infinite numbers. {EXPORT}")
    spacing = tuple(math.hypot(*column) for column in columns)
    if not all(MIN_SPACING_MM <= edge <= MAX_SPACING_MM for edge in spacing):
        raise ScanFileError(
            f"The header gives voxels of {_times(spacing)} mm; each edge must have from "
            f"{MIN_SPACING_MM:g} to {MAX_SPACING_MM:g} mm. {EXPORT}"
        )
    if abs(_volume(columns)) < FLATTEST * math.prod(spacing):
        raise ScanFileError(
            f"The header's affine is singular: its three axes lie in one plane. {EXPORT}"
        )
    field = [edge * size for edge, size in zip(spacing, shape, strict=True)]
    if not all(MIN_FIELD_MM <= extent <= MAX_FIELD_MM for extent in field):
        raise ScanFileError(
            f"The volume measures {_times(field)} mm; a scan of a whole brain has from "
            f"{MIN_FIELD_MM:g} to {MAX_FIELD_MM:g} mm along each axis. Choose another series."
        )
    return spacing


def _volume(columns: list[Row]) -> float:
    """The determinant: negative where the axes are left-handed."""
    (a, b, c), (d, e, f), (g, h, i) = columns
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _times(edges: Sequence[int | float]) -> str:
    return " x ".join(f"{edge:.5g}" if isinstance(edge, float) else str(edge) for edge in edges)


def _names(types: dict[int, tuple[str, int]]) -> str:
    return ", ".join(name for name, _ in types.values())
