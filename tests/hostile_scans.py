"""Scan files that mean harm, are broken, or only look odd: each made when asked for.

`ITEMS` maps a name to a function that gives the file's bytes; `EXPECTED` says what must become of
it when it is looked at before parsing ("good" or "refused"); `FILE_NAMES` the name it is sent
under. `VOXELS_REFUSED` are those that pass that look and are refused when voxels are read.
"""

import gzip
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

EDGE, SPACING_MM = 48, 4.0
CANARY = "Zaphod^Beeblebrox"
NIFTI1 = {
    "dim": ("8h", 40),
    "datatype": ("h", 70),
    "bitpix": ("h", 72),
    "pixdim": ("8f", 76),
    "vox_offset": ("f", 108),
    "scl_slope": ("f", 112),
    "scl_inter": ("f", 116),
    "units": ("B", 123),
    "descrip": ("80s", 148),
    "aux_file": ("24s", 228),
    "qform_code": ("h", 252),
    "sform_code": ("h", 254),
    "quaternion": ("3f", 256),
    "rows": ("12f", 280),
    "intent_name": ("16s", 328),
    "magic": ("4s", 344),
}


@lru_cache(maxsize=1)
def head() -> np.ndarray:
    """An egg with a skull around it and noise everywhere."""
    rng = np.random.default_rng(1)
    x, y, z = (np.indices((EDGE,) * 3) - EDGE / 2) * SPACING_MM
    radius = np.sqrt((x / 68) ** 2 + (y / 84) ** 2 + (z / 66) ** 2)
    voxels = 600 * (radius < 0.9) + 900 * ((radius > 1.02) & (radius < 1.1))
    return (voxels + rng.normal(80, 12, voxels.shape)).astype("<i2")


def nifti(
    voxels: np.ndarray | bytes | None = None, extensions: bytes | None = None, **fields: object
) -> bytes:
    """A NIfTI-1 file of `voxels`, right but for the fields that are given."""
    data = head() if voxels is None else voxels
    body = data if isinstance(data, bytes) else data.tobytes(order="F")
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    between = b"\0" * 4 if extensions is None else b"\1\0\0\0" + extensions
    step = (SPACING_MM,) * 3
    values: dict[str, object] = {
        "dim": (3, EDGE, EDGE, EDGE, 1, 1, 1, 1),
        "datatype": 4,
        "bitpix": 16,
        "pixdim": (1, *step, 1, 1, 1, 1),
        "vox_offset": 348 + len(between),
        "scl_slope": 1,
        "units": 2,
        "sform_code": 1,
        "rows": (step[0], 0, 0, -96, 0, step[1], 0, -96, 0, 0, step[2], -96),
        "magic": b"n+1\0",
    } | fields
    for name, value in values.items():
        layout, at = NIFTI1[name]
        struct.pack_into(
            "<" + layout, header, at, *(value if isinstance(value, tuple) else [value])
        )
    return bytes(header) + between + body


def nifti2(**changes: object) -> bytes:
    """A NIfTI-2 file of the same head."""
    header = bytearray(544)
    step = SPACING_MM
    struct.pack_into("<i8s2h8q", header, 0, 540, b"n+2\0\r\n\x1a\n", 4, 16,
                     *changes.get("dim", (3, EDGE, EDGE, EDGE, 1, 1, 1, 1)))  # fmt: skip
    struct.pack_into("<8d", header, 104, 1, step, step, step, 1, 1, 1, 1)
    struct.pack_into("<q2d", header, 168, changes.get("vox_offset", 544), 1, 0)
    struct.pack_into("<2i", header, 344, 0, 1)
    struct.pack_into("<12d", header, 400, step, 0, 0, -96, 0, step, 0, -96, 0, 0, step, -96)
    struct.pack_into("<i", header, 500, 2)
    return bytes(header) + head().tobytes(order="F")


def mgh(*, good_ras: int = 1, dim: tuple[int, ...] = (EDGE, EDGE, EDGE, 1), kind: int = 4) -> bytes:
    """An MGH file of the same head, with a footer."""
    header = bytearray(284)
    struct.pack_into(">7i", header, 0, 1, *dim, kind, 0)
    struct.pack_into(">h3f9f3f", header, 28, good_ras, *(SPACING_MM,) * 3,
                     -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, 0)  # fmt: skip
    return bytes(header) + head().astype(">i2").tobytes(order="F") + b"\0" * 16 + CANARY.encode()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def bomb() -> bytes:
    """About 1 MiB of gzip that unpacks to 1 GiB: right header, zeros, right checksum."""
    block = b"\0" * 2**24
    body = nifti(b"")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(body) + packer.flush(zlib.Z_FULL_FLUSH)
    once = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = zlib.crc32(body)
    for _ in range(64):
        checksum = zlib.crc32(block, checksum)
    size = len(body) + 64 * len(block)
    magic = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    tail = packer.flush() + struct.pack("<2I", checksum, size & 0xFFFFFFFF)
    return magic + start + once * 64 + tail


def cut(twentieth: int, content: Callable[[], bytes]) -> bytes:
    whole = content()
    return whole[: max(1, len(whole) * twentieth // 20)]


def extension(size: int, length: int = 32) -> bytes:
    return struct.pack("<2i", size, 6) + b"<script>".ljust(length - 8, b"\0")


def _element(group: int, number: int, kind: str, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    raw += (b"\0" if kind in {"UI", "OB"} else b" ") * (len(raw) % 2)
    length = struct.pack("<2xI", len(raw)) if kind in {"OB", "OW"} else struct.pack("<H", len(raw))
    return struct.pack("<2H", group, number) + kind.encode() + length + raw


def dicom_slice(number: int, *, series: int = 1) -> bytes:
    """One axial slice of the head as DICOM, with a name, an identifier and a birth date in it."""
    pixels = np.clip(head()[::-1, ::-1, number], 0, 4000).astype("<u2").T.tobytes()
    uid = f"1.2.826.0.1.3680043.2.1125.{series}"
    meta = b"".join(
        [
            _element(2, 0x02, "UI", "1.2.840.10008.5.1.4.1.1.4"),
            _element(2, 0x03, "UI", f"{uid}.{number + 1}"),
            _element(2, 0x10, "UI", "1.2.840.10008.1.2.1"),
        ]
    )
    shorts = {
        (0x28, 0x02): 1, (0x28, 0x10): EDGE, (0x28, 0x11): EDGE, (0x28, 0x100): 16,
        (0x28, 0x101): 16, (0x28, 0x102): 15, (0x28, 0x103): 0,
    }  # fmt: skip
    place = (-92.0, -92.0, -96 + SPACING_MM * number)  # x to the left, y to the back
    elements = {
        (0x08, 0x08): ("CS", "ORIGINAL\\PRIMARY\\OTHER"),
        (0x08, 0x16): ("UI", "1.2.840.10008.5.1.4.1.1.4"),
        (0x08, 0x18): ("UI", f"{uid}.{number + 1}"),
        (0x08, 0x20): ("DA", "20200102"),
        (0x08, 0x60): ("CS", "MR"),
        (0x08, 0x70): ("LO", "SIEMENS"),
        (0x08, 0x103E): ("LO", f"T1 {CANARY}"),
        (0x10, 0x10): ("PN", CANARY),
        (0x10, 0x20): ("LO", f"MRN-{CANARY}"),
        (0x10, 0x30): ("DA", "19420111"),
        (0x18, 0x50): ("DS", f"{SPACING_MM}"),
        (0x18, 0x80): ("DS", "2000"),
        (0x18, 0x81): ("DS", "3"),
        (0x20, 0x0D): ("UI", f"{uid}.0.1"),
        (0x20, 0x0E): ("UI", f"{uid}.0.2"),
        (0x20, 0x11): ("IS", f"{series}"),
        (0x20, 0x13): ("IS", f"{number + 1}"),
        (0x20, 0x32): ("DS", "\\".join(f"{value:g}" for value in place)),
        (0x20, 0x37): ("DS", "1\\0\\0\\0\\1\\0"),
        (0x28, 0x04): ("CS", "MONOCHROME2"),
        (0x28, 0x30): ("DS", f"{SPACING_MM}\\{SPACING_MM}"),
        **{tag: ("US", struct.pack("<H", value)) for tag, value in shorts.items()},
        (0x7FE0, 0x10): ("OW", pixels),
    }
    body = b"".join(_element(*tag, *elements[tag]) for tag in sorted(elements))
    length = _element(2, 0, "UL", struct.pack("<I", len(meta)))
    return b"\0" * 128 + b"DICM" + length + meta + body


@lru_cache(maxsize=1)
def slices() -> dict[str, bytes]:
    return {f"IM{number:04d}": dicom_slice(number) for number in range(EDGE)}


def zipped(more: dict[str | zipfile.ZipInfo, bytes] | None = None, *, series: bool = True) -> bytes:
    """A zip of the series and of further entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in ((slices() if series else {}) | (more or {})).items():
            archive.writestr(name, content)
    return out.getvalue()


def symlink() -> bytes:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped({entry: b"/etc/passwd"})


def overlapping() -> bytes:
    """Two entries of the directory point at the same bytes."""
    whole = bytearray(zipped())
    first = whole.find(b"PK\1\2")
    second = whole.find(b"PK\1\2", first + 4)
    whole[second + 42 : second + 46] = whole[first + 42 : first + 46]
    return bytes(whole)


def lying_size() -> bytes:
    """The directory announces less than a file unpacks to."""
    whole = bytearray(zipped())
    entry = whole.find(b"PK\1\2")
    struct.pack_into("<I", whole, entry + 24, 200)
    return bytes(whole)


def encrypted() -> bytes:
    whole = bytearray(zipped())
    at = whole.find(b"PK\1\2")
    while at >= 0:
        whole[at + 8] |= 1
        at = whole.find(b"PK\1\2", at + 4)
    return bytes(whole)


def _same(value: float, kind: str = "<f4") -> bytes:
    code = {"<f4": (16, 32), "<i2": (4, 16)}[kind]
    return nifti(np.full((EDGE,) * 3, value, kind), datatype=code[0], bitpix=code[1])


def _real(fill: float, share: float) -> bytes:
    """The head with some voxels that are no number."""
    voxels = head().astype("<f4")
    voxels.ravel()[: int(voxels.size * share)] = fill
    return nifti(voxels, datatype=16, bitpix=32)


def _member(content: bytes) -> bytes:
    half = len(content) // 2
    return gzipped(content[:half]) + gzipped(content[half:])


STEP = SPACING_MM
ROWS = (STEP, 0, 0, -96, 0, STEP, 0, -96, 0, 0, STEP, -96)
MARKUP = b"<script>alert(1)</script>"
GOOD: dict[str, Callable[[], bytes]] = {
    "a plain NIfTI-1": nifti,
    "a gzipped NIfTI-1": lambda: gzipped(nifti()),
    "a NIfTI-2": nifti2,
    "an MGH": mgh,
    "an MGZ": lambda: gzipped(mgh()),
    "a zipped DICOM series": zipped,
    "a zip with a report beside the series": lambda: zipped({"report.txt": b"see " * 50}),
    "one volume in two gzip members": lambda: _member(nifti()),
    "a fourth axis of one": partial(nifti, dim=(4, EDGE, EDGE, EDGE, 1, 1, 1, 1)),
    "scl_slope 0, which means none": partial(nifti, scl_slope=0),
    "a script in descrip": partial(nifti, descrip=MARKUP),
    "../ in aux_file": partial(nifti, aux_file=b"../../etc/passwd"),
    "a script in intent_name": partial(nifti, intent_name=MARKUP[:16]),
    "a script in an extension": lambda: nifti(extensions=extension(32)),
}
VOXELS_REFUSED: dict[str, Callable[[], bytes]] = {
    "some voxels are NaN": lambda: _real(np.nan, 0.1),
    "some voxels are infinite": lambda: _real(np.inf, 0.1),
    "all voxels but one are NaN": lambda: _real(np.nan, 0.99999),
}
REFUSED: dict[str, Callable[[], bytes]] = {
    "1 MiB that unpacks to 1 GiB": bomb,
    "32767 voxels along each axis": partial(nifti, dim=(3, 32767, 32767, 32767, 1, 1, 1, 1)),
    "1024 voxels along each axis": partial(nifti, dim=(3, 1024, 1024, 1024, 1, 1, 1, 1)),
    "NIfTI-2 of 2^62 voxels": lambda: nifti2(dim=(3, 2**62, 2**62, 2**62, 1, 1, 1, 1)),
    "a negative dimension": partial(nifti, dim=(3, -EDGE, EDGE, EDGE, 1, 1, 1, 1)),
    "a dimension of zero": partial(nifti, dim=(3, 0, EDGE, EDGE, 1, 1, 1, 1)),
    "seven dimensions": partial(nifti, dim=(7, EDGE, EDGE, EDGE, 2, 2, 2, 2)),
    "dim[0] of 0": partial(nifti, dim=(0, EDGE, EDGE, EDGE, 1, 1, 1, 1)),
    "dim[0] of 300": partial(nifti, dim=(300, EDGE, EDGE, EDGE, 1, 1, 1, 1)),
    "a time series": partial(nifti, dim=(4, EDGE, EDGE, EDGE, 90, 1, 1, 1)),
    "NaN in the affine": partial(nifti, rows=(float("nan"), *ROWS[1:])),
    "NaN in the affine's offset": partial(nifti, rows=(*ROWS[:3], float("nan"), *ROWS[4:])),
    "a singular affine": partial(nifti, rows=(STEP, STEP, 0, 0, STEP, STEP, 0, 0, 0, 0, STEP, 0)),
    "an affine of zeros": partial(nifti, rows=(0,) * 12),
    "a quaternion longer than 1": partial(
        nifti, sform_code=0, qform_code=1, quaternion=(3.0, 3.0, 3.0)
    ),
    "sform and qform that exchange left and right": partial(
        nifti, qform_code=1, pixdim=(-1, STEP, STEP, STEP, 1, 1, 1, 1)
    ),
    "no orientation at all": partial(nifti, sform_code=0, qform_code=0),
    "space in metres": partial(nifti, units=1),
    "vox_offset past the end": partial(nifti, vox_offset=500_000),
    "vox_offset far past the end": partial(nifti, vox_offset=1e30),
    "vox_offset inside the header": partial(nifti, vox_offset=100),
    "vox_offset NaN": partial(nifti, vox_offset=float("nan")),
    "NIfTI-2 with a negative vox_offset": lambda: nifti2(vox_offset=-(2**62)),
    "bitpix against datatype": partial(nifti, bitpix=8),
    "RGB": lambda: nifti(bytes(3 * EDGE**3), datatype=128, bitpix=24),
    "complex numbers": lambda: nifti(bytes(8 * EDGE**3), datatype=32, bitpix=64),
    "an unknown type": partial(nifti, datatype=4242),
    "scl_slope NaN": partial(nifti, scl_slope=float("nan")),
    "scl_slope 1e38": partial(nifti, scl_slope=1e38),
    "scl_inter infinite": partial(nifti, scl_inter=float("inf")),
    "all NaN": lambda: _same(np.nan),
    "all zero": lambda: _same(0, "<i2"),
    "constant": lambda: _same(7, "<i2"),
    "trailing garbage after NIfTI": lambda: nifti() + b"garbage",
    "trailing garbage after gzip": lambda: gzipped(nifti()) + b"garbage",
    "a second gzip member too many": lambda: gzipped(nifti()) + gzipped(b"\0" * 4096),
    "a wrong CRC": lambda: gzipped(nifti())[:-8] + b"\1\2\3\4" + gzipped(nifti())[-4:],
    "gzip in gzip": lambda: gzipped(gzipped(nifti())),
    "a PNG named .nii": lambda: b"\x89PNG\r\n\x1a\n" + bytes(2000),
    "a ZIP named .nii": lambda: zipped({"a.txt": b"a"}, series=False),
    "an HTML page named .nii": lambda: b"<!doctype html>" + MARKUP * 40,
    "an ELF named .nii": lambda: b"\x7fELF" + bytes(2000),
    "a .hdr of a pair": partial(nifti, magic=b"ni1\0"),
    "a .hdr with a path": partial(nifti, magic=b"ni1\0", aux_file=b"/etc/passwd"),
    "an extension of negative size": lambda: nifti(extensions=extension(-16)),
    "an extension of 2 GiB": lambda: nifti(extensions=extension(2**31 - 16)),
    "an extension of size 0": lambda: nifti(extensions=extension(0)),
    "an extension of 17 bytes": lambda: nifti(extensions=extension(17)),
    "an MGH without orientation": lambda: mgh(good_ras=0),
    "an MGH of negative size": lambda: mgh(dim=(-EDGE, EDGE, EDGE, 1)),
    "an MGH of an unknown type": lambda: mgh(kind=9),
    "an MGH of two frames": lambda: mgh(dim=(EDGE, EDGE, EDGE, 2)),
    "an empty file": bytes,
    "one DICOM file": lambda: dicom_slice(3),
    "zip: a symlink": symlink,
    "zip: an absolute path": lambda: zipped({"/etc/cron.d/x": b"x"}),
    "zip: a path that climbs": lambda: zipped({"../../x.dcm": b"x"}),
    "zip: a path that climbs by backslash": lambda: zipped({"..\\..\\x.dcm": b"x"}),
    "zip: 10,000 entries": lambda: zipped({f"{n}": b"" for n in range(10_000)}, series=False),
    "zip: nested": lambda: zipped({"inner.zip": zipped()}),
    "zip: overlapping entries": overlapping,
    "zip: a size that lies": lying_size,
    "zip: encrypted": encrypted,
    "zip: nothing in it": lambda: zipped(series=False),
    "zip: cut": lambda: zipped()[:-40],
    **{f"NIfTI cut at {k}/20": partial(cut, k, nifti) for k in range(20)},
    **{f"gzip cut at {k}/20": partial(cut, k, lambda: gzipped(nifti())) for k in range(0, 20, 4)},
}  # fmt: skip

ITEMS: dict[str, Callable[[], bytes]] = GOOD | VOXELS_REFUSED | REFUSED
EXPECTED = {name: "refused" if name in REFUSED else "good" for name in ITEMS}
FILE_NAMES = {
    "an MGH": "scan.mgh",
    "an MGZ": "scan.mgz",
    "a ZIP named .nii": "scan.nii",
    **{name: "scan.nii.gz" for name in ITEMS if "gzip" in name or "unpacks" in name},
    **{name: "scan.zip" for name in ITEMS if name.startswith(("zip:", "a zip"))},
}
BAD_NAMES = {
    "a path that climbs": "../../x.nii",
    "a path of Windows": "..\\..\\x.nii",
    "NUL": "x\0.nii",
    "255 characters and more": "x" * 252 + ".nii",
    "many characters of three bytes": "脳" * 90 + ".nii",
    "right-to-left override": "x\u202eiin.exe.nii",
    "a leading dash": "-rf.nii",
    "a leading dot": ".x.nii",
    "a line break": "x\ny.nii",
    "another ending": "x.nii.exe",
}


def file_name(item: str) -> str:
    """The name under which an item is sent."""
    return FILE_NAMES.get(item, "scan.nii")
