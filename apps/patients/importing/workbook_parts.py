"""A workbook's parts looked at as bytes, in bounded memory, before any of them is parsed.

An .xlsx file is a ZIP archive of XML. What makes such a file dangerous shows without parsing it:
declared sizes, document types (which may declare entities), encodings that hide them, texts without
an end, and rows without number.
"""

import re
import zipfile
import zlib
from pathlib import Path

from apps.patients.importing.source import MAX_ROWS, FileRefusedError

MAX_UNPACKED_BYTES = 400_000_000
MAX_STRINGS_BYTES = 16_000_000
MAX_OTHER_BYTES = 16_000_000
MAX_PARTS = 2_000
MAX_TEXT_BYTES = 1_000_000
_BLOCK = 1 << 18
_DECLARATION = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_OVERLAP = 16
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    EOFError,
)
_DAMAGED = "The workbook is damaged or not an .xlsx file. Open it in Excel and save it again."


def look_at(path: Path) -> None:
    """Refuse what no spreadsheet program writes.

    Raises:
        FileRefusedError: it is no workbook, is too large once unpacked, declares entities, or has
            a text or more rows than a workbook can have.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if "[Content_Types].xml" not in archive.namelist():
                raise FileRefusedError(
                    "file_type", "This is a ZIP archive, no workbook. Unpack it first."
                )
            if len(parts) > MAX_PARTS:
                raise _too_large(f"{MAX_PARTS:,} parts")
            if sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
                raise _too_large(f"{MAX_UNPACKED_BYTES // 10**6} MB unpacked")
            for part in parts:
                if part.flag_bits & 1:
                    raise FileRefusedError(
                        "encrypted", "The workbook has a password. Save it without one."
                    )
                if part.filename.endswith((".xml", ".rels")):
                    _check_size(part)
                    _read_through(archive, part)
    except _UNREADABLE as error:
        raise damaged() from error


def damaged() -> FileRefusedError:
    return FileRefusedError("file_type", _DAMAGED)


def _check_size(part: zipfile.ZipInfo) -> None:
    if part.filename.endswith("sharedStrings.xml"):
        if part.file_size > MAX_STRINGS_BYTES:
            raise _too_large(f"{MAX_STRINGS_BYTES // 10**6} MB of texts")
    elif "worksheets/" not in part.filename and part.file_size > MAX_OTHER_BYTES:
        raise _too_large(f"{MAX_OTHER_BYTES // 10**6} MB beside its sheets")


def _read_through(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    rows, read, last_tag, tail = 0, 0, 0, b""
    with archive.open(part) as file:
        while block := file.read(_BLOCK):
            if not read and (b"\0" in block[:4] or block[:2] in {b"\xff\xfe", b"\xfe\xff"}):
                raise damaged()  # UTF-16 would hide what is searched for; Excel writes UTF-8
            if _DECLARATION.search(tail + block):
                raise FileRefusedError("entities", _DAMAGED)
            first = block.find(b"<")
            gap_end = read + (first if first >= 0 else len(block))
            if gap_end - last_tag > MAX_TEXT_BYTES:
                raise FileRefusedError(
                    "cell_too_long",
                    f"A cell has more than {MAX_TEXT_BYTES:,} characters; Excel allows 32,767.",
                )
            if first >= 0:
                last_tag = read + block.rfind(b"<")
            rows += block.count(b"<row")
            if rows > MAX_ROWS + 1:
                raise FileRefusedError(
                    "too_many_rows", f"A sheet has more than {MAX_ROWS:,} rows. Split it."
                )
            read += len(block)
            tail = block[-_OVERLAP:]


def _too_large(limit: str) -> FileRefusedError:
    return FileRefusedError(
        "file_too_large",
        f"The workbook has more than {limit}, the limit. Save the sheet as CSV, or split it.",
    )
