"""Coded observations to findings: entries of FHIR files, and rows of files with a row a value."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import isnan

from apps.patients.importing import codes, dates, problems, units
from apps.patients.importing.fhir_resources import CodedObservation
from apps.patients.importing.plan import By, ColumnPlan, Role, by_role
from apps.patients.importing.problems import NOTICE, Problem, ProblemLog
from apps.patients.importing.reading import PatientRow, Tally
from apps.patients.importing.source import FileRefusedError, Table
from apps.patients.importing.values import AGE, Cells, answer_value, packed
from ml.concepts import concepts_by_name, dictionary, normalise_name
from ml.data.cells import NOT_OBSERVED, Refusal, shorten
from ml.data.ehr import identifier_fault, patient_key

BIRTH = "birth date"
MAX_KINDS = 5_000
_ADULT_YEARS = 18.0
_EXAMPLES = 5


def of_rows(
    table: Table, plan: Sequence[ColumnPlan], *, decimal_comma: bool
) -> Iterator[CodedObservation | Problem]:
    """The rows of a long file as coded observations."""
    place = {role: by_role(plan, role) for role in Role}
    [patient], [code] = place[Role.PATIENT][:1], place[Role.CODE][:1]
    [value] = place[Role.VALUE][:1]
    unit = next(iter(place[Role.VALUE_UNIT]), None)
    system = next(iter(place[Role.SYSTEM]), None)
    clock = next(
        ((role, place[role][0]) for role in (Role.TIME, Role.MONTHS, Role.DAYS) if place[role]),
        None,
    )
    for cells in table.rows():
        if not any(map(str.strip, cells)):
            continue
        if len(cells) != len(plan):
            yield _malformed(table.row, "", "The row has not as many cells as the header.")
            continue
        identifier = cells[patient].strip()
        if fault := identifier_fault(identifier):
            yield _malformed(table.row, plan[patient].header, fault[1], code=fault[0])
            continue
        at = None
        if clock is not None and cells[clock[1]].strip().casefold() not in NOT_OBSERVED:
            role, when = clock
            at = _moment(cells[when], role, month_first=plan[when].month_first)
            if at is None:
                message = dates.NO_DAY if role is Role.TIME else dates.NO_VISIT
                yield _malformed(table.row, plan[when].header, message, code="date")
                continue
        text = cells[value].strip()
        if decimal_comma and text.count(",") == 1:
            text = text.replace(",", ".")
        known = codes.system_of(cells[system]) if system is not None else None
        found = codes.make_code(known, cells[code]) if known else codes.code_in(cells[code])
        yield CodedObservation(
            row=table.row,
            patient=identifier,
            code=found,
            name=cells[code].strip()[:100],
            value=text,
            unit=cells[unit].strip() if unit is not None else "",
            at=at,
            is_calendar=clock is None or clock[0] is Role.TIME,
        )


def _moment(text: str, role: Role, *, month_first: bool) -> datetime | None:
    if role is Role.TIME:
        return dates.parse(text, month_first=month_first)
    return dates.counted(text, dates.DAY if role is Role.DAYS else dates.MONTH)


def match_observations(
    observations: Iterable[CodedObservation | Problem],
) -> tuple[tuple[ColumnPlan, ...], dict[str, tuple[str, ...]], Counter[str]]:
    """What each kind of observation is, with examples and how often it occurs."""
    plans: dict[str, ColumnPlan] = {}
    examples: dict[str, dict[str, None]] = {}
    counts: Counter[str] = Counter()
    for each in observations:
        if isinstance(each, Problem):
            continue
        key = each.key
        counts[key] += 1
        if key not in plans:
            if len(plans) >= MAX_KINDS:
                raise FileRefusedError(
                    "too_many_columns", f"There are more than {MAX_KINDS:,} kinds of observation."
                )
            plans[key] = _plan_of(each)
            examples[key] = {}
        if len(examples[key]) < _EXAMPLES and each.name != BIRTH:
            shown = f"{each.value:.4g}" if isinstance(each.value, float) else each.value
            examples[key][shorten(f"{shown} {each.unit}".strip())] = None
    return tuple(plans.values()), {k: tuple(v) for k, v in examples.items()}, counts


def _plan_of(each: CodedObservation) -> ColumnPlan:
    name = shorten(each.name, 100) or str(each.code)
    if each.code is not None:
        meaning = codes.meaning_of(each.code, each.name)
        return ColumnPlan(
            key=each.key,
            header=name,
            role=Role.FINDING,
            concept=meaning.concept or meaning.own,
            own=meaning.own if meaning.concept else "",
            label=meaning.label,
            unit="" if meaning.concept else (units.ucum(each.unit) or each.unit)[:32],
            decided_by=By.CODE if meaning.by == "code" else By.NAME,
            score=1.0,
            hint=str(each.code),
        )
    if each.name == BIRTH:
        hint = "Becomes the age; the date itself does not enter."
        return ColumnPlan(
            key=each.key, header=name, role=Role.BIRTH, decided_by=By.NAME, score=1.0, hint=hint
        )
    concept = concepts_by_name().get(normalise_name(each.name))
    if concept is None:
        hint = "Neither its code nor its name is known; a person decides."
        return ColumnPlan(
            key=each.key, header=name, role=Role.FINDING, needs_decision=True, hint=hint
        )
    return ColumnPlan(
        key=each.key,
        header=name,
        role=Role.FINDING,
        concept=concept.id,
        decided_by=By.NAME,
        score=1.0,
    )


class ObservationReader:
    """Reads coded observations by a plan.

    Attributes:
        tally: what was counted so far; its rows are observations.
    """

    def __init__(
        self,
        observations: Iterable[CodedObservation | Problem],
        plan: Sequence[ColumnPlan],
        *,
        log: ProblemLog,
        now: datetime,
        born: Mapping[str, datetime],
    ) -> None:
        self.tally = Tally()
        self._observations, self._log, self._now, self._born = observations, log, now, born
        self._plans = {column.key: column for column in plan}
        self._cells: dict[tuple[str, str, str], Cells] = {}
        self._newest: dict[str, datetime] = {}
        self._seen: dict[tuple[str, str, datetime | None], tuple[int, bytes]] = {}

    def rows(self) -> Iterator[PatientRow]:
        """What can be stored; what is wrong with the rest goes to the log."""
        for each in self._observations:
            self.tally.rows += 1
            if isinstance(each, Problem):
                self._log.add(each)
                if each.severity == NOTICE:
                    self.tally.skipped[each.code] += 1
                else:
                    self.tally.refused += 1
                continue
            errors = self._log.errors
            cells = self._findings(each)
            if self._log.errors > errors:
                self.tally.refused += 1
                continue
            person = patient_key(each.patient)
            self.tally.persons.add(hash(person))
            if cells:
                self.tally.dates += each.at is not None and each.is_calendar
                yield PatientRow(each.row, person, each.at, each.is_calendar, cells)
        yield from self._ages()

    def _findings(self, each: CodedObservation) -> list[bytes]:
        plan = self._plans[each.key]
        if plan.role is not Role.FINDING or plan.needs_decision or not plan.concept:
            if plan.role is not Role.BIRTH:
                self.tally.skipped[plan.role if not plan.needs_decision else "undecided"] += 1
            return []
        if each.is_calendar and each.at is not None and not self._is_possible(each):
            return []
        found = []
        for concept in filter(None, (plan.concept, plan.own)):
            cell = self._value(each, plan, concept)
            if isinstance(cell, Refusal):
                self._refuse(each, cell)
                return []
            if cell and self._is_new(each, concept, cell):
                found.append(cell)
        if each.is_calendar and each.at is not None:
            newest = self._newest.setdefault(each.patient, each.at)
            self._newest[each.patient] = max(newest, each.at)
        return found

    def _value(self, each: CodedObservation, plan: ColumnPlan, concept: str) -> bytes | Refusal:
        known = dictionary().get(concept)
        if known is not None and known.answers and isinstance(each.value, str):
            code = each.answer.code if each.answer else ""
            value = answer_value(known, each.value, code)
            if value is not None:
                return b"" if isnan(value) else packed(concept, value, "")
        if each.answer is not None and (known is None or not known.levels):
            own = f"{concept}={each.answer.concept}"
            if known is None and len(own) <= codes.MAX_CONCEPT_CHARACTERS:
                return packed(own, 1.0, "")
        text = repr(each.value) if isinstance(each.value, float) else each.value
        unit = self._unit_of(each, plan, concept)
        if isinstance(unit, Refusal):
            return unit
        key = (plan.key, concept, unit)
        if key not in self._cells:
            self._cells[key] = Cells(plan, concept, unit=unit)
        cells = self._cells[key]
        cell = cells[text]
        self.tally.aged += text in cells.aged
        if isinstance(cell, Refusal) and known is None and isinstance(each.value, str):
            self.tally.skipped["free text"] += 1  # a text under a code that we know nothing about
            return b""
        return cell

    def _unit_of(self, each: CodedObservation, plan: ColumnPlan, concept: str) -> str | Refusal:
        """The unit of an observation, if the concept can be had in it."""
        known = dictionary().get(concept)
        if known is None or known.levels or not each.unit:
            return plan.unit if known is not None else ""
        unit = units.ucum(each.unit)
        if unit is not None and units.conversion(known, unit) is not None:
            return unit if unit != known.unit else ""
        if not known.unit and unit in {"{score}", "1", None}:
            return ""
        accepted = [known.unit, *known.units]
        return Refusal(
            "unit",
            f"{known.label} cannot be had in {shorten(each.unit)}. "
            f"Accepted: {', '.join(map(units.label_of, accepted))}.",
        )

    def _is_possible(self, each: CodedObservation) -> bool:
        """Whether the date can be; a problem if not."""
        at, born = each.at, self._born.get(each.patient)
        if at is not None and at > self._now + timedelta(days=1):
            self._refuse(each, Refusal("future_date", "It lies in the future. Correct the date."))
            return False
        if at is not None and born is not None and at < born - timedelta(days=1):
            message = "It lies before the patient's birth. Correct one of the dates."
            self._refuse(each, Refusal("date_order", message))
            return False
        return True

    def _is_new(self, each: CodedObservation, concept: str, cell: bytes) -> bool:
        key = (each.patient, concept, each.at)
        row, earlier = self._seen.setdefault(key, (each.row, cell))
        if row == each.row and earlier == cell:
            return True
        if earlier == cell:
            self.tally.skipped["said twice"] += 1
            return False
        message = f"Entry {row} gives another value for the same patient and moment. Keep one."
        self._refuse(each, Refusal("contradiction", message))
        return False

    def _refuse(self, each: CodedObservation, refusal: Refusal) -> None:
        value = f"{each.value:g}" if isinstance(each.value, float) else each.value
        problem = problems.of_refusal(
            refusal,
            row=each.row,
            column=self._plans[each.key].header,
            value=shorten(f"{value} {each.unit}".strip()),
        )
        born = self._born.get(each.patient)
        is_child = (
            born is not None
            and each.at is not None
            and dates.years_between(born, each.at) < _ADULT_YEARS
        )
        if is_child and refusal.code in {"out_of_range", "unit"}:
            problem = replace(
                problem,
                code="childhood",
                message="Left out: measured in childhood, and our ranges are those of adults.",
                remedy="Nothing.",
                severity=NOTICE,
            )
            self.tally.skipped["childhood"] += 1
        self._log.add(problem)

    def _ages(self) -> Iterator[PatientRow]:
        """Each patient's age when something was last recorded about them."""
        plan = next((p for p in self._plans.values() if p.role is Role.BIRTH), None)
        if plan is None:
            return
        cells = Cells(plan.decided(concept=AGE), AGE)
        for patient, born in self._born.items():
            at = self._newest.get(patient, self._now)
            text = f"{dates.years_between(born, at):.1f}"
            cell = cells[text]
            if isinstance(cell, Refusal):
                self._log.add(problems.of_refusal(cell, row=0, column=plan.header, value=""))
                continue
            self.tally.aged += text in cells.aged
            is_dated = patient in self._newest
            yield PatientRow(0, patient_key(patient), at if is_dated else None, True, [cell])


def _malformed(row: int, column: str, message: str, *, code: str = "malformed") -> Problem:
    return Problem(row=row, column=column, code=code, message=message, remedy="Correct the row.")
