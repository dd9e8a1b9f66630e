"""Imports as pages show them: typed, worded, ready to print."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from django.utils import timezone

from apps.jobs.models import JobState
from apps.patients.importing import problems as problem_log
from apps.patients.importing import undoing, units
from apps.patients.importing.folder import ImportFolder
from apps.patients.importing.plan import By, ColumnPlan, Role, from_json
from apps.patients.importing.problems import ERROR, LABELS, Problem
from apps.patients.importing.records import facts_from_json, header_problems
from apps.patients.importing.source import Facts, Format, Shape
from apps.patients.importing.stages import OPEN_STAGES, Stage
from apps.patients.models import CodeConcept, EhrImport, ImportStep, MappingTemplate
from ml.concepts import Concept, Kind, dictionary, normalise_name

_BUSY = {Stage.ANALYSING, Stage.CHECKING, Stage.COMMITTING, Stage.UNDOING}
_ROWS = {
    Shape.WIDE: "{n:,} rows, one per patient",
    Shape.VISITS: "{n:,} rows, one per visit",
    Shape.LONG: "{n:,} rows, one per observation",
    Shape.CODED: "{n:,} observations and facts",
}
_DECIDED = {
    By.NOBODY: "",
    By.CODE: "Code",
    By.NAME: "Exact name",
    By.EXPORT: "Known study file",
    By.TEXT: "Text similarity",
    By.RULE: "Rule",
    By.TEMPLATE: "Saved mapping",
    By.PERSON: "You",
    By.LINK: "Confirmed link",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportStatus:
    """Where an import stands. `percent` and `seconds_left` are None while they are not known."""

    stage: Stage
    stage_label: str
    step_state: str
    done: int
    total: int
    percent: int | None
    seconds_left: int | None
    reason: str
    is_busy: bool
    has_failed: bool
    can_cancel: bool
    can_retry: bool
    can_undo: bool
    why_not_undo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnView:
    """One line of the mapping page."""

    key: str
    header: str
    group: str  # to_decide, near_label, matched, ignored, dropped
    role: Role
    concept: str
    concept_label: str
    also_stored_as: str
    unit: str
    unit_label: str
    accepted_units: tuple[tuple[str, str], ...]
    decided_by: By
    decided_by_label: str
    score: float | None
    examples: tuple[str, ...]
    hint: str
    codes_text: str
    label_proximal: bool
    for_prediction: bool
    needs_decision: bool
    alternatives: tuple[tuple[str, str, float], ...]  # concept, label, score


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateView:
    """A saved mapping."""

    id: str
    name: str
    version: int
    saved_at: object
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingView:
    """The mapping page."""

    facts: Facts
    sentences: tuple[str, ...]
    columns: tuple[ColumnView, ...]
    to_decide: int
    template: TemplateView | None
    fits: int
    problems: tuple[Problem, ...]

    def group(self, name: str) -> tuple[ColumnView, ...]:
        return tuple(column for column in self.columns if column.group == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemCount:
    """How many problems of a kind there are."""

    code: str
    label: str
    count: int
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemPage:
    """One page of problems. `kept` tells how many can be looked at; all are counted."""

    problems: tuple[Problem, ...]
    page: int
    pages: int
    total: int
    first: int
    last: int
    kept: int
    counts: tuple[ProblemCount, ...]
    errors: int
    rows: int
    rows_refused: int
    rows_in_order: int
    dropped: tuple[str, ...]
    checked_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptChoice:
    """A concept to choose for a column."""

    id: str
    label: str
    group: str
    unit_label: str
    label_proximal: bool
    for_prediction: bool


def status_of(*, ehr_import: EhrImport) -> ImportStatus:
    """Where an import stands now."""
    step = ehr_import.step
    stage = Stage(ehr_import.stage)
    failed = step is not None and step.state == JobState.FAILED and stage in _BUSY
    busy = stage in _BUSY and not failed
    why_not = undoing.why_not(ehr_import) if stage is Stage.COMMITTED else ""
    percent, left = _progress(step) if busy else (None, None)
    return ImportStatus(
        stage=stage,
        stage_label=stage.label,
        step_state=step.state if step else "",
        done=step.done if step else 0,
        total=step.total if step else 0,
        percent=percent,
        seconds_left=left,
        reason=step.reason if step and failed else "",
        is_busy=busy,
        has_failed=failed,
        can_cancel=stage in OPEN_STAGES,
        can_retry=failed and ImportFolder(ehr_import.pk).file.exists(),
        can_undo=stage is Stage.COMMITTED and not why_not,
        why_not_undo=why_not,
    )


def mapping_of(*, ehr_import: EhrImport) -> MappingView:
    """The columns of an import's file, those to decide first."""
    facts = facts_from_json(ehr_import.facts)
    examples = ImportFolder(ehr_import.pk).examples()
    columns = from_json(ehr_import.columns)
    views = tuple(column_view(column, examples.get(column.key, ())) for column in columns)
    template = ehr_import.template
    keys = {row["key"] for row in template.columns} if template else set()
    return MappingView(
        facts=facts,
        sentences=_sentences(facts, ehr_import.rows, len(columns)),
        columns=views,
        to_decide=sum(view.needs_decision for view in views),
        template=template_view(template) if template else None,
        fits=sum(column.key in keys for column in columns),
        problems=header_problems(ehr_import.facts),
    )


def column_view(column: ColumnPlan, examples: tuple[str, ...]) -> ColumnView:
    """A column as the mapping page shows it."""
    known = dictionary().get(column.concept)
    unit = column.unit or (known.unit if known else "")
    by = _DECIDED[column.decided_by]
    if column.decided_by is By.CODE:
        by = column.hint.partition(". ")[0]  # the code itself
    return ColumnView(
        key=column.key,
        header=column.header,
        group=_group(column),
        role=column.role,
        concept=column.concept,
        concept_label=_concept_label(column, known),
        also_stored_as=column.own,
        unit=unit,
        unit_label=units.label_of(unit),
        accepted_units=_accepted(known),
        decided_by=column.decided_by,
        decided_by_label=by,
        score=column.score,
        examples=examples,
        hint=column.hint.partition(". ")[2] if column.decided_by is By.CODE else column.hint,
        codes_text=_codes_text(column, known),
        label_proximal=column.label_proximal,
        for_prediction=column.for_prediction,
        needs_decision=column.needs_decision,
        alternatives=tuple(
            (concept, dictionary()[concept].label, score)
            for concept, score in column.alternatives
            if concept in dictionary()
        ),
    )


def template_view(template: MappingTemplate) -> TemplateView:
    return TemplateView(
        id=str(template.pk),
        name=template.name,
        version=template.version,
        saved_at=template.saved_at,
        columns=len(template.columns),
    )


def page_of_problems(
    *, ehr_import: EhrImport, page: int = 1, per_page: int = 50, code: str = ""
) -> ProblemPage:
    """Some of the problems of a checked import, in the order of the file."""
    counts = tuple(
        ProblemCount(code=name, label=LABELS.get(name, name), count=count, severity=severity)
        for name, severity, count in ehr_import.problem_counts
    )
    path = ImportFolder(ehr_import.pk).problems
    found: list[Problem] = []
    kept, page = 0, max(page, 1)
    if path.exists():
        offset = (page - 1) * per_page
        found, kept = problem_log.page_of(path, offset=offset, limit=per_page, code=code)
    total = sum(c.count for c in counts if not code or c.code == code)
    return ProblemPage(
        problems=tuple(found),
        page=page,
        pages=max(1, ceil(kept / per_page)),
        total=total,
        first=(page - 1) * per_page + 1 if found else 0,
        last=(page - 1) * per_page + len(found),
        kept=kept,
        counts=counts,
        errors=sum(c.count for c in counts if c.severity == ERROR),
        rows=ehr_import.rows,
        rows_refused=ehr_import.rows_refused,
        rows_in_order=ehr_import.rows - ehr_import.rows_refused,
        dropped=tuple(ehr_import.dropped),
        checked_in_s=ehr_import.check_s,
    )


def concept_choices(*, query: str = "", limit: int = 50) -> tuple[ConceptChoice, ...]:
    """Concepts whose name holds the query; all of them for an empty one."""
    wanted = normalise_name(query)
    found = [
        ConceptChoice(
            id=concept.id,
            label=concept.label,
            group=concept.group,
            unit_label=units.label_of(concept.unit),
            label_proximal=concept.label_proximal,
            for_prediction=concept.in_schema,
        )
        for concept in dictionary().values()
        if concept.group not in {"Administrative", "Units of other columns"}
        and any(wanted in normalise_name(name) for name in concept.names())
    ]
    return tuple(found[:limit])


def label_of_concept(concept: str) -> str:
    """What a stored concept is called, be it the dictionary's or a code."""
    known = dictionary().get(concept)
    if known is not None:
        return known.label
    code = CodeConcept.objects.filter(pk=concept).first()
    return code.label if code else concept


def _progress(step: ImportStep | None) -> tuple[int | None, int | None]:
    if step is None or not step.total or step.started_at is None:
        return None, None
    share = step.done / step.total
    if not 0 < share <= 1:
        return round(100 * share), None
    spent: timedelta = timezone.now() - step.started_at
    return round(100 * share), ceil(spent.total_seconds() * (1 - share) / share)


def _sentences(facts: Facts, rows: int, columns: int) -> tuple[str, ...]:
    said = [_ROWS[facts.shape].format(n=rows), f"{columns:,} columns"]
    if facts.format is Format.TEXT:
        mark = "comma" if facts.decimal_mark == "," else "point"
        said.append(f"{facts.delimiter}, {facts.encoding}, decimal {mark}")
    elif facts.format is Format.WORKBOOK:
        said.append(f"{facts.format}, sheet {facts.sheet}")
    else:
        said[1] = f"{columns:,} kinds of observation"
        said.append(str(facts.format))
    return (*said, *facts.notes)


def _group(column: ColumnPlan) -> str:
    if column.needs_decision:
        return "to_decide"
    if column.role in {Role.DROPPED, Role.IGNORED}:
        return column.role.value
    return "near_label" if column.label_proximal and not column.for_prediction else "matched"


def _concept_label(column: ColumnPlan, known: Concept | None) -> str:
    labels = {
        Role.PATIENT: "Pseudonym",
        Role.BIRTH: "Age at visit",
        Role.TIME: "Date of the visit",
        Role.MONTHS: "Months since the first visit",
        Role.DAYS: "Days since the first visit",
        Role.UNIT: f"Unit of {known.label.lower()}" if known else "Unit",
        Role.CODE: "What was observed",
        Role.SYSTEM: "Code system",
        Role.VALUE: "Value",
        Role.VALUE_UNIT: "Unit of the value",
    }
    if column.role in labels:
        return labels[column.role]
    return known.label if known else column.label


def _codes_text(column: ColumnPlan, known: Concept | None) -> str:
    """How values are to be read: a range, the levels, or a conversion."""
    if column.role is not Role.FINDING or known is None:
        return ""
    if column.unit and column.unit != known.unit:
        return f"{units.label_of(column.unit)} to {units.label_of(known.unit)}"
    if known.kind is Kind.CONTINUOUS:
        return f"{known.low:g} to {known.high:g} {units.label_of(known.unit)}".rstrip()
    if column.coding:
        pairs = ((code, value) for code, value in column.coding.items() if value is not None)
        return ", ".join(f"{code} = {known.levels[int(value)]}" for code, value in pairs)
    return ", ".join(known.levels.values())


def _accepted(known: Concept | None) -> tuple[tuple[str, str], ...]:
    if known is None or not known.unit:
        return ()
    return tuple((unit, units.label_of(unit)) for unit in (known.unit, *known.units))
