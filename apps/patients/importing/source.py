"""What kind of file this is, and what is known about it before a row is understood."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from apps.errors import MirageError

MAX_BYTES = 256_000_000
MAX_ROWS = 1_000_000
_HEAD_BYTES = 4_096


class FileRefusedError(MirageError):
    """The file cannot be read as a whole. The text quotes none of its cells.

    Attributes:
        code: short name of the reason.
        row: line where reading stopped, if there is one.
    """

    def __init__(self, code: str, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.row = row


class Format(StrEnum):
    """What the file is."""

    TEXT = "Delimited text"
    WORKBOOK = "Excel workbook"
    BUNDLE = "FHIR Bundle"
    NDJSON = "FHIR NDJSON"


class Shape(StrEnum):
    """How the file is laid out."""

    WIDE = "wide"  # a row a patient
    VISITS = "visits"  # a row a visit
    LONG = "long"  # a row an observation
    CODED = "coded"  # entries with codes: FHIR


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found out about a file.

    Attributes:
        format, shape: what it is and how it is laid out.
        delimiter, encoding, decimal_mark: of a text file; empty for others.
        sheet, sheets: the sheet that is read and all that could be; for workbooks.
        notes: what a user should know, as sentences.
    """

    format: Format
    shape: Shape = Shape.WIDE
    delimiter: str = ""
    encoding: str = ""
    decimal_mark: str = "."
    sheet: str = ""
    sheets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Table(Protocol):
    """A header and the rows below it, whatever they were written in."""

    @property
    def header(self) -> Sequence[str]: ...

    @property
    def header_row(self) -> int: ...

    @property
    def row(self) -> int: ...  # of the newest row

    def rows(self) -> Iterator[list[str]]:
        """The cells of each row, as text; may be called once."""


def format_of(path: Path) -> Format:
    """What a file is, by its first bytes; its name may say anything.

    Raises:
        FileRefusedError: it is something that cannot be imported.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"PK\x03\x04"):
        return Format.WORKBOOK
    if text.startswith(b"\x1f\x8b"):
        raise FileRefusedError(
            "file_type", "This is a gzip archive. Unpack it and upload the file inside."
        )
    if text.startswith(b"["):
        raise FileRefusedError(
            "file_type",
            "This is a JSON list. Upload a FHIR Bundle (a JSON object), or NDJSON with one "
            "resource on each line.",
        )
    if text.startswith(b"{"):
        return Format.NDJSON if _has_an_object_a_line(path) else Format.BUNDLE
    return Format.TEXT


def _has_an_object_a_line(path: Path) -> bool:
    """Whether the first line is a whole resource and no Bundle."""
    with path.open("rb") as file:
        line = file.readline(1_000_000).strip()
        more = file.readline(1_000).strip()
    whole = line.endswith(b"}") and line.count(b"{") == line.count(b"}")
    return whole and (more.startswith(b"{") or (not more and b'"Bundle"' not in line[:200]))
