"""Open a delimited text file that nobody has looked at yet, in bounded memory and time.

Standard library only. What the file is gets found out from its first bytes; its text is handed on
line by line, each line and the whole file within a limit.
"""

import csv
import io
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

MAX_LINE_CHARACTERS = 1_000_000
MAX_LINES_OF_A_ROW = 50
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MAX_BLANK_LINES = 1_000
_EMPTY = "The file is empty. Export it again and look inside."
_HEAD_BYTES = 65_536
_CELLS_COMPARED = 2_000
_BUFFER_BYTES = 262_144
_SAVE_AS_CSV = "Open it in a spreadsheet program and save it as `CSV UTF-8`."
# First bytes of what people upload instead of a CSV file, and what to call it.
_OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel workbook (.xlsx) or a ZIP archive",
    b"PK\x05\x06": "an empty ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x7fELF": "a program",
    b"MZ\x90": "a program",
    b"SQLite format 3": "a database",
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
    b"$FL2": "an SPSS file",
    b"{\\rtf": "a Word document",
    b"{": "a JSON file",
    b"[": "a JSON file",
    b"<": "an HTML or XML file",
}


class RefusedFileError(Exception):
    """The file cannot be read on from here. Turned into a problem by `ml.data.ehr`.

    Attributes:
        code: short name of the reason.
        row: line of the file where reading stopped, counted from 1; None for the file as a whole.
    """

    def __init__(self, code: str, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.row = row


@runtime_checkable
class BinaryFile(Protocol):
    """Anything to read bytes from: an open file, an upload."""

    def read(self, size: int, /) -> bytes: ...


class DelimitedFile:
    """Rows of cells of a text file, its encoding and delimiter found out.

    Args:
        source: what to read; it is read from where it stands.
        max_bytes: a longer file is refused.
        encoding: how to read the bytes; by default that is found out from the first of them.

    Attributes:
        encoding: what the bytes were read as.
        delimiter: what separates the cells; set by `header`.
        row: line on which the newest row began, counted from 1.
    """

    def __init__(self, source: BinaryFile, *, max_bytes: int, encoding: str = "") -> None:
        head = _read_fully(source, _HEAD_BYTES)
        self.encoding = encoding or encoding_of(head)
        self.delimiter = ","
        self.row = 0
        self._line = 0
        raw = _BoundedReader(head, source, max_bytes)
        self._text = io.TextIOWrapper(
            io.BufferedReader(raw, _BUFFER_BYTES), encoding=self.encoding, newline=""
        )

    def header(self, is_known: Callable[[str], bool]) -> list[str]:
        """The cells of the first line that is not blank, by the delimiter that fits it best.

        Args:
            is_known: whether a cell is the name of a column; the delimiter that cuts the line
                into the most known names is taken, then the one that cuts it most often.

        Raises:
            RefusedFileError: there is no such line, or it cannot be read.
        """
        line = self._first_line()
        if line[:4].casefold() == "sep=" and line[4:5] in DELIMITERS and not line[5:].strip():
            line = self._first_line()  # that was Excel's own hint; the header tells as much
        cuts = {delimiter: self._cut(line, delimiter) for delimiter in DELIMITERS}
        self.delimiter = max(
            cuts,
            key=lambda each: (sum(map(is_known, cuts[each][:_CELLS_COMPARED])), len(cuts[each])),
        )
        if not cuts[self.delimiter]:
            long = max(map(len, line.split(self.delimiter))) > csv.field_size_limit()
            raise self._bad_quotes("field larger" if long else "unclosed")
        return cuts[self.delimiter]

    def rows(self) -> Iterator[list[str]]:
        """The cells of each line below the header; `row` says which line it is.

        Raises:
            RefusedFileError: a limit is passed, or quotes, characters or bytes are wrong.
        """
        reader = csv.reader(self._lines(), delimiter=self.delimiter, strict=True)
        while True:
            self.row = self._line + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self._bad_quotes(str(error)) from error
            yield cells

    def _first_line(self) -> str:
        """The next line that is not blank."""
        for line in self._lines():
            self.row = self._line
            if line.strip():
                return line
            if self._line > MAX_BLANK_LINES:
                break
        raise RefusedFileError("empty", _EMPTY)

    def _cut(self, line: str, delimiter: str) -> list[str]:
        """The cells between one delimiter; none if the quotation marks do not fit it."""
        try:
            return next(csv.reader([line], delimiter=delimiter, strict=True), [])
        except csv.Error:
            return []

    def _lines(self) -> Iterator[str]:
        while True:
            try:
                line = self._text.readline(MAX_LINE_CHARACTERS + 1)
            except UnicodeError as error:
                raise RefusedFileError(
                    "encoding",
                    f"After line {self._line} there are bytes that are not {self.encoding} text. "
                    "Save the file as `CSV UTF-8`: other encodings garble names without a sign.",
                    self._line + 1,
                ) from error
            if not line:
                return
            self._line += 1
            if len(line) > MAX_LINE_CHARACTERS:
                raise RefusedFileError(
                    "line_too_long",
                    f"Line {self._line} has more than {MAX_LINE_CHARACTERS:,} characters. "
                    "A patient's row is far shorter: check the export.",
                    self._line,
                )
            if "\0" in line:
                raise RefusedFileError(
                    "binary",
                    f"Line {self._line} holds NUL characters, so this is not a text file or it is "
                    f"damaged. {_SAVE_AS_CSV}",
                    self._line,
                )
            if self._line - self.row > MAX_LINES_OF_A_ROW:
                raise self._bad_quotes("unclosed")
            yield line

    def _bad_quotes(self, reason: str) -> RefusedFileError:
        if "field larger" in reason:
            return RefusedFileError(
                "cell_too_long",
                f"A cell on line {self.row} has more than {csv.field_size_limit():,} characters, "
                "or a quotation mark before it is never closed. Remove it.",
                self.row,
            )
        return RefusedFileError(
            "quotes",
            f"The quotation marks on line {self.row} do not match. "
            'Close each opening " or remove it; inside a cell write "" for one mark.',
            self.row,
        )


def encoding_of(head: bytes) -> str:
    """What the first bytes say about the file's encoding.

    Raises:
        RefusedFileError: they are those of something else than a text file.
    """
    if not head.strip():
        raise RefusedFileError("empty", _EMPTY)
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        raise RefusedFileError("encoding", f"The file is UTF-32 text. {_SAVE_AS_CSV}")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, what in _OTHER_FORMATS.items():
        if text.startswith(start):
            raise RefusedFileError("file_type", f"This is {what}, not a CSV file. {_SAVE_AS_CSV}")
    if b"\0" in head:
        raise RefusedFileError(
            "binary",
            "The file holds NUL bytes: it is binary, or UTF-16 text without its mark. "
            f"{_SAVE_AS_CSV}",
        )
    return "utf-8-sig"


def _read_fully(source: BinaryFile, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size and (part := source.read(size - len(parts))):
        parts += part
    return bytes(parts)


class _BoundedReader(io.RawIOBase):
    """The head that was read already, then the rest of the source, up to a number of bytes."""

    def __init__(self, head: bytes, source: BinaryFile, max_bytes: int) -> None:
        self._head = io.BytesIO(head)
        self._source = source
        self._max_bytes = max_bytes
        self._left = max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        part = self._head.read(len(buffer)) or self._source.read(len(buffer))
        self._left -= len(part)
        if self._left < 0:
            raise RefusedFileError(
                "file_too_large",
                f"The file has more than {self._max_bytes / 1e6:,.0f} MB. "
                "Split it, or leave out columns that are no inputs.",
            )
        buffer[: len(part)] = part
        return len(part)
