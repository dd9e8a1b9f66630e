"""A file, opened by what it is: its columns with examples, and a reader of its rows by a plan."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from apps.patients.importing import door, fhir, observing, workbook, workbook_parts
from apps.patients.importing.delimited import open_text
from apps.patients.importing.exports import export_of
from apps.patients.importing.matching import Seen, match_table
from apps.patients.importing.observing import ObservationReader
from apps.patients.importing.plan import ColumnPlan, Role, by_role
from apps.patients.importing.problems import Problem, ProblemLog
from apps.patients.importing.reading import TableReader
from apps.patients.importing.source import (
    MAX_ROWS,
    Facts,
    FileRefusedError,
    Format,
    Shape,
    Table,
    format_of,
)
from apps.patients.importing.values import AGES
from ml.concepts import concepts_by_name, normalise_name
from ml.data.cells import shorten
from ml.data.columns import MAX_COLUMNS, is_known

SAMPLED_ROWS = 2_000
EXAMPLES = 5
_KEPT_DISTINCT = 40


@dataclass(frozen=True, slots=True)
class Opened:
    """What a file holds, before anybody decided anything.

    Attributes:
        facts: what it is.
        columns: what each column, or each kind of observation, seems to be.
        examples: key of a column to some of its cells; identifiers masked.
        rows: rows or entries in it.
        problems: what is wrong with the header.
    """

    facts: Facts
    columns: tuple[ColumnPlan, ...]
    examples: dict[str, tuple[str, ...]]
    rows: int
    problems: tuple[Problem, ...]


def analyse(path: Path, *, sheet: str = "") -> Opened:
    """Read a file once: what it is, what its columns are called and hold.

    Raises:
        FileRefusedError: nothing can be made of it.
    """
    format_ = format_of(path)
    if format_ in {Format.BUNDLE, Format.NDJSON}:
        return _analyse_fhir(path, format_)
    table, facts = _open_table(path, format_, sheet)
    problems = _check_header(table)
    rows, samples = _sample(table)
    if not rows:
        raise FileRefusedError(
            "header_only", "There is a header and no row below it. Add one row a patient."
        )
    seen = [Seen(name, cells) for name, cells in zip(table.header, samples, strict=True)]
    columns = match_table(seen)
    if not by_role(columns, Role.PATIENT):
        raise FileRefusedError(
            "no_patient_column",
            "No column says whom a row is about. Name one of them `patient` (also understood: "
            "participant_id, subject, PatientID, PTID, RID, ID, MRN).",
        )
    if by_role(columns, Role.CODE):
        return _analyse_long(table, facts, columns)
    visits = any(by_role(columns, role) for role in (Role.TIME, Role.MONTHS, Role.DAYS))
    facts = replace(facts, shape=Shape.VISITS if visits else Shape.WIDE)
    examples = {
        column.key: _shown(column, cells) for column, cells in zip(columns, samples, strict=True)
    }
    return Opened(facts, columns, examples, rows, problems)


def look_at(path: Path) -> None:
    """Refuse at once what shows at the beginning of a file or in its form; no row is read.

    Bounded in time and memory, so that a web process may do it while a user waits.

    Raises:
        FileRefusedError: nothing can be made of the file.
    """
    format_ = format_of(path)
    if format_ is Format.WORKBOOK:
        workbook_parts.look_at(path)
    elif format_ is Format.BUNDLE:
        fhir.look_at(path)
    elif format_ is Format.TEXT:
        table, _ = open_text(path, is_known)
        _check_header(table)


def reader_of(
    path: Path, facts: Facts, plan: Sequence[ColumnPlan], *, log: ProblemLog, now: datetime
) -> TableReader | ObservationReader:
    """A reader of the file's rows by a plan."""
    if facts.shape is Shape.CODED:
        file, _ = fhir.open_fhir(path, facts.format)
        return ObservationReader(file.observations(), plan, log=log, now=now, born=file.born)
    table, _ = _open_table(path, facts.format, facts.sheet)
    comma = facts.decimal_mark == ","
    if facts.shape is Shape.LONG:
        layout = _layout(plan, table.header)
        observations = observing.of_rows(table, layout, decimal_comma=comma)
        return ObservationReader(observations, plan, log=log, now=now, born={})
    return TableReader(
        table, plan, log=log, now=now, decimal_comma=comma, export=export_of(table.header)
    )


def raw_rows(path: Path, facts: Facts) -> tuple[Sequence[str], Iterator[tuple[int, list[str]]]]:
    """Header and numbered rows of a table as they are, to be given back."""
    table, _ = _open_table(path, facts.format, facts.sheet)
    return table.header, ((table.row, cells) for cells in table.rows())


def _analyse_fhir(path: Path, format_: Format) -> Opened:
    file, facts = fhir.open_fhir(path, format_)
    columns, examples, counts = observing.match_observations(file.observations())
    if not columns:
        raise FileRefusedError(
            "no_findings",
            "No Patient, Observation, Condition, MedicationRequest, MedicationStatement or "
            "Procedure could be read in the file.",
        )
    notes = [
        f"{count:,} {kind} resources are not read." for kind, count in sorted(file.ignored.items())
    ]
    facts = replace(facts, notes=(*facts.notes, *notes))
    return Opened(facts, columns, examples, counts.total(), ())


def _analyse_long(table: Table, facts: Facts, columns: tuple[ColumnPlan, ...]) -> Opened:
    observations = observing.of_rows(table, columns, decimal_comma=facts.decimal_mark == ",")
    kinds, examples, counts = observing.match_observations(observations)
    roles = [c for c in columns if c.role not in {Role.FINDING, Role.IGNORED}]
    facts = replace(facts, shape=Shape.LONG)
    return Opened(facts, (*roles, *kinds), examples, counts.total(), ())


def _layout(plan: Sequence[ColumnPlan], header: Sequence[str]) -> tuple[ColumnPlan, ...]:
    """The columns of a long file in their order; those without a part to play are ignored."""
    parts = {c.key: c for c in plan if c.role not in {Role.FINDING, Role.BIRTH}}
    found = match_table([Seen(name, ()) for name in header])
    return tuple(parts[c.key] if c.key in parts else c.decided(role=Role.IGNORED) for c in found)


def _open_table(path: Path, format_: Format, sheet: str) -> tuple[Table, Facts]:
    if format_ is Format.WORKBOOK:
        return workbook.open_workbook(path, sheet)
    return open_text(path, is_known)


def _check_header(table: Table) -> tuple[Problem, ...]:
    """What is wrong with a header; one that is none refuses the file."""
    header = table.header
    if len(header) > MAX_COLUMNS:
        raise FileRefusedError(
            "too_many_columns",
            f"The header has {len(header):,} columns; the limit is {MAX_COLUMNS:,}. Leave out "
            "columns that are no findings.",
        )
    names = [normalise_name(name) for name in header]
    known = concepts_by_name()
    numbers = sum(any(map(str.isdigit, name)) for name in header)
    if numbers * 2 > len(header) > 1 and not any(name in known or is_known(name) for name in names):
        raise FileRefusedError(
            "no_header",
            "The first line seems to hold values, not the names of columns. Put a header above it.",
        )
    problems = []
    for place, name in enumerate(names):
        if name and name in names[:place]:
            problems.append(
                Problem(
                    row=table.header_row,
                    column=shorten(header[place]),
                    code="doubled_column",
                    message=f"Column {place + 1} has the name of column {names.index(name) + 1}.",
                    remedy="Keep one of them, or ignore one below.",
                )
            )
        elif not name:
            problems.append(
                Problem(
                    row=table.header_row,
                    code="unnamed_column",
                    message=f"Column {place + 1} has no name.",
                    remedy="It is left out. Name it if it holds something.",
                )
            )
    return tuple(problems)


def _sample(table: Table) -> tuple[int, list[tuple[str, ...]]]:
    """The number of rows, and some cells of each column, none of them twice."""
    samples: list[dict[str, None]] = [{} for _ in table.header]
    rows = 0
    for cells in table.rows():
        if not any(map(str.strip, cells)):
            continue
        rows += 1
        if rows > MAX_ROWS:
            raise FileRefusedError(
                "too_many_rows", f"The file has more than {MAX_ROWS:,} rows. Split it."
            )
        if rows <= SAMPLED_ROWS:
            for known, cell in zip(samples, cells, strict=False):
                if len(known) < _KEPT_DISTINCT and cell.strip():
                    known[cell[:200]] = None
    return rows, [tuple(known) for known in samples]


def _shown(column: ColumnPlan, cells: Sequence[str]) -> tuple[str, ...]:
    """Cells that a page may show: no identifier, nothing that is dropped at the door."""
    if column.role is Role.PATIENT:
        return tuple(map(door.masked, cells[:EXAMPLES]))
    if column.role in {Role.DROPPED, Role.BIRTH, Role.TIME}:
        return ()
    if column.concept in AGES:
        return tuple(cell for cell in cells if _at_most_89(cell))[:EXAMPLES]
    return tuple(shorten(cell.strip(), 30) for cell in cells[:EXAMPLES])


def _at_most_89(cell: str) -> bool:
    try:
        return float(cell) <= door.OLDEST_AGE_YEARS
    except ValueError:
        return False
