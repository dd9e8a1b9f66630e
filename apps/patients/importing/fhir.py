"""FHIR R4 Bundles and NDJSON as coded observations, checked by hand, entry by entry.

By hand, because fhir.resources takes 0.9 ms a resource (measured on Synthea's bundles) and this
0.02 ms, and because an entry that is wrong in a field that we do not read should still go in. One
bad entry never stops the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from apps.patients.importing import fhir_resources as resources
from apps.patients.importing import strict_json
from apps.patients.importing.fhir_resources import CodedObservation, Entry, MalformedError
from apps.patients.importing.problems import NOTICE, Problem
from apps.patients.importing.source import MAX_ROWS, Facts, FileRefusedError, Format, Shape

MAX_BUNDLE_BYTES = 25_000_000
MAX_LINE_BYTES = 2_000_000
MAX_ENTRIES = 50_000
_READ = {
    "Observation": resources.of_observation,
    "Condition": resources.of_condition,
    "MedicationRequest": resources.of_medication,
    "MedicationStatement": resources.of_medication,
    "Procedure": resources.of_procedure,
}


@dataclass
class FhirFile:
    """The resources of a file.

    Attributes:
        path, format: which file.
        patients: reference ("Patient/123", a fullUrl) to the identity it leads to.
        born: identity to birth date.
        medications: reference to the Medication resource it leads to.
        ignored: type of resource to how many were of no use to us.
    """

    path: Path
    format: Format
    patients: dict[str, str] = field(default_factory=dict)
    born: dict[str, datetime] = field(default_factory=dict)
    medications: dict[str, dict[str, Any]] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)

    def observations(self) -> Iterator[CodedObservation | Problem]:
        """What each entry says about its patient, or why it says nothing."""
        self.ignored.clear()
        for entry in self.entries():
            if isinstance(entry, Problem):
                yield entry
                continue
            try:
                yield from self._of_entry(entry)
            except MalformedError as error:
                yield _malformed(entry, error)

    def entries(self) -> Iterator[Entry | Problem]:
        """Number, address and resource of each entry."""
        return self._bundle_entries() if self.format is Format.BUNDLE else self._lines()

    def _of_entry(self, entry: Entry) -> Iterator[CodedObservation | Problem]:
        kind = entry.resource["resourceType"]
        if kind == "Patient":
            yield from resources.of_patient(entry, resources.identity_of(entry))
        elif kind in _READ:
            reference = resources.subject_of(entry)
            person = self._person(reference)
            if person is None:
                yield _foreign(entry)
                return
            yield from _READ[kind](entry, person, self.medications)
        else:
            self.ignored[kind] = self.ignored.get(kind, 0) + 1

    def _person(self, reference: str) -> str | None:
        """Who a reference leads to; nobody if the file has patients and this is none of them."""
        if self.patients:
            return self.patients.get(reference)
        return reference.rpartition("/")[2] or None

    def _bundle_entries(self) -> Iterator[Entry | Problem]:
        for number, entry in enumerate(_bundle_entries(self.path), start=1):
            yield _entry(number, entry.get("resource"), entry.get("fullUrl"), entry)

    def _lines(self) -> Iterator[Entry | Problem]:
        with self.path.open("rb") as file:
            for number in count(1):
                line = file.readline(MAX_LINE_BYTES + 1)
                if not line:
                    return
                if number > MAX_ROWS:
                    raise FileRefusedError(
                        "too_many_rows", f"There are more than {MAX_ROWS:,} lines. Split the file."
                    )
                if len(line) > MAX_LINE_BYTES:
                    raise FileRefusedError(
                        "line_too_long", f"Line {number} is longer than 2 MB.", number
                    )
                if not line.strip():
                    continue
                try:
                    resource = strict_json.loads(line)
                except FileRefusedError as error:
                    yield Problem(row=number, code="malformed", message=str(error))
                    continue
                yield _entry(number, resource, None, {})


def open_fhir(path: Path, format_: Format) -> tuple[FhirFile, Facts]:
    """Read who the file is about, and the medications that it refers to.

    Raises:
        FileRefusedError: it is no Bundle, or has no entry that could be read.
    """
    file = FhirFile(path=path, format=format_)
    entries = 0
    for entry in file.entries():
        entries += 1
        if isinstance(entry, Problem):
            continue
        kind = entry.resource["resourceType"]
        if kind == "Patient":
            _meet(file, entry)
        elif kind == "Medication":
            for reference in resources.addresses_of(entry):
                file.medications[reference] = entry.resource
    if not entries:
        raise FileRefusedError("empty", "There is no entry in the file.")
    return file, Facts(format=format_, shape=Shape.CODED)


def _meet(file: FhirFile, entry: Entry) -> None:
    """Remember a patient; one that is malformed is reported when the entries are read."""
    try:
        identity = resources.identity_of(entry)
        for reference in resources.addresses_of(entry):
            file.patients[reference] = identity
        for said in resources.of_patient(entry, identity):
            if said.born is not None:
                file.born[identity] = said.born
    except MalformedError:
        return


def look_at(path: Path) -> None:
    """Read a Bundle through without keeping anything.

    Raises:
        FileRefusedError: it is no Bundle, or no JSON as the standard has it.
    """
    for _ in _bundle_entries(path):
        pass


def operation_outcome(problems: list[Problem]) -> dict[str, Any]:
    """What FHIR calls an answer that says what was wrong with which entry."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "warning" if p.severity == NOTICE else "error",
                "code": "invalid",
                "details": {"text": p.label},
                "diagnostics": f"{p.message} {p.remedy}".strip(),
                "expression": [f"Bundle.entry[{p.row - 1}]" if p.row else "Bundle"],
            }
            for p in problems
        ],
    }


def _bundle_entries(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in a Bundle's entry, one after the other; what is no Bundle is known at its end.

    Raises:
        FileRefusedError: it is no Bundle, or too large.
    """
    if path.stat().st_size > MAX_BUNDLE_BYTES:
        raise FileRefusedError(
            "file_too_large",
            f"A Bundle may have at most {MAX_BUNDLE_BYTES // 10**6} MB. Export it as NDJSON, which "
            "is read line by line.",
        )
    kind, entries = None, 0
    for key, value in strict_json.members(path.read_bytes(), "entry"):
        if key == "resourceType":
            kind = value
        elif key == "entry":
            entries += 1
            if not isinstance(value, dict):
                raise FileRefusedError("malformed", "The Bundle's entry is no list of objects.")
            if entries > MAX_ENTRIES:
                raise FileRefusedError(
                    "too_many_rows",
                    f"The Bundle has more than {MAX_ENTRIES:,} entries. Use NDJSON.",
                )
            yield value
    if kind != "Bundle":
        raise FileRefusedError(
            "file_type", "This JSON is no FHIR Bundle: its resourceType is not Bundle."
        )


def _entry(
    number: int, resource: object, address: object, wrapper: dict[str, Any]
) -> Entry | Problem:
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(resource, dict) or not _is_type(kind):
        what = "no resource" if "request" in wrapper or not wrapper else "no resource with a type"
        return Problem(
            row=number,
            code="malformed",
            message=f"The entry holds {what}.",
            remedy="Give it a resource with a resourceType, or remove it.",
        )
    return Entry(number, resource, address if isinstance(address, str) else "")


def _is_type(kind: object) -> bool:
    return isinstance(kind, str) and kind.isascii() and kind.isalpha() and len(kind) <= 64


def _malformed(entry: Entry, error: MalformedError) -> Problem:
    return Problem(
        row=entry.number,
        column=f"{entry.resource['resourceType']}.{error.path}",
        code="malformed",
        message=str(error),
        remedy="Correct the entry, or leave it out.",
    )


def _foreign(entry: Entry) -> Problem:
    return Problem(
        row=entry.number,
        column=f"{entry.resource['resourceType']}.subject",
        code="foreign_patient",
        message="The entry is about a patient who is not in the file.",
        remedy="Add that patient's resource; findings are never given to somebody else.",
    )
