"""Excel workbooks, row by row: the shown sheets, values alone, within limits set beforehand."""

import datetime as dt
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from apps.patients.importing import workbook_parts
from apps.patients.importing.source import Facts, FileRefusedError, Format
from apps.patients.importing.workbook_parts import damaged
from ml.data.delimited import MAX_BLANK_LINES

MAX_COLUMNS = 16_384
_READING_FAILS = (
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    TypeError,
    OSError,
    SyntaxError,  # what ElementTree's ParseError is
    AttributeError,
    IndexError,
    EOFError,
)


@dataclass
class WorkbookTable:
    """The table in one sheet of a workbook.

    Attributes:
        path, sheet: which sheet of which file.
        header, header_row: the names of the columns, and the row in which they stand.
    """

    path: Path
    sheet: str
    header: list[str] = field(default_factory=list)
    header_row: int = 1
    row: int = 0

    def rows(self) -> Iterator[list[str]]:
        """The cells of each row below the header, as text; `row` says which row it is."""
        width = len(self.header)
        with _open(self.path) as book:
            for number, cells in _rows_of(book[self.sheet]):
                if number <= self.header_row:
                    continue
                self.row = number
                while len(cells) > width and not cells[-1]:
                    cells.pop()
                yield cells + [""] * (width - len(cells))


def open_workbook(path: Path, sheet: str = "") -> tuple[WorkbookTable, Facts]:
    """Find the sheet and its header.

    Args:
        path: the file.
        sheet: name of the sheet; the first shown one if empty.

    Raises:
        FileRefusedError: it is no workbook, is too large once unpacked, declares entities, or has
            no such sheet or nothing in it.
    """
    workbook_parts.look_at(path)
    with _open(path) as book:
        shown, hidden = _sheets(book)
        if not shown:
            raise FileRefusedError("empty", "The workbook has no sheet that is shown. Unhide one.")
        if sheet and sheet not in shown:
            raise FileRefusedError(
                "no_sheet", f"There is no shown sheet of that name. There is: {', '.join(shown)}."
            )
        table = WorkbookTable(path=path, sheet=sheet or shown[0])
        for number, cells in _rows_of(book[table.sheet]):
            while cells and not cells[-1]:
                cells.pop()
            table.header, table.header_row = cells, number
            break
        else:
            raise FileRefusedError(
                "empty", "The sheet is empty. Name another sheet, or fill it in."
            )
    notes = []
    if hidden:
        notes.append(f"{len(hidden)} hidden sheet{'s are' if len(hidden) > 1 else ' is'} not read.")
    facts = Facts(
        format=Format.WORKBOOK, sheet=table.sheet, sheets=tuple(shown), notes=tuple(notes)
    )
    return table, facts


def _load(file: IO[bytes]) -> Any:
    import openpyxl  # noqa: PLC0415 - it loads numpy, which a web process is to do without

    return openpyxl.load_workbook(file, read_only=True, keep_links=False)


def _sheets(book: Any) -> tuple[list[str], list[str]]:
    """Names of the sheets that are shown, and of the hidden ones."""
    shown = [s.title for s in book.worksheets if s.sheet_state == "visible"]
    hidden = [s.title for s in book.worksheets if s.sheet_state != "visible"]
    return shown, hidden


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as file, closing(_load(file)) as book:
            yield book
    except _READING_FAILS as error:
        raise damaged() from error


def _rows_of(page: Any) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each row that is not blank."""
    blank = 0
    page.reset_dimensions()
    for number, row in enumerate(page.iter_rows(), start=1):
        if len(row) > MAX_COLUMNS:
            raise FileRefusedError("too_many_columns", "The sheet has too many columns.")
        cells = [_text(cell) for cell in row]
        if any(cells):
            blank = 0
            yield number, cells
            continue
        blank += 1
        if blank > MAX_BLANK_LINES:
            return


def _text(cell: Any) -> str:
    """A cell as the same cell would stand in a text file; a formula stays one, to be refused."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    text = str(value)
    if cell.data_type == "f" and not text.startswith("="):
        return f"={text}"
    return text.strip()
