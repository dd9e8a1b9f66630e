"""Rows of a table to findings: every cell understood, missing, or a named problem."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter

from apps.patients.importing import dates, problems, units
from apps.patients.importing.exports import Export
from apps.patients.importing.plan import ColumnPlan, Role, by_role
from apps.patients.importing.problems import NOTICE, Problem, ProblemLog
from apps.patients.importing.source import MAX_ROWS, FileRefusedError, Table
from apps.patients.importing.values import AGE, Cells, value_in
from ml.concepts import Concept, Kind, dictionary
from ml.data.cells import NOT_OBSERVED, CellReader, Refusal, shorten
from ml.data.ehr import contradictions, identifier_fault, patient_key

_COMPARED = ("systolic_mmhg", "diastolic_mmhg", "weight_kg", "height_cm", "bmi")
_UNIT_CONCEPTS = {
    "weight_kg": "weight_unit",
    "height_cm": "height_unit",
    "temperature_c": "temperature_unit",
}
_IMPERIAL = {"weight_kg": "[lb_av]", "height_cm": "[in_i]", "temperature_c": "[degF]"}


@dataclass(frozen=True, slots=True)
class PatientRow:
    """What one row adds to one patient.

    Attributes:
        row: its number in the file.
        person: the patient's identifier, folded; it never leaves the worker.
        at: when, not yet moved; None if the file does not say.
        is_calendar: whether `at` is a day of the calendar, to be moved, or counts from the first
            visit.
        cells: findings in COPY's binary form.
    """

    row: int
    person: str
    at: datetime | None
    is_calendar: bool
    cells: list[bytes]


@dataclass
class Tally:
    """What was counted while a file was read."""

    rows: int = 0
    refused: int = 0
    persons: set[int] = field(default_factory=set)
    aged: int = 0
    dates: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # reasons for leaving something out

    @property
    def accepted(self) -> int:
        return self.rows - self.refused


class TableReader:
    """Reads the rows of a table by a plan.

    Args:
        table: what to read.
        plan: one entry a column.
        log: where problems go.
        now: no date may lie after it.
        decimal_comma: numbers are written 74,5.
        export: the study that the file is an export of.

    Attributes:
        tally: what was counted so far.
    """

    def __init__(
        self,
        table: Table,
        plan: Sequence[ColumnPlan],
        *,
        log: ProblemLog,
        now: datetime,
        decimal_comma: bool = False,
        export: Export | None = None,
    ) -> None:
        self.tally = Tally()
        self._table, self._plan, self._log, self._now = table, plan, log, now
        self._export = export
        self._comma = decimal_comma
        self._patient = by_role(plan, Role.PATIENT)[0]
        self._inputs: list[tuple[int, Cells]] = []
        for place, column in enumerate(plan):
            if column.role is Role.FINDING and column.concept and not column.needs_decision:
                for concept in filter(None, (column.concept, column.own)):
                    cells = Cells(column, concept, unit=column.unit, decimal_comma=decimal_comma)
                    self._inputs.append((place, cells))
        # In the order of the table's key, so that new findings go to the end of its index.
        self._inputs.sort(key=lambda entry: entry[1].concept.id)
        self._places = [place for place, _ in self._inputs]
        self._shared = _shared([cells.concept for _, cells in self._inputs])
        self._compared = [
            (i, cells.concept.id)
            for i, (_, cells) in enumerate(self._inputs)
            if cells.concept.id in _COMPARED
        ]
        self._watched = [
            (place, cells)
            for place, cells in self._inputs
            if cells.holds_ages
            or cells.concept.critical_low is not None
            or cells.concept.critical_high is not None
        ]
        self._unit_columns = self._linked_units()
        self._birth = next(iter(by_role(plan, Role.BIRTH)), None)
        self._age = self._cells_of_age()
        self._clock = self._find_clock()
        self._seen: dict[tuple[str, datetime | None], tuple[int, bytes]] = {}

    def rows(self) -> Iterator[PatientRow]:
        """The rows that can be stored; what is wrong with the others goes to the log.

        Raises:
            FileRefusedError: the file cannot be read on.
            TooManyErrorsError: more is wrong than anybody would read.
        """
        width = len(self._plan)
        lookups = [cells.__getitem__ for _, cells in self._inputs]
        pick: Callable[[Sequence[str]], Sequence[str]] = _picker(self._places)
        for cells in self._table.rows():
            if not any(map(str.strip, cells)):
                continue
            self.tally.rows += 1
            if self.tally.rows > MAX_ROWS:
                raise FileRefusedError(
                    "too_many_rows", f"The file has more than {MAX_ROWS:,} rows. Split it."
                )
            if len(cells) != width:
                self._refuse(self._wrong_width(len(cells)))
                continue
            found = [look(cell) for look, cell in zip(lookups, pick(cells), strict=True)]
            row = self._row(cells, found)
            if row is None:
                self.tally.refused += 1
            elif row.cells:
                yield row

    def _row(self, cells: list[str], found: list[bytes | Refusal]) -> PatientRow | None:
        """The row as findings; None if something in it is wrong."""
        errors = self._log.errors
        for i, place in self._unit_columns:
            found[i] = self._in_unit(i, cells[place], cells[self._places[i]])
        person = self._person(cells[self._patient])
        if Refusal in set(map(type, found)):
            self._log_refusals(cells, found, person)
        for places in self._shared:
            self._keep_one(places, found)
        at, is_calendar = self._when(cells)
        filled: list[bytes] = list(filter(None, found))  # type: ignore[arg-type]
        filled += self._age_at(cells, at)
        self._compare(found)
        self._watch(cells)
        row = self._table.row
        if self._log.errors > errors or not self._is_new(person, at, filled):
            return None
        if not filled:
            self._log.add(problems.no_findings(row))
        self.tally.persons.add(hash(person))
        self.tally.dates += at is not None and is_calendar
        return PatientRow(row, person, at, is_calendar, filled)

    def _keep_one(self, places: Sequence[int], found: list[bytes | Refusal]) -> None:
        """Where several columns hold one concept: what any of them affirms, else what all say."""
        said = {each for i in places if isinstance(each := found[i], bytes) and each}
        if len(said) > 1 and self._inputs[places[0]][1].concept.kind is not Kind.BINARY:
            header = self._plan[self._places[places[0]]].header
            message = "Other columns of the row hold another value for the same. Keep one."
            problem = problems.of_refusal(
                Refusal("contradiction", message), row=self._table.row, column=header, value=""
            )
            self._log.add(problem)
        for i in places:
            found[i] = b""
        if said:
            found[places[0]] = max(said, key=value_in)

    def _person(self, identifier: str) -> str:
        text = identifier.strip()
        if self._export is not None:
            text = self._export.person_in(text)
        if fault := identifier_fault(text):
            code, message = fault
            self._add(self._patient, "", Refusal(code, message))
            return ""
        return patient_key(text)

    def _is_new(self, person: str, at: datetime | None, filled: list[bytes]) -> bool:
        """Whether no earlier row is about the same patient and time."""
        digest = hashlib.blake2b(b"".join(filled), digest_size=8).digest()
        row, earlier = self._seen.setdefault((person, at), (self._table.row, digest))
        if row == self._table.row:
            return True
        same = earlier == digest
        self._log.add(
            Problem(
                row=self._table.row,
                column=self._plan[self._patient].header,
                code="doubled_patient" if same else "contradictory_rows",
                message=f"The same patient{'' if at is None else ' and date'} as row {row}"
                + (" (case, spaces and the form of letters do not count)." if at is None else ".")
                + ("" if same else " They say different things."),
                remedy="Keep one row, or give each the date of its visit.",
            )
        )
        return False

    def _when(self, cells: Sequence[str]) -> tuple[datetime | None, bool]:
        if self._clock is None:
            return None, False
        place, role = self._clock
        text = cells[place].strip()
        if text.casefold() in NOT_OBSERVED:
            return (dates.EPOCH, False) if role is Role.DAYS else (None, False)
        if role is not Role.TIME:
            return self._counted(place, text, role), False
        at = dates.parse(text, month_first=self._plan[place].month_first)
        if at is None:
            self._add(place, text, Refusal("date", dates.NO_DAY))
        elif at > self._now + timedelta(days=1):
            self._add(place, text, Refusal("future_date", "It lies in the future. Correct it."))
        return at, True

    def _counted(self, place: int, text: str, role: Role) -> datetime | None:
        at = dates.counted(text, dates.DAY if role is Role.DAYS else dates.MONTH)
        if at is None:
            self._add(place, text, Refusal("date", dates.NO_VISIT))
        return at

    def _age_at(self, cells: Sequence[str], at: datetime | None) -> list[bytes]:
        """The age by the birth date, where the file gives no age."""
        if self._birth is None or self._age is None:
            return []
        text = cells[self._birth].strip()
        if text.casefold() in NOT_OBSERVED:
            return []
        born = dates.parse(text, month_first=self._plan[self._birth].month_first)
        if born is None:
            message = "It is not a date of the calendar. Write dates as 1949-02-28."
            self._add(self._birth, "", Refusal("date", message))
            return []
        years = dates.years_between(born, at or self._now)
        if years < 0:
            message = "The patient would not be born yet. Correct one of the dates."
            self._add(self._birth, "", Refusal("date_order", message))
            return []
        cell = self._age[f"{years:.1f}"]
        if isinstance(cell, Refusal):
            self._add(self._birth, "", cell)
            return []
        self.tally.aged += f"{years:.1f}" in self._age.aged
        return [cell]

    def _compare(self, found: Sequence[bytes | Refusal]) -> None:
        """Values that are plausible one by one and not together."""
        if not self._compared:
            return
        values = {
            name: value_in(cell)
            for i, name in self._compared
            if (cell := found[i]) and not isinstance(cell, Refusal)
        }
        for problem in contradictions(values, self._table.row):
            message, _, remedy = problem.message.partition(". ")
            header = next((c.header for c in self._plan if c.concept == problem.column), "")
            self._log.add(
                Problem(
                    row=problem.row,
                    column=header,
                    value=problem.value,
                    code=problem.code,
                    message=message + ".",
                    remedy=remedy,
                )
            )

    def _watch(self, cells: Sequence[str]) -> None:
        for place, known in self._watched:
            cell = cells[place]
            self.tally.aged += cell in known.aged
            if cell in known.critical:
                self._log.add(
                    Problem(
                        row=self._table.row,
                        column=self._plan[place].header,
                        value=shorten(cell.strip()),
                        code="critical",
                        message="It is possible, and would alarm a clinician.",
                        remedy="Nothing, if it is right.",
                        severity=NOTICE,
                    )
                )

    def _log_refusals(
        self, cells: Sequence[str], found: Sequence[bytes | Refusal], person: str
    ) -> None:
        told = set()
        for place, each in sorted(zip(self._places, found, strict=True), key=itemgetter(0)):
            if isinstance(each, Refusal) and place not in told:
                told.add(place)
                text = cells[place].strip()
                key = patient_key(text[:200])  # with shifted columns it may be an identifier
                hidden = key == person or (key, None) in self._seen
                self._add(place, "" if hidden else text, each)

    def _in_unit(self, i: int, unit: str, cell: str) -> bytes | Refusal:
        """A cell whose unit stands in another column."""
        place, cells = self._inputs[i]
        concept = cells.concept
        marks = CellReader(dictionary()[_UNIT_CONCEPTS[concept.id]], self._unit_header(concept.id))
        mark = marks.read(unit)
        found = units.ucum(unit.strip())
        if mark is not None and not isinstance(mark, Refusal):
            found = _IMPERIAL[concept.id] if mark == 0.0 else concept.unit
        if not unit.strip() or found is None or found == concept.unit:
            return cells[cell] if found or not cell.strip() else _unknown_unit()
        column = self._plan[place]
        return Cells(column, concept.id, unit=found, decimal_comma=self._comma)[cell]

    def _unit_header(self, concept: str) -> str:
        return next(c.header for c in self._plan if c.role is Role.UNIT and c.concept == concept)

    def _linked_units(self) -> list[tuple[int, int]]:
        """For each column with a unit column: its place among the inputs, the unit's in the row."""
        inputs = {cells.concept.id: i for i, (_, cells) in enumerate(self._inputs)}
        return [
            (inputs[self._plan[place].concept], place)
            for place in by_role(self._plan, Role.UNIT)
            if self._plan[place].concept in inputs
        ]

    def _cells_of_age(self) -> Cells | None:
        if self._birth is None or any(cells.concept.id == AGE for _, cells in self._inputs):
            return None
        return Cells(self._plan[self._birth].decided(concept=AGE), AGE)

    def _find_clock(self) -> tuple[int, Role] | None:
        for role in (Role.TIME, Role.MONTHS, Role.DAYS):
            if places := by_role(self._plan, role):
                return places[0], role
        return None

    def _wrong_width(self, cells: int) -> Problem:
        columns = len(self._plan)
        more = cells > columns
        return Problem(
            row=self._table.row,
            code="wrong_number_of_cells",
            message=f"The row has {cells:,} cells and the header {columns:,}.",
            remedy="Look for a separator inside a cell, which needs quotation marks around it."
            if more
            else "Look for a missing separator or a line that was broken in two.",
        )

    def _add(self, place: int, value: str, refusal: Refusal) -> None:
        header = self._plan[place].header
        row = self._table.row
        self._log.add(problems.of_refusal(refusal, row=row, column=header, value=shorten(value)))

    def _refuse(self, problem: Problem) -> None:
        self.tally.refused += 1
        self._log.add(problem)


def _shared(concepts: Sequence[Concept]) -> list[list[int]]:
    """Places of the inputs that hold the same concept as another."""
    places: dict[str, list[int]] = {}
    for i, concept in enumerate(concepts):
        places.setdefault(concept.id, []).append(i)
    return [found for found in places.values() if len(found) > 1]


def _picker(places: Sequence[int]) -> Callable[[Sequence[str]], Sequence[str]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda cells: [cells[place] for place in places]


def _unknown_unit() -> Refusal:
    return Refusal("unit", "Its unit is not known. Write the unit, or convert the values.")
