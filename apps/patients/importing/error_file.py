"""The file given back with a column that says what is wrong with each row."""

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from apps.patients.importing import fhir, opening
from apps.patients.importing.problems import ERROR, Problem, by_row
from apps.patients.importing.source import Facts, Format, Shape

ERROR_COLUMN = "error"
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
_NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?%?", re.IGNORECASE)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_BLOCK_ROWS = 500
_BLOCK_BYTES = 1 << 18


def safe(cell: str) -> str:
    """A cell that no spreadsheet program runs as a formula; numbers stay as they are.

    >>> safe("=1+1"), safe("-4"), safe("@SUM(A1)")
    ("'=1+1", '-4', "'@SUM(A1)")
    """
    if cell.startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def chunks(path: Path, problems: Path, facts: Facts) -> Iterator[bytes]:
    """The file's bytes: a table with one more column, or FHIR's outcome of each entry."""
    if facts.shape is Shape.CODED:
        yield _outcomes(problems)
    elif facts.format is Format.WORKBOOK:
        yield from _workbook(path, problems, facts)
    else:
        yield from _text(path, problems, facts)


def _rows(path: Path, problems: Path, facts: Facts) -> Iterator[list[str]]:
    """The header and every row, each with its errors at the end."""
    header, rows = opening.raw_rows(path, facts)
    yield [*map(safe, header), ERROR_COLUMN]
    found = groupby(by_row(problems), key=attrgetter("row"))
    next_row, errors = next(found, (None, iter(())))
    for number, cells in rows:
        text = ""
        while next_row is not None and next_row < number:
            next_row, errors = next(found, (None, iter(())))
        if next_row == number:
            text = " ".join(map(_said, errors))
        yield [*map(safe, cells), safe(text.strip())]


def _said(problem: Problem) -> str:
    if problem.severity != ERROR:
        return ""
    place = f"{problem.column}: " if problem.column else ""
    return f"{place}{problem.message} {problem.remedy}".strip()


def _text(path: Path, problems: Path, facts: Facts) -> Iterator[bytes]:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=_DELIMITERS[facts.delimiter], lineterminator="\r\n")
    yield b"\xef\xbb\xbf"  # spreadsheet programs then read UTF-8
    for count, row in enumerate(_rows(path, problems, facts), start=1):
        writer.writerow(row)
        if count % _BLOCK_ROWS == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _workbook(path: Path, problems: Path, facts: Facts) -> Iterator[bytes]:
    from openpyxl import Workbook  # noqa: PLC0415 - it loads numpy; only where it is needed

    book = Workbook(write_only=True)
    sheet = book.create_sheet(facts.sheet[:31])
    for row in _rows(path, problems, facts):
        sheet.append([_number_or_text(text) for text in row])
    with tempfile.TemporaryFile() as file:
        book.save(file)
        file.seek(0)
        while block := file.read(_BLOCK_BYTES):
            yield block


def _number_or_text(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if text.strip()[-1:].isdigit() and abs(number) < 1e15 else text


def _outcomes(problems: Path) -> bytes:
    entries = [
        {"resource": fhir.operation_outcome(list(found))}
        for _, found in groupby(by_row(problems), key=attrgetter("row"))
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return json.dumps(bundle, ensure_ascii=False, indent=1).encode()
