"""A zip of one DICOM series: its directory checked first, its files unpacked under our own names.

Standard library only. Nothing is ever written to a place that the zip names.
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ml.data.scan_header import Kind, ScanFileError, ScanHeader
from ml.data.zip_end import claimed_entries

MAX_ENTRIES = 5_000
MAX_UNPACKED_BYTES = 2**30
MAX_ENTRY_BYTES = 2**28
MIN_FILES = 16
"""A head of fewer slices is a localiser."""
CHUNK_BYTES = 2**20
DICOM_PREAMBLE_BYTES = 132
ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")
AGAIN = "Put the DICOM files of one series, and nothing else, into a new zip."


def check_dicom_zip(path: Path) -> ScanHeader:
    """Check a zip's directory, then each file's first bytes; nothing is written.

    Files that are no DICOM (a viewer, a report) are passed over; archives are refused.

    Raises:
        ScanFileError: the directory is damaged, passes a limit, or names a place outside; an
            entry is a link, encrypted or an archive; entries overlap; there is no series.
    """
    with _opened(path) as archive:
        entries = _checked_entries(archive, path.stat().st_size)
        files = sum(1 for entry in entries if _is_dicom(archive, entry))
        if files < MIN_FILES:
            raise ScanFileError(
                f"The zip holds {files} DICOM files; a series of a head has at least {MIN_FILES}. "
                f"{AGAIN}"
            )
        size = sum(entry.file_size for entry in entries)
    return ScanHeader(Kind.DICOM_ZIP, (), (), "", size, files)


def unpack_dicom_zip(path: Path, folder: Path) -> int:
    """Write the DICOM files of a zip into `folder` as 00001.dcm and so on; give back how many.

    Raises:
        ScanFileError: as `check_dicom_zip`, or a file is longer than the directory says.
    """
    check_dicom_zip(path)
    written = 0
    with _opened(path) as archive:
        for entry in _checked_entries(archive, path.stat().st_size):
            if not _is_dicom(archive, entry):
                continue
            written += 1
            with (folder / f"{written:05d}.dcm").open("wb") as out:
                for chunk in _chunks(archive, entry):
                    out.write(chunk)
    return written


def _opened(path: Path) -> zipfile.ZipFile:
    """The end record is read first: it says how many entries there are without listing them."""
    with path.open("rb") as file:
        claimed = claimed_entries(file)
    if claimed > MAX_ENTRIES:
        raise ScanFileError(
            f"The zip holds {claimed:,} entries; at most {MAX_ENTRIES:,} are taken. {AGAIN}"
        )
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
        raise ScanFileError(f"The zip's directory is damaged or cut. {AGAIN}") from None


def _checked_entries(archive: zipfile.ZipFile, archive_bytes: int) -> list[zipfile.ZipInfo]:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise ScanFileError(
            f"The zip holds {len(entries):,} entries; at most {MAX_ENTRIES:,} are taken. {AGAIN}"
        )
    names: set[str] = set()
    for entry in entries:
        _check_entry(entry)
        if entry.filename in names:
            raise ScanFileError(f"The zip holds two entries of one name. {AGAIN}")
        names.add(entry.filename)
    total = sum(entry.file_size for entry in entries)
    if total > MAX_UNPACKED_BYTES:
        raise ScanFileError(
            f"The zip unpacks to {total:,} bytes; at most {MAX_UNPACKED_BYTES:,} are taken. {AGAIN}"
        )
    _check_overlap(entries, archive_bytes)
    return [entry for entry in entries if not entry.is_dir()]


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename  # zipfile cuts `filename` at a NUL
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in name or "\0" in name:
        raise ScanFileError(
            "An entry of the zip names a place outside it (an absolute path, a drive or `..`). "
            f"{AGAIN}"
        )
    mode = entry.external_attr >> 16
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and stat.S_IFMT(mode):
        raise ScanFileError(f"An entry of the zip is a link or a device, not a file. {AGAIN}")
    if entry.flag_bits & 1:
        raise ScanFileError(f"The zip is encrypted; only open files can be read. {AGAIN}")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ScanFileError(
            f"The zip is compressed by method {entry.compress_type}; stored (0) and deflate (8) "
            f"are taken. {AGAIN}"
        )
    if entry.file_size > MAX_ENTRY_BYTES:
        raise ScanFileError(
            f"A file of the zip unpacks to {entry.file_size:,} bytes; at most "
            f"{MAX_ENTRY_BYTES:,} are taken. {AGAIN}"
        )


def _check_overlap(entries: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    """Entries that share bytes are how a small zip unpacks to any size."""
    starts = sorted((entry.header_offset, entry.compress_size) for entry in entries)
    ends = [*(start for start, _ in starts[1:]), archive_bytes][: len(starts)]
    for (start, size), end in zip(starts, ends, strict=True):
        if start + 30 + size > end:  # a local header has at least 30 bytes
            raise ScanFileError(f"Two entries of the zip lie over each other. {AGAIN}")


def _is_dicom(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    start = next(_chunks(archive, entry, DICOM_PREAMBLE_BYTES), b"")
    if start.startswith(ARCHIVES):
        raise ScanFileError(f"The zip holds another archive. {AGAIN}")
    return start[128:132] == b"DICM" and not entry.filename.upper().endswith("DICOMDIR")


def _chunks(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """The bytes of an entry; `zipfile` stops at the size that the directory gives."""
    try:
        with archive.open(entry) as file:
            while chunk := file.read(size):
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        raise ScanFileError(
            f"A file of the zip is damaged: its bytes are not what the directory says. {AGAIN}"
        ) from None
