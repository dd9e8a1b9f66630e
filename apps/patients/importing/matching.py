"""Columns to concepts: by what is known of the file, by code, by name. Text comes last."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apps.patients.importing import codes, dates, door, units
from apps.patients.importing.exports import Export, export_of
from apps.patients.importing.plan import By, ColumnPlan, Role
from ml.concepts import Concept, concepts_by_name, dictionary, normalise_name
from ml.data.cells import shorten
from ml.data.columns import PATIENT_COLUMNS, UNITS_GROUP

ADMINISTRATIVE = "Administrative"
_PATIENT = [
    *map(
        normalise_name,
        (
            *PATIENT_COLUMNS,
            "patientid",
            "subjectid",
            "NACCID",
            "person",
            "person_id",
            "record_id",
            "pseudonym",
            "case",
            "mrn",
            "id_number",
        ),
    )
]
_TIME = frozenset(
    {
        "date",
        "visitdate",
        "examdate",
        "observationdate",
        "effectivedate",
        "datetime",
        "timestamp",
        "observedat",
        "dateofvisit",
        "assessmentdate",
        "measurementdate",
        "collectiondate",
        "time",
        "sampledate",
        "testdate",
        "resultdate",
        "startdate",
        "recordeddate",
        "encounterdate",
    }
)
_BIRTH = frozenset({"dob", "dateofbirth", "birthdate", "yearofbirth", "birthyear", "yob", "birth"})
_CODE = (
    "code",
    "loinc",
    "loinccode",
    "conceptcode",
    "conceptid",
    "itemcode",
    "testcode",
    "icd10",
    "icdcode",
    "snomed",
    "variable",
    "parameter",
    "measure",
    "measurement",
    "test",
    "testname",
    "concept",
    "analyte",
    "item",
    "observation",
    "variablename",
    "name",
)
_VALUE = (
    "value",
    "result",
    "resultvalue",
    "valuenumeric",
    "valuenum",
    "measurementvalue",
    "observationvalue",
    "numericvalue",
)
_VALUE_UNIT = frozenset({"unit", "units", "uom", "valueunit", "unitofmeasure", "resultunit"})
_SYSTEM = frozenset({"system", "codesystem", "vocabulary", "codingsystem", "terminology"})
_ABBREVIATIONS = {
    "wt": "weight_kg",
    "ht": "height_cm",
    "hr": "pulse_per_min",
    "rr": "respiration_per_min",
    "temp": "temperature_c",
    "htn": "hypertension",
    "dm": "diabetes",
    "hld": "high_cholesterol",
    "cva": "stroke",
    "osa": "sleep_apnoea",
}
_UNIT_COLUMNS = {
    "weight_unit": "weight_kg",
    "height_unit": "height_cm",
    "temperature_unit": "temperature_c",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A column as the file shows it: its header and some of its cells, none of them twice."""

    header: str
    examples: tuple[str, ...]


def match_table(columns: Sequence[Seen]) -> tuple[ColumnPlan, ...]:
    """What each column of a table is, as far as it can be told without reading meaning."""
    headers = [column.header for column in columns]
    names = [normalise_name(header) for header in headers]
    long = _long_columns(names)
    patient = next((names.index(name) for name in _PATIENT if name in names), None)
    export = export_of(headers)
    taken: dict[str, ColumnPlan] = {}
    plans = []
    for place, column in enumerate(columns):
        key = _key(names, place)
        if place == patient:
            plan = _plan(key, column, Role.PATIENT, By.NAME, score=1.0)
        elif place in long:
            plan = _plan(key, column, long[place], By.NAME, score=1.0)
        else:
            plan = _understand(key, column, names, export)
        plans.append(_once(plan, taken))
    return tuple(plans)


def _understand(key: str, column: Seen, names: Sequence[str], export: Export | None) -> ColumnPlan:
    """What a column is that is neither the patient nor a part of a long file."""
    name = normalise_name(column.header)
    if export is not None and name in export.columns:
        return _of_export(key, column, export)
    if not name or name in _PATIENT:
        return _dropped(key, column, "record number" if name else "column without a name")
    if name.endswith("bl") and name[:-2] in names:
        hint = f"The value at the first visit; the column {column.header[:-3]} has each visit's."
        return _plan(key, column, Role.IGNORED, By.RULE, hint=hint)
    if (code := codes.code_in(column.header)) is not None:
        return _of_code(key, column, code)
    if name in _BIRTH:
        first = dates.is_month_first(column.examples)
        hint = "Becomes the age; the date itself does not enter."
        return _plan(key, column, Role.BIRTH, By.NAME, score=1.0, hint=hint, month_first=first)
    if name in _TIME:
        return _time(key, column)
    if found := _by_name(key, column):
        return found
    if kind := door.kind_by_header(column.header) or door.kind_by_values(column.examples):
        return _dropped(key, column, kind)
    return _plan(
        key,
        column,
        Role.FINDING,
        By.NOBODY,
        needs_decision=True,
        hint="Nothing of this name is known; a person decides.",
    )


def _of_export(key: str, column: Seen, export: Export) -> ColumnPlan:
    meant = export.columns[normalise_name(column.header)]
    return _plan(
        key,
        column,
        Role(meant.get("role", Role.FINDING)),
        By.EXPORT,
        score=1.0,
        concept=meant.get("concept", ""),
        coding={
            code: None if math.isnan(value) else float(value)
            for code, value in meant.get("coding", {}).items()
        },
        hint=f"Coded as in {export.name}.",
    )


def _of_code(key: str, column: Seen, code: codes.Code) -> ColumnPlan:
    meaning = codes.meaning_of(code)
    return _plan(
        key,
        column,
        Role.FINDING,
        By.CODE,
        score=1.0,
        concept=meaning.concept or meaning.own,
        own=meaning.own if meaning.concept else "",
        label=meaning.label,
        hint=str(code),
    )


def _time(key: str, column: Seen) -> ColumnPlan:
    first = dates.is_month_first(column.examples)
    hint = "All dates of a patient are moved by the same secret number of days."
    return _plan(key, column, Role.TIME, By.NAME, score=1.0, hint=hint, month_first=first)


def _by_name(key: str, column: Seen) -> ColumnPlan | None:
    """A column whose name, with or without a unit after it, is a concept's."""
    known = concepts_by_name()
    concept, unit = known.get(normalise_name(column.header)) or _abbreviated(column.header), ""
    if concept is None:
        stem, found = units.split_unit(column.header)
        concept = known.get(normalise_name(stem)) or _abbreviated(stem)
        if concept is None or found is None or units.conversion(concept, found) is None:
            return None
        unit = found if found != concept.unit else ""
    if concept.group == ADMINISTRATIVE:
        return _administrative(key, column, concept)
    if concept.group == UNITS_GROUP:
        return _plan(key, column, Role.UNIT, By.NAME, score=1.0, concept=_UNIT_COLUMNS[concept.id])
    hint = f"Converted from {units.label_of(unit)}." if unit else ""
    return _plan(
        key, column, Role.FINDING, By.NAME, score=1.0, concept=concept.id, unit=unit, hint=hint
    )


def _abbreviated(name: str) -> Concept | None:
    found = _ABBREVIATIONS.get(normalise_name(name))
    return dictionary()[found] if found else None


def _administrative(key: str, column: Seen, concept: Concept) -> ColumnPlan:
    if concept.id == "visit_date":
        return _time(key, column)
    if concept.id in {"visit", "visit_month"}:
        hint = "Months since the first visit."
        return _plan(key, column, Role.MONTHS, By.NAME, score=1.0, hint=hint)
    hint = f"{concept.label}: about the study, not about a patient."
    return _plan(key, column, Role.IGNORED, By.RULE, concept=concept.id, hint=hint)


def _dropped(key: str, column: Seen, kind: str) -> ColumnPlan:
    return _plan(key, column, Role.DROPPED, By.RULE, hint=kind)


def _once(plan: ColumnPlan, taken: dict[str, ColumnPlan]) -> ColumnPlan:
    """A concept belongs to one column; the second that wants it waits for a person."""
    target = plan.concept if plan.role is Role.FINDING and not plan.own else ""
    if plan.role in {Role.TIME, Role.MONTHS, Role.BIRTH, Role.DAYS}:
        target = plan.role
    if not target or taken.setdefault(target, plan) is plan:
        return plan
    first = taken[target].header
    if plan.role is not Role.FINDING:
        return plan.decided(role=Role.IGNORED, hint=f"The column {first} says it already.")
    hint = f"The column {first} has this concept already. Keep one."
    return plan.decided(needs_decision=True, hint=hint)


def _long_columns(names: Sequence[str]) -> Mapping[int, Role]:
    """Places and roles in a file with a row an observation; empty for any other file."""
    code = next((names.index(name) for name in _CODE if name in names), None)
    value = next((names.index(name) for name in _VALUE if name in names), None)
    if code is None or value is None:
        return {}
    roles = {code: Role.CODE, value: Role.VALUE}
    for place, name in enumerate(names):
        if name in _VALUE_UNIT:
            roles.setdefault(place, Role.VALUE_UNIT)
        elif name in _SYSTEM:
            roles.setdefault(place, Role.SYSTEM)
    return roles


def _key(names: Sequence[str], place: int) -> str:
    """What identifies a column in files of the same shape, were it there twice or nameless."""
    name = names[place] or "unnamed"
    earlier = sum((n or "unnamed") == name for n in names[:place])
    return name[:100] if not earlier else f"{name[:100]} {earlier + 1}"


def _plan(
    key: str,
    column: Seen,
    role: Role,
    by: By,
    **more: object,
) -> ColumnPlan:
    header = shorten(column.header.strip(), 100)
    return ColumnPlan(key=key, header=header, role=role, decided_by=by, **more)  # type: ignore[arg-type]
