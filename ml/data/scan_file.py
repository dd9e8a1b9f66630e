"""What a scan file is, told from its first bytes, before anything is unpacked or parsed.

Standard library only, so that a web process may ask. A NIfTI-1, NIfTI-2 or MGH volume, plain or
gzipped, is read once as a stream that stops at the length its header announces: a file that
unpacks to more is refused without the rest ever being held. A zip goes to `ml.data.scan_zip`.

No sentence of this module names the file: hospitals put people's names there.
"""

import gzip
import io
import unicodedata
import zlib
from pathlib import Path

from ml.data.scan_header import (
    EXPORT,
    HEAD_BYTES,
    Layout,
    ScanFileError,
    ScanHeader,
    check_extensions,
    is_mgh,
    is_nifti,
    mgh_layout,
    nifti_layout,
)
from ml.data.scan_zip import check_dicom_zip

__all__ = ["ScanFileError", "ScanHeader", "check_scan_file", "check_scan_name"]

MAX_NAME_BYTES = 255
ENDINGS = (".nii", ".nii.gz", ".mgh", ".mgz", ".zip")
CHUNK_BYTES = 2**20
GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK"
NOT_SCANS = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"%PDF", "a PDF document"),
    (b"<", "an HTML or XML page"),
    (GZIP_MAGIC, "an archive inside an archive"),
    (ZIP_MAGIC, "an archive inside an archive"),
)


def check_scan_name(name: str) -> None:
    """Refuse a file name that could do harm where it is stored or shown.

    Raises:
        ScanFileError: path parts, characters that cannot be seen, a leading dash or dot, more
            than 255 bytes, or an ending that is no scan's.
    """
    length = len(name.encode("utf-8", "replace"))
    if length > MAX_NAME_BYTES:
        raise ScanFileError(
            f"The file's name has {length} bytes; at most {MAX_NAME_BYTES} are allowed. Rename it."
        )
    if any(unicodedata.category(each) in {"Cc", "Cf", "Cs"} for each in name):
        raise ScanFileError(
            "The file's name holds a character that cannot be seen (a control character, or one "
            "that turns the direction of writing). Rename it with letters and digits."
        )
    if "/" in name or "\\" in name or name.startswith(("-", ".")):
        raise ScanFileError(
            "The file's name holds a slash or starts with a dash or a dot; only a plain name is "
            "taken. Rename it with letters and digits."
        )
    if not name.lower().endswith(ENDINGS):
        raise ScanFileError(f"The file's name must end in one of {', '.join(ENDINGS)}. {EXPORT}")


def check_scan_file(path: Path) -> ScanHeader:
    """Check a scan file by its bytes: header first, then the length of the unpacked stream.

    Nothing is held but one chunk of 1 MiB; what comes back is the header. Voxels are looked at
    only to refuse a volume in which all are equal.

    Raises:
        ScanFileError: the file is no scan, its header contradicts itself or passes a limit, it
            is cut, damaged or longer than its header says, or every voxel is the same.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise ScanFileError(f"The file is empty. {EXPORT}")
    if start.startswith(ZIP_MAGIC):
        return check_dicom_zip(path)
    try:
        if start.startswith(GZIP_MAGIC):
            with gzip.open(path) as unpacked:
                return _check_stream(unpacked)
        with path.open("rb") as plain:
            return _check_stream(plain)
    except EOFError:
        raise ScanFileError(
            f"The gzip stream ends before its end mark: the file is cut. {EXPORT}"
        ) from None
    except (gzip.BadGzipFile, zlib.error):
        raise ScanFileError(
            "The gzip stream is damaged: a wrong checksum, or bytes after its end that are no "
            f"gzip. {EXPORT}"
        ) from None


def _check_stream(stream: io.BufferedIOBase) -> ScanHeader:
    layout = _layout(stream.read(HEAD_BYTES))
    stream.seek(0)
    check_extensions(stream.read(layout.data_start), layout)
    _check_voxels(stream, layout)
    if len(stream.read(layout.footer_bytes + 1)) > layout.footer_bytes:
        raise ScanFileError(
            f"The file goes on after the {layout.header.unpacked_bytes:,} bytes that its header "
            f"announces; nothing may follow the voxels. {EXPORT}"
        )
    return layout.header


def _layout(head: bytes) -> Layout:
    if is_nifti(head):
        return nifti_layout(head)
    if is_mgh(head):
        return mgh_layout(head)
    if head[128:132] == b"DICM":
        raise ScanFileError(
            "The file is a single DICOM file; a scan is a whole series. "
            "Put the files of one series into a zip and upload that."
        )
    for magic, what in NOT_SCANS:
        if head.startswith(magic):
            raise ScanFileError(f"The file is {what}, not a scan. {EXPORT}")
    raise ScanFileError(
        f"The first {len(head)} bytes are no header of NIfTI-1, NIfTI-2 or MGH. {EXPORT}"
    )


def _check_voxels(stream: io.BufferedIOBase, layout: Layout) -> None:
    left = layout.data_bytes
    first, varies = b"", False
    while left:
        chunk = stream.read(min(CHUNK_BYTES, left))
        if not chunk:
            raise ScanFileError(
                f"The file ends {left:,} bytes before its last voxel, of {layout.data_bytes:,}: "
                f"it is cut. {EXPORT}"
            )
        first = first or chunk[: layout.voxel_bytes] * (CHUNK_BYTES // layout.voxel_bytes)
        varies = varies or chunk != first[: len(chunk)]
        left -= len(chunk)
    if not varies:
        raise ScanFileError(
            "Every voxel of the volume is the same; there is no head in it. Choose another series."
        )
