"""Read a table of patients, one row each, into records: all of it, or nothing and the reasons.

Standard library only, because the web side reads uploads with it. Headers first, rows second: a
column is understood or refused, a cell is a value, empty or a named problem, and nothing is
corrected in silence.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ml.concepts import dictionary
from ml.data.cells import NOT_OBSERVED, CellReader, Refusal, shorten
from ml.data.columns import (
    PATIENT_COLUMNS,
    Column,
    Problem,
    Role,
    Severity,
    is_known,
    understand_header,
)
from ml.data.delimited import MAX_BLANK_LINES, BinaryFile, DelimitedFile, RefusedFileError
from ml.records import PatientRecord

__all__ = [
    "PATIENT_COLUMNS",
    "Column",
    "EhrTable",
    "Problem",
    "Role",
    "Severity",
    "contradictions",
    "identifier_fault",
    "patient_key",
    "read_ehr_csv",
]

MAX_BYTES = 256_000_000
MAX_PROBLEMS = 1_000
MAX_ERRORS = 20_000
MAX_IDENTIFIER_CHARACTERS = 100
_MAX_KNOWN_CELLS = 10_000  # of a column, kept so that each text is read once
# Column of a unit to the input that it is about.
_MEASURED_IN = {
    "weight_unit": "weight_kg",
    "height_unit": "height_cm",
    "temperature_unit": "temperature_c",
}
_BMI_TOLERANCE = 0.1  # share by which a stated BMI may differ from weight over height squared


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrTable:
    """What a file holds.

    Attributes:
        records: the patients in the file's order; none if any problem is an error.
        columns: what each header became, in the file's order; none if no header was understood.
        problems: errors and notices in the file's order, the first `MAX_PROBLEMS` of them.
        problem_counts: code to the number of problems of that code, shown or not.
        error_count: number of errors among them; with one, the file is refused.
        rows: rows of patients that were read.
        encoding, delimiter: what was found out about the file; empty if it could not be opened.
    """

    records: tuple[PatientRecord, ...]
    columns: tuple[Column, ...]
    problems: tuple[Problem, ...]
    problem_counts: Mapping[str, int]
    error_count: int
    rows: int
    encoding: str
    delimiter: str

    @property
    def refused(self) -> bool:
        """Whether the file was kept out."""
        return self.error_count > 0


def read_ehr_csv(
    source: Path | BinaryFile, *, max_rows: int, max_bytes: int = MAX_BYTES
) -> EhrTable:
    """Read patients from a delimited text file: a header, then one row a patient.

    Headers are concept identifiers, labels or field names of ADNI and UDS, whatever their case and
    spaces. Encoding (UTF-8, UTF-16 with its mark), delimiter (comma, semicolon, tab, bar) and line
    ends are found out. Whatever is wrong with the file is a problem in the answer.

    Args:
        source: path, or a file opened for bytes, read from where it stands and left open.
        max_rows: more patients than this are refused.
        max_bytes: and so is a larger file.

    Raises:
        OSError: the file cannot be opened or read.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return _Reading(max_rows).of(file, max_bytes)
    return _Reading(max_rows).of(source, max_bytes)


def patient_key(identifier: str) -> str:
    """What two ways of writing one patient's identifier have in common.

    Case, spaces, width, accents' form and invisible characters do not count.

    >>> patient_key(" sub-01 ") == patient_key("SUB-01") == patient_key("ｓｕｂ-01")
    True
    """
    folded = unicodedata.normalize("NFKC", identifier).casefold()
    visible = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    return "".join(unicodedata.normalize("NFKC", visible).split())


class _Cells(dict[str, float | Refusal | None]):
    """Texts of one column and what they were read as: most columns hold few different ones."""

    def __init__(self, column: Column) -> None:
        self._reader = CellReader(dictionary()[column.concept or ""], column.header)

    def __missing__(self, cell: str) -> float | Refusal | None:
        if len(self) >= _MAX_KNOWN_CELLS:
            self.clear()
        value = self[cell] = self._reader.read(cell)
        return value


@dataclass
class _Reading:
    """One file while it is read."""

    max_rows: int
    records: list[PatientRecord] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    rows: int = 0
    line_of: dict[str, int] = field(default_factory=dict)  # of each patient's key

    def of(self, source: BinaryFile, max_bytes: int) -> EhrTable:
        encoding = delimiter = ""
        try:
            file = DelimitedFile(source, max_bytes=max_bytes)
            encoding = file.encoding
            header = file.header(is_known)
            delimiter = file.delimiter
            self.columns, problems = understand_header(header, file.row)
            for problem in problems:
                self._add(problem)
            if self.columns:
                self._read_rows(file)
        except RefusedFileError as error:
            self.counts[error.code] += 1
            self.errors += 1
            del self.problems[MAX_PROBLEMS - 1 :]  # why reading stopped is always shown
            self.problems.append(Problem(row=error.row, code=error.code, message=str(error)))
        return EhrTable(
            records=() if self.errors else tuple(self.records),
            columns=tuple(self.columns),
            problems=tuple(self.problems),
            problem_counts=dict(self.counts),
            error_count=self.errors,
            rows=self.rows,
            encoding=encoding,
            delimiter=delimiter,
        )

    def _read_rows(self, file: DelimitedFile) -> None:
        """Every row in turn; those with an error leave problems instead of a record."""
        inputs = {i: _Cells(c) for i, c in enumerate(self.columns) if c.role is Role.CONCEPT}
        units = {i: _Cells(c) for i, c in enumerate(self.columns) if c.concept in _MEASURED_IN}
        identifier = next((i for i, c in enumerate(self.columns) if c.role is Role.PATIENT), None)
        names = [self.columns[i].concept or "" for i in inputs]
        for cells in self._rows_of_patients(file):
            line = file.row
            patient = "" if identifier is None else cells[identifier].strip()
            if identifier is not None:
                self._check_patient(patient, line, self.columns[identifier].header)
            read = [known[cells[i]] for i, known in inputs.items()]
            if Refusal in set(map(type, read)):
                self._add_refusals(cells, zip(inputs, read, strict=True), patient, line)
                continue
            pairs = zip(names, read, strict=True)
            values = {name: value for name, value in pairs if isinstance(value, float)}
            if not values:
                self._add(_no_findings(line))
            for i, known in units.items():
                if known[cells[i]] != 1.0 and _MEASURED_IN[self.columns[i].concept or ""] in values:
                    self._add(_wrong_unit(self.columns[i], shorten(cells[i]), line))
            for problem in contradictions(values, line):
                self._add(problem)
            if not self.errors:
                self.records.append(PatientRecord(patient=patient, values=values))
        if not self.rows:
            message = "There is a header and no row below it. Add one row a patient."
            self._add(Problem(row=None, code="header_only", message=message))

    def _rows_of_patients(self, file: DelimitedFile) -> Iterable[list[str]]:
        """The rows that are not blank and have a cell for each column."""
        blank = 0
        for cells in file.rows():
            if not any(map(str.strip, cells)):
                blank += 1
                if blank > MAX_BLANK_LINES:
                    message = f"More than {MAX_BLANK_LINES:,} lines are blank. Remove them."
                    raise RefusedFileError("blank_lines", message, file.row)
                continue
            if self.rows == self.max_rows:
                message = (
                    f"The file has more than {self.max_rows:,} patients, the limit of one file. "
                    "Split it."
                )
                raise RefusedFileError("too_many_rows", message, file.row)
            self.rows += 1
            if len(cells) == len(self.columns):
                yield cells
            else:
                self._add(_wrong_width(len(cells), len(self.columns), file.row))

    def _check_patient(self, patient: str, line: int, header: str) -> None:
        fault = identifier_fault(patient)
        if fault is None:
            earlier = self.line_of.setdefault(patient_key(patient), line)
            if earlier == line:
                return
            fault = (
                "doubled_patient",
                f"This is the patient of line {earlier} again (case, spaces and the form of "
                "letters do not count). Keep one row a patient.",
            )
        code, message = fault
        self._add(Problem(row=line, column=header, code=code, message=message))

    def _add_refusals(
        self,
        cells: list[str],
        read: Iterable[tuple[int, float | Refusal | None]],
        patient: str,
        line: int,
    ) -> None:
        for i, value in read:
            if isinstance(value, Refusal):
                key = patient_key(cells[i])  # with shifted columns it may be an identifier
                is_identifier = key == patient_key(patient) or key in self.line_of
                self._add(
                    Problem(
                        row=line,
                        column=self.columns[i].header,
                        value="" if is_identifier else shorten(cells[i].strip()),
                        code=value.code,
                        message=value.message,
                    )
                )

    def _add(self, problem: Problem) -> None:
        self.counts[problem.code] += 1
        self.errors += problem.severity is Severity.ERROR
        if self.errors > MAX_ERRORS:
            message = f"Reading stopped after {MAX_ERRORS:,} errors. Mend these first."
            raise RefusedFileError("too_many_errors", message, problem.row)
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def identifier_fault(patient: str) -> tuple[str, str] | None:
    """Code and message if this cannot be a patient's identifier."""
    if patient.casefold() in NOT_OBSERVED:
        return "no_patient", "The row does not say who the patient is. Fill the cell in."
    if len(patient) > MAX_IDENTIFIER_CHARACTERS:
        limit = f"The patient's identifier has more than {MAX_IDENTIFIER_CHARACTERS} characters."
        return "long_patient", f"{limit} Use the study's short code."
    if patient[0] in "=@+":
        return "formula", "The patient's identifier is a formula. Write its result as a value."
    if not patient.isprintable() or not patient_key(patient):
        return "invisible_characters", (
            "The patient's identifier holds characters that cannot be seen. Type it anew."
        )
    return None


def _no_findings(line: int) -> Problem:
    return Problem(
        row=line,
        code="no_findings",
        message="This row has a patient and no finding, so nothing can be predicted from it.",
        severity=Severity.NOTICE,
    )


def _wrong_unit(column: Column, value: str, line: int) -> Problem:
    unit = column.concept or ""
    levels, measured = dictionary()[unit].levels, _MEASURED_IN[unit]
    return Problem(
        row=line,
        column=column.header,
        value=value,
        code="unit",
        message=f"{dictionary()[measured].label} must be in {levels[1]} here. Convert the values "
        f"that are not, then remove the column {column.header}.",
    )


def _wrong_width(cells: int, columns: int, line: int) -> Problem:
    hint = (
        "Look for a comma inside a cell, which needs quotation marks around it"
        if cells > columns
        else "Look for a missing separator or a line that was broken in two"
    )
    return Problem(
        row=line,
        code="wrong_number_of_cells",
        message=f"The row has {cells:,} cells and the header {columns:,}. {hint}.",
    )


def contradictions(values: Mapping[str, float], line: int) -> Iterable[Problem]:
    """Values that are plausible one by one and not together."""
    systolic, diastolic = values.get("systolic_mmhg"), values.get("diastolic_mmhg")
    if systolic is not None and diastolic is not None and diastolic >= systolic:
        yield Problem(
            row=line,
            column="diastolic_mmhg",
            value=f"{diastolic:g}",
            code="contradiction",
            message=f"The diastolic pressure is not below the systolic one, {systolic:g} mmHg. "
            "They may be exchanged.",
        )
    weight, height, bmi = (values.get(n) for n in ("weight_kg", "height_cm", "bmi"))
    if weight is None or height is None:
        return
    implied = weight / (height / 100.0) ** 2
    if bmi is not None and abs(bmi - implied) > _BMI_TOLERANCE * implied:
        yield Problem(
            row=line,
            column="bmi",
            value=f"{bmi:g}",
            code="contradiction",
            message=f"Weight and height give a body mass index of {implied:.1f}. One of the three "
            "is wrong or in another unit: weight is in kg, height in cm.",
        )
    elif not dictionary()["bmi"].low <= implied <= dictionary()["bmi"].high:
        yield Problem(
            row=line,
            column="weight_kg",
            value=f"{weight:g}",
            code="contradiction",
            message=f"With a height of {height:g} cm it gives a body mass index of {implied:.1f}. "
            "One of them is wrong or in another unit: weight is in kg, height in cm.",
        )
