"""Delimited text files of any clinic: encoding, delimiter and decimal mark found out and said."""

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from apps.patients.importing.source import MAX_BYTES, Facts, FileRefusedError, Format
from ml.data.delimited import DELIMITERS, DelimitedFile, RefusedFileError, encoding_of

_HEAD_BYTES = 65_536
_SAMPLED_ROWS = 500
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+", re.ASCII)
_POINT = re.compile(r"[+-]?\d*\.\d+", re.ASCII)
ENCODINGS = {
    "utf-8-sig": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16 without its mark",
    "utf-16-be": "UTF-16 without its mark",
    "cp1252": "Windows-1252",
    "latin-1": "Latin-1",
}


@dataclass
class TextTable:
    """The table in a delimited text file.

    Attributes:
        path: where it is.
        encoding, delimiter, decimal_comma: what was found out about it.
        header, header_row: the names of the columns, and the line on which they stand.
    """

    path: Path
    encoding: str
    delimiter: str = ","
    decimal_comma: bool = False
    header: list[str] = field(default_factory=list)
    header_row: int = 1
    row: int = 0

    def rows(self) -> Iterator[list[str]]:
        """The cells of each line below the header; `row` says which line it is."""
        with self.path.open("rb") as source:
            try:
                file = DelimitedFile(source, max_bytes=MAX_BYTES, encoding=self.encoding)
                file.header(lambda _: False)
                file.delimiter = self.delimiter
                for cells in file.rows():
                    self.row = file.row
                    yield cells
            except RefusedFileError as error:
                raise FileRefusedError(error.code, str(error), error.row) from error


def open_text(path: Path, is_known: Callable[[str], bool]) -> tuple[TextTable, Facts]:
    """Find out how a text file is to be read.

    Args:
        path: the file.
        is_known: whether a cell is the name of something; the delimiter that cuts the first line
            into the most known names is the right one.

    Raises:
        FileRefusedError: it is no table of text.
    """
    encoding, notes = _find_encoding(path)
    with path.open("rb") as source:
        try:
            file = DelimitedFile(source, max_bytes=MAX_BYTES, encoding=encoding)
            header = file.header(is_known)
        except RefusedFileError as error:
            raise FileRefusedError(error.code, str(error), error.row) from error
        except UnicodeError as error:
            raise _unreadable() from error
    table = TextTable(
        path=path,
        encoding=encoding,
        delimiter=file.delimiter,
        header=header,
        header_row=file.row,
    )
    table.decimal_comma = _has_decimal_commas(table)
    facts = Facts(
        format=Format.TEXT,
        delimiter=DELIMITERS[file.delimiter],
        encoding=_label(path, encoding),
        decimal_mark="," if table.decimal_comma else ".",
        notes=notes,
    )
    return table, facts


def _find_encoding(path: Path) -> tuple[str, tuple[str, ...]]:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        wide = _utf16_without_mark(head)
        if wide:
            return wide, ("The file is UTF-16 without its mark; it was recognised by its bytes.",)
        try:
            encoding = encoding_of(head)
        except RefusedFileError as error:
            raise FileRefusedError(error.code, str(error), error.row) from error
        file.seek(0)
        if encoding != "utf-8-sig" or _is_text(file.read, "utf-8"):
            return encoding, ()
        file.seek(0)
        guess = "cp1252" if _is_text(file.read, "cp1252") else "latin-1"
    return guess, (
        f"The file is not UTF-8; it was read as {ENCODINGS[guess]}. If names of columns look "
        "wrong, save it as CSV UTF-8.",
    )


def _is_text(read: Callable[[int], bytes], encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while block := read(1 << 20):
            decoder.decode(block)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def _utf16_without_mark(head: bytes) -> str:
    """UTF-16 of Western text has a NUL in every other byte."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or len(head) < 20:
        return ""
    half = len(head) // 2
    if head[1::2].count(0) > 0.9 * half and not head[::2].count(0):
        return "utf-16-le"
    if head[::2].count(0) > 0.9 * half and not head[1::2].count(0):
        return "utf-16-be"
    return ""


def _label(path: Path, encoding: str) -> str:
    with path.open("rb") as file:
        mark = file.read(3) == codecs.BOM_UTF8
    return ENCODINGS[encoding] + (" with BOM" if mark else "")


def _has_decimal_commas(table: TextTable) -> bool:
    """Whether numbers are written 74,5: some cells are, none has a point, none must be 1,234."""
    if table.delimiter == ",":
        return False  # quoted cells with commas are reported one by one
    seen: Counter[str] = Counter()
    for count, cells in enumerate(table.rows()):
        if count == _SAMPLED_ROWS:
            break
        for cell in cells:
            text = cell.strip()
            seen["point"] += bool(_POINT.fullmatch(text))
            if _COMMA.fullmatch(text):
                seen["either" if _THOUSANDS.fullmatch(text) else "comma"] += 1
    return seen["comma"] > 0 and seen["point"] == 0


def _unreadable() -> FileRefusedError:
    return FileRefusedError(
        "encoding", "The file holds bytes that are no text. Save it as CSV UTF-8."
    )
