"""What single FHIR R4 resources say about their patient."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.patients.importing import codes, dates
from apps.patients.importing.codes import Code
from apps.patients.importing.problems import NOTICE, Problem
from ml.data.ehr import identifier_fault

MAX_COMPONENTS = 100
MAX_TEXT = 200
_NOT_DONE = {
    "Observation": {"entered-in-error", "cancelled", "registered"},
    "MedicationRequest": {"entered-in-error", "cancelled", "draft"},
    "MedicationStatement": {"entered-in-error", "not-taken", "intended"},
    "Procedure": {"entered-in-error", "not-done", "preparation"},
}
_SAYS_NOTHING = {"", "other", "unknown", "asked but unknown", "asked but no answer"}
_DEMOGRAPHIC = {
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race": "race",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity": "ethnicity",
}


class MalformedError(Exception):
    """A field is not what FHIR says it is. The text names the field and quotes no value."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource, its number in the file from 1, and the address that others call it by."""

    number: int
    resource: dict[str, Any]
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedObservation:
    """One thing said about one patient.

    Attributes:
        row: number of the entry.
        patient: the identity of whom it is about.
        code: what was observed; None for what a Patient resource or a name says.
        name: display of the code, or the name of the field or column.
        value: a number, a text to be understood, or a coded answer; 1 for a fact.
        answer: the code of a coded answer.
        unit: as the file writes it.
        at: when, if it is said.
        is_calendar: whether `at` is a day of the calendar, or counts from the first visit.
        born: the birth date, where a Patient resource gives one.
    """

    row: int
    patient: str
    code: Code | None
    name: str
    value: float | str
    answer: Code | None = None
    unit: str = ""
    at: datetime | None = None
    is_calendar: bool = True
    born: datetime | None = None

    @property
    def key(self) -> str:
        """What observations of the same kind share."""
        return self.code.concept if self.code else self.name


def identity_of(entry: Entry) -> str:
    """Who a Patient resource is: its logical id, else its address, else its first identifier."""
    found = entry.resource.get("id")
    if isinstance(found, str) and found:
        return _identifier(found, "id")
    if entry.address:
        return _identifier(entry.address.rpartition("/")[2].rpartition(":")[2], "fullUrl")
    for identifier in _list(entry.resource, "identifier"):
        if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
            return _identifier(identifier["value"], "identifier")
    raise MalformedError("id", "The patient has no id and no identifier.")


def addresses_of(entry: Entry) -> list[str]:
    """What other entries may call a resource."""
    found = [entry.address] if entry.address else []
    if isinstance(entry.resource.get("id"), str):
        found.append(f"{entry.resource['resourceType']}/{entry.resource['id']}")
    return found


def subject_of(entry: Entry) -> str:
    """The reference to whom a resource is about."""
    subject = _dict(entry.resource, "subject")
    reference = subject.get("reference")
    if not isinstance(reference, str) or not reference:
        raise MalformedError("subject", "It does not say whom it is about.")
    _identifier(reference.rpartition("/")[2], "subject")
    return reference


def of_patient(entry: Entry, person: str) -> Iterator[CodedObservation]:
    resource = entry.resource
    born = None
    if "birthDate" in resource:
        born = _moment(resource["birthDate"], "birthDate")
        yield CodedObservation(
            row=entry.number, patient=person, code=None, name="birth date", value="", born=born
        )
    if "gender" in resource:
        yield _said(entry, person, "gender", _text(resource["gender"], "gender"))
    status = _dict(resource, "maritalStatus")
    if status:
        yield _said(entry, person, "marital status", _display(status, "maritalStatus"))
    for extension in _list(resource, "extension"):
        name = _DEMOGRAPHIC.get(extension.get("url", "")) if isinstance(extension, dict) else None
        for part in _list(extension, "extension") if name else []:
            if isinstance(part, dict) and part.get("url") == "ombCategory":
                coding = _dict(part, "valueCoding")
                said = _text(coding.get("display", ""), "extension")
                if said.casefold() not in _SAYS_NOTHING:
                    yield _said(entry, person, str(name), said)


def of_observation(
    entry: Entry, person: str, _: Mapping[str, dict[str, Any]]
) -> Iterator[CodedObservation | Problem]:
    resource = entry.resource
    if skipped := _not_done(entry):
        yield skipped
        return
    at = _first_moment(
        resource, "effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"
    )
    components = _list(resource, "component")
    if len(components) > MAX_COMPONENTS:
        raise MalformedError("component", f"It has more than {MAX_COMPONENTS} components.")
    for part in (resource, *components):
        if not isinstance(part, dict):
            raise MalformedError("component", "A component is no object.")
        if part is resource and components and not _has_value(part):
            continue
        code, name = _coded(_dict(part, "code"), "code")
        yield from _measured(entry, person, part, code, name, at)


def of_condition(
    entry: Entry, person: str, _: Mapping[str, dict[str, Any]]
) -> Iterator[CodedObservation | Problem]:
    resource = entry.resource
    verification = _display(_dict(resource, "verificationStatus"), "verificationStatus")
    if verification in {"refuted", "entered-in-error"}:
        yield _skipped(entry, verification)
        return
    code, name = _coded(_dict(resource, "code"), "code")
    at = _first_moment(resource, "onsetDateTime", "onsetPeriod", "recordedDate")
    yield CodedObservation(row=entry.number, patient=person, code=code, name=name, value=1.0, at=at)


def of_medication(
    entry: Entry, person: str, medications: Mapping[str, dict[str, Any]]
) -> Iterator[CodedObservation | Problem]:
    resource = entry.resource
    if skipped := _not_done(entry):
        yield skipped
        return
    concept = _dict(resource, "medicationCodeableConcept")
    if not concept:
        concept = _dict(_medication(entry, medications), "code")
    code, name = _coded(concept, "medication")
    at = _first_moment(
        resource, "effectiveDateTime", "effectivePeriod", "authoredOn", "dateAsserted"
    )
    yield CodedObservation(row=entry.number, patient=person, code=code, name=name, value=1.0, at=at)


def of_procedure(
    entry: Entry, person: str, _: Mapping[str, dict[str, Any]]
) -> Iterator[CodedObservation | Problem]:
    if skipped := _not_done(entry):
        yield skipped
        return
    code, name = _coded(_dict(entry.resource, "code"), "code")
    at = _first_moment(entry.resource, "performedDateTime", "performedPeriod")
    yield CodedObservation(row=entry.number, patient=person, code=code, name=name, value=1.0, at=at)


def _measured(
    entry: Entry,
    person: str,
    part: dict[str, Any],
    code: Code | None,
    name: str,
    at: datetime | None,
) -> Iterator[CodedObservation]:
    value: float | str | None = None
    unit, answer = "", None
    if "valueQuantity" in part:
        quantity = _dict(part, "valueQuantity")
        if quantity.get("comparator"):
            value = f"{quantity['comparator']}{quantity.get('value')}"[:MAX_TEXT]
        else:
            value = _number(quantity.get("value"), "valueQuantity.value")
        unit = _text(quantity.get("code") or quantity.get("unit") or "", "valueQuantity.unit")
    elif "valueCodeableConcept" in part:
        concept = _dict(part, "valueCodeableConcept")
        answer, value = _coded(concept, "valueCodeableConcept")
    elif "valueInteger" in part:
        value = _number(part["valueInteger"], "valueInteger")
    elif "valueBoolean" in part:
        value = float(part["valueBoolean"] is True)
    elif "valueString" in part:
        value = _text(part["valueString"], "valueString")
    if value is None:
        return  # dataAbsentReason, attachments, ranges: nothing that is a finding
    yield CodedObservation(
        row=entry.number,
        patient=person,
        code=code,
        name=name,
        value=value,
        answer=answer,
        unit=unit,
        at=at,
    )


def _medication(entry: Entry, medications: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    reference = _dict(entry.resource, "medicationReference").get("reference")
    if isinstance(reference, str) and reference.startswith("#"):
        for contained in _list(entry.resource, "contained"):
            if isinstance(contained, dict) and contained.get("id") == reference[1:]:
                return contained
    found = medications.get(reference) if isinstance(reference, str) else None
    if found is None:
        raise MalformedError("medication", "It names no medication that is in the file.")
    return found


def _coded(concept: dict[str, Any], path: str) -> tuple[Code | None, str]:
    """The first code of a system that we know, and what it is called."""
    name = ""
    for coding in _list(concept, "coding"):
        if not isinstance(coding, dict):
            raise MalformedError(path, "A coding is no object.")
        display = _text(coding.get("display", ""), path)
        name = name or display
        system = codes.system_of(_text(coding.get("system", ""), path))
        code = codes.make_code(system, _text(coding.get("code", ""), path)) if system else None
        if code is not None:
            return code, codes.plain(display)
    name = name or _text(concept.get("text", ""), path)
    if not name:
        raise MalformedError(path, "It has neither a code that is known nor a name.")
    return None, codes.plain(name)


def _display(concept: dict[str, Any], path: str) -> str:
    for coding in _list(concept, "coding"):
        if isinstance(coding, dict) and (coding.get("display") or coding.get("code")):
            code = {"M": "Married", "S": "Never married", "W": "Widowed", "D": "Divorced"}
            text = _text(coding.get("display") or coding["code"], path)
            return code.get(text, text)
    return _text(concept.get("text", ""), path)


def _said(entry: Entry, person: str, name: str, value: str) -> CodedObservation:
    return CodedObservation(row=entry.number, patient=person, code=None, name=name, value=value)


def _not_done(entry: Entry) -> Problem | None:
    status = entry.resource.get("status")
    if status in _NOT_DONE[entry.resource["resourceType"]]:
        return _skipped(entry, str(status))
    return None


def _skipped(entry: Entry, status: str) -> Problem:
    return Problem(
        row=entry.number,
        column=f"{entry.resource['resourceType']}.status",
        code="not_done",
        message=f"Left out: its status is {status[:40]}, so it is no fact.",
        severity=NOTICE,
    )


def _has_value(part: dict[str, Any]) -> bool:
    return any(name.startswith("value") for name in part)


def _first_moment(resource: dict[str, Any], *names: str) -> datetime | None:
    for name in names:
        if name in resource:
            value = resource[name]
            if name.endswith("Period"):
                value = _dict(resource, name).get("start")
                if value is None:
                    continue
            return _moment(value, name)
    return None


def _moment(value: object, path: str) -> datetime:
    found = dates.parse(value) if isinstance(value, str) else None
    if found is None:
        raise MalformedError(path, "It is not a date of the calendar.")
    return found


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedError(path, "It is not a number.")
    number = float(value)
    if not math.isfinite(number):
        raise MalformedError(path, "It is too large for a number.")
    return number


def _identifier(value: str, path: str) -> str:
    if fault := identifier_fault(value):
        raise MalformedError(path, fault[1])
    return value


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise MalformedError(path, "It is not a text.")
    text = value[:MAX_TEXT]
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
        raise MalformedError(path, "It holds half a character, or one that is none.")
    return text


def _dict(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name, {})
    if not isinstance(value, dict):
        raise MalformedError(name, "It is not an object.")
    return value


def _list(parent: dict[str, Any], name: str) -> list[Any]:
    value = parent.get(name, [])
    if not isinstance(value, list):
        raise MalformedError(name, "It is not a list.")
    return value
