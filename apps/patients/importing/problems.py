"""What is wrong with a file: in which row and column, and what to do. Kept beside the file.

Problems quote cells, so they are no rows of the database: they lie in a private file that is
deleted with the upload.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ml.data.cells import Refusal

ERROR, NOTICE = "error", "notice"
MAX_KEPT = 100_000
MAX_ERRORS = 200_000
_BATCH = 5_000
LABELS: Mapping[str, str] = MappingProxyType(
    {
        "out_of_range": "Out of range",
        "not_a_number": "Not a number",
        "text_in_number": "Words in a number",
        "not_finite": "Not a finite number",
        "comma": "Comma in a number",
        "bound": "A bound, not a value",
        "formula": "A formula",
        "word": "Word not understood",
        "code": "Unknown code",
        "level": "Not one of the levels",
        "unit": "Unit",
        "date": "Not a date",
        "future_date": "Date in the future",
        "date_order": "Dates in the wrong order",
        "doubled_patient": "Doubled patient",
        "doubled_row": "The same row again",
        "contradiction": "Contradictory values",
        "contradictory_rows": "Contradictory rows",
        "no_patient": "Row without a patient",
        "long_patient": "Identifier too long",
        "invisible_characters": "Invisible characters",
        "wrong_number_of_cells": "Wrong number of cells",
        "no_findings": "Row without a finding",
        "foreign_patient": "Another patient's entry",
        "malformed": "Malformed entry",
        "unknown_code": "Code without a system",
        "childhood": "Measured in childhood",
        "critical": "Critical value",
        "not_done": "Not a fact",
        "undecided_column": "Column to decide",
        "doubled_column": "Doubled column",
        "unnamed_column": "Column without a name",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        row: line, row of the sheet or number of the entry, from 1; None for the file as a whole.
        column: header, or path in the entry.
        value: the cell, shortened; empty for an identifier, which is never repeated.
        code: short stable name of the kind of problem.
        message: what is wrong.
        remedy: what to do.
        severity: an error keeps its row out, a notice does not.
    """

    row: int | None
    column: str = ""
    value: str = ""
    code: str
    message: str
    remedy: str = ""
    severity: str = ERROR

    @property
    def label(self) -> str:
        """The kind of problem, as a heading."""
        return LABELS.get(self.code, self.code.replace("_", " ").capitalize())


def of_refusal(refusal: Refusal, *, row: int, column: str, value: str) -> Problem:
    """A problem from the reason why a cell is no value: its first sentence, then the way out."""
    message, _, remedy = refusal.message.partition(". ")
    return Problem(
        row=row,
        column=column,
        value=value,
        code=refusal.code,
        message=message.rstrip(".") + ".",
        remedy=remedy or "Correct the cell, or leave it empty.",
    )


def no_findings(row: int) -> Problem:
    """A row about somebody of whom it says nothing."""
    return Problem(
        row=row,
        code="no_findings",
        message="The row has a patient and no finding.",
        remedy="Nothing, if it is meant.",
        severity=NOTICE,
    )


class TooManyErrorsError(Exception):
    """Reading stopped, because nobody reads that many problems."""


class ProblemLog:
    """Collects problems: all are counted, the first `MAX_KEPT` are kept.

    Args:
        path: where to keep them; a file that is there is replaced. None keeps them in memory.
        keep: how many at most.
    """

    def __init__(self, path: Path | None, *, keep: int = MAX_KEPT) -> None:
        if path is not None:
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
        self._database = sqlite3.connect(
            path or ":memory:",
            isolation_level=None,
            check_same_thread=False,  # rows may be read in a thread, one at a time
        )
        self._keep = keep
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute(
            "CREATE TABLE problems (n INTEGER PRIMARY KEY, row INTEGER, name TEXT, value TEXT, "
            "code TEXT, message TEXT, remedy TEXT, severity TEXT)"
        )
        self._waiting: list[tuple[object, ...]] = []
        self.counts: Counter[tuple[str, str]] = Counter()  # code and severity
        self.errors = 0

    def add(self, problem: Problem) -> None:
        """Count a problem, and keep it if there is room.

        Raises:
            TooManyErrorsError: this was one error too many.
        """
        self.counts[problem.code, problem.severity] += 1
        self.errors += problem.severity == ERROR
        if self.counts.total() <= self._keep:
            self._waiting.append(
                (
                    problem.row,
                    _storable(problem.column),
                    _storable(problem.value),
                    problem.code,
                    problem.message,
                    problem.remedy,
                    problem.severity,
                )
            )
            if len(self._waiting) >= _BATCH:
                self._write()
        if self.errors > MAX_ERRORS:
            raise TooManyErrorsError

    def close(self) -> None:
        self._write()
        self._database.execute("CREATE INDEX by_code ON problems (code, n)")
        self._database.execute("CREATE INDEX by_row ON problems (row)")
        self._database.close()

    def all(self) -> list[Problem]:
        """What is kept, for a log in memory."""
        self._write()
        query = f"SELECT {_COLUMNS} FROM problems ORDER BY n"  # noqa: S608 - our own names
        rows = self._database.execute(query)
        return [_problem(row) for row in rows]

    def _write(self) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT INTO problems (row, name, value, code, message, remedy, severity) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            self._waiting,
        )
        self._database.execute("COMMIT")
        self._waiting.clear()


_COLUMNS = "row, name, value, code, message, remedy, severity"


def page_of(path: Path, *, offset: int, limit: int, code: str = "") -> tuple[list[Problem], int]:
    """Some kept problems in the order of the file, and how many there are of the kind asked for."""
    where, values = ("WHERE code = ?", [code]) if code else ("", [])
    with closing(sqlite3.connect(path)) as database:
        [total] = database.execute(f"SELECT count(*) FROM problems {where}", values).fetchone()  # noqa: S608
        rows = database.execute(
            f"SELECT {_COLUMNS} FROM problems {where} ORDER BY n LIMIT ? OFFSET ?",  # noqa: S608
            [*values, limit, offset],
        )
        return [_problem(row) for row in rows], total


def by_row(path: Path) -> Iterator[Problem]:
    """Kept problems, row by row."""
    with closing(sqlite3.connect(path)) as database:
        query = f"SELECT {_COLUMNS} FROM problems WHERE row IS NOT NULL ORDER BY row, n"  # noqa: S608
        for row in database.execute(query):
            yield _problem(row)


def _problem(row: tuple[int | None, str, str, str, str, str, str]) -> Problem:
    number, column, value, code, message, remedy, severity = row
    return Problem(
        row=number,
        column=column,
        value=value,
        code=code,
        message=message,
        remedy=remedy,
        severity=severity,
    )


def _storable(text: str) -> str:
    """Text without lone halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode()
