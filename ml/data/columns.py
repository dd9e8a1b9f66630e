"""Find out from a file's header what each of its columns is. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from ml.concepts import Concept, concepts_by_name, normalise_name
from ml.data.cells import shorten
from ml.data.delimited import DELIMITERS

# Names of the column that says who a row is about. If a file has several, the first of these is
# it: ADNI's tables carry both PTID and RID.
PATIENT_COLUMNS = (
    "patient",
    "participant_id",
    "subject",
    "patient_id",
    "subject_id",
    "PTID",
    "RID",
    "ID",
)
_PATIENT_NAMES = tuple(normalise_name(name) for name in PATIENT_COLUMNS)
UNITS_GROUP = "Units of other columns"
_MEASURED_GROUP = "Biomarkers and imaging measures"
MAX_COLUMNS = 2_000
_MAX_SUGGESTIONS = 20  # comparing one name with all we know takes a millisecond


class Severity(StrEnum):
    """Whether a problem keeps the file out."""

    ERROR = "error"
    NOTICE = "notice"


class Role(StrEnum):
    """What became of a column."""

    PATIENT = "patient"
    CONCEPT = "concept"
    LEFT_OUT = "left_out"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something about the file that its owner should know.

    Attributes:
        row: line of the file, that of the header is 1; None for the file as a whole.
        column: header of the column as the file writes it, shortened; None for the whole row.
        value: the cell, shortened; empty for a patient's identifier, which is never repeated.
        code: short stable name of the kind of problem.
        message: what is wrong, the limit and the way out.
        severity: an ERROR keeps the whole file out.
    """

    row: int | None
    column: str | None = None
    value: str = ""
    code: str
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """Place and message without the value, so that it may go into an exception or a log."""
        line = "" if self.row is None else f"line {self.row}"
        column = "" if self.column is None else f"column {self.column}"
        place = ", ".join(part for part in (line, column) if part)
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the file and what became of it.

    Attributes:
        header: its name as the file writes it, shortened.
        role: how it is used.
        concept: identifier of the concept that it was recognised as, used or left out.
    """

    header: str
    role: Role
    concept: str | None = None


def is_known(name: str) -> bool:
    """Whether a header's cell is the name of a concept or of the column of patients."""
    key = normalise_name(name)
    return key in concepts_by_name() or key in _PATIENT_NAMES


def understand_header(header: Sequence[str], line: int) -> tuple[list[Column], list[Problem]]:
    """What each column is, and what is wrong with the header.

    No columns come back if the rows below are not worth reading.
    """
    if len(header) > MAX_COLUMNS:
        return [], [
            Problem(
                row=line,
                code="too_many_columns",
                message=f"The header has {len(header):,} columns; the limit is {MAX_COLUMNS:,}. "
                "Leave out columns that are no inputs.",
            )
        ]
    if not any(map(is_known, header)):
        return [], [_nothing_known(header, line)]
    columns: list[Column] = []
    problems: list[Problem] = []
    identifier = _identifier_column(header)
    if identifier is None:
        problems.append(
            Problem(
                row=line,
                code="no_patient_column",
                message="No column says whom a row is about. Name one of them `patient` (also "
                f"understood: {', '.join(PATIENT_COLUMNS[1:])}).",
            )
        )
    first: dict[str, str] = {}  # concept or identifier, to the header that it was found under
    for index, name in enumerate(header):
        suggest = sum(c.role is Role.REFUSED for c in columns) < _MAX_SUGGESTIONS
        column, problem = _understand(
            name, line, first, is_identifier=index == identifier, suggest=suggest
        )
        columns.append(column)
        if problem is not None:
            problems.append(problem)
    if not any(column.role is Role.CONCEPT for column in columns):
        problems.append(
            Problem(
                row=line,
                code="no_inputs",
                message="No column is an input of the model. Download a sample file to see the "
                "names of the 88 inputs.",
            )
        )
        return [], problems
    return columns, problems


def _identifier_column(header: Sequence[str]) -> int | None:
    names = [normalise_name(name) for name in header]
    return next((names.index(name) for name in _PATIENT_NAMES if name in names), None)


def _understand(
    name: str, line: int, first: dict[str, str], *, is_identifier: bool, suggest: bool
) -> tuple[Column, Problem | None]:
    shown, key = shorten(name.strip()), normalise_name(name)
    concept = concepts_by_name().get(key)
    if is_identifier:
        first["patient"] = key
        return Column(header=shown, role=Role.PATIENT), None
    if key in _PATIENT_NAMES:
        return _second_identifier(shown, line, doubled=first.get("patient") == key)
    if concept is None:
        return _unknown(shown, line, suggest=suggest)
    if not concept.in_schema:
        return _left_out(shown, line, concept)
    if concept.id in first:
        return _doubled(shown, first[concept.id], line, concept)
    first[concept.id] = shown
    return Column(header=shown, role=Role.CONCEPT, concept=concept.id), None


def _nothing_known(header: Sequence[str], line: int) -> Problem:
    """No name is known: the cells may be those of a patient, so none of them is repeated."""
    if sum(any(map(str.isdigit, cell)) for cell in header) * 2 > len(header) > 1:
        return Problem(
            row=line,
            code="no_header",
            message="The first line seems to hold values, not the names of columns. Put a header "
            "above it; a sample file shows the names.",
        )
    return Problem(
        row=line,
        code="no_known_column",
        message=f"None of the {len(header):,} columns of the first line is known. The names must "
        f"stand there, separated by {', '.join(list(DELIMITERS.values())[:-1])} or "
        f"{list(DELIMITERS.values())[-1]}; a sample file shows them.",
    )


def _second_identifier(shown: str, line: int, *, doubled: bool) -> tuple[Column, Problem]:
    if doubled:
        message = "The column that says who the patient is is there twice. Remove one."
        return Column(header=shown, role=Role.REFUSED), Problem(
            row=line, column=shown, value=shown, code="doubled_column", message=message
        )
    return Column(header=shown, role=Role.LEFT_OUT), Problem(
        row=line,
        column=shown,
        code="second_identifier",
        message="Left out: another column says already who the patient is.",
        severity=Severity.NOTICE,
    )


def _unknown(shown: str, line: int, *, suggest: bool) -> tuple[Column, Problem]:
    refused = Column(header=shown, role=Role.REFUSED)
    if not shown:
        message = "A column has no name. Name it, or remove it with the cells below it."
        return refused, Problem(row=line, column="", code="unnamed_column", message=message)
    known = concepts_by_name()
    close = get_close_matches(normalise_name(shown), known, n=5, cutoff=0.6) if suggest else []
    names = list(dict.fromkeys(_suggestion(known[key]) for key in close))[:3]
    hint = f" Closest: {', '.join(names)}." if names else ""
    return refused, Problem(
        row=line,
        column=shown,
        value=shown,
        code="unknown_column",
        message=f"This column is not known.{hint} Rename it, or remove it from the file.",
    )


def _suggestion(concept: Concept) -> str:
    unit = f" in {concept.unit}" if concept.unit in {"kg", "cm"} else ""
    return f"{concept.id} ({concept.label}{unit})"


def _left_out(shown: str, line: int, concept: Concept) -> tuple[Column, Problem | None]:
    column = Column(header=shown, role=Role.LEFT_OUT, concept=concept.id)
    if concept.group == UNITS_GROUP:
        return column, None  # read, row by row, though it is no input
    code, why = "not_an_input", "it is not one of the model's inputs"
    if concept.label_proximal:
        code = "label_proximal"
        why = "it comes from a laboratory or a scan that the prediction is to do without"
        if concept.group != _MEASURED_GROUP:
            why = "it is so close to the diagnosis that it would be copied, not predicted"
    return column, Problem(
        row=line,
        column=shown,
        code=code,
        message=f"Left out: {concept.label}; {why}.",
        severity=Severity.NOTICE,
    )


def _doubled(shown: str, earlier: str, line: int, concept: Concept) -> tuple[Column, Problem]:
    return Column(header=shown, role=Role.REFUSED, concept=concept.id), Problem(
        row=line,
        column=shown,
        value=shown,
        code="doubled_column",
        message=f"This column and the column {earlier} are both {concept.label}. Keep one.",
    )
