"""What was imported into a cohort, as a table that the import takes back.

Bit by bit: a block of patients is read, written and forgotten, so that a cohort of any size needs
the memory of one block.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from uuid import UUID

from apps.patients.importing.error_file import safe
from apps.patients.models import Cohort, Finding

PATIENTS_AT_ONCE = 500
PATIENT, OBSERVED_AT = "patient", "observed_at"


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns that another app adds behind the findings.

    Attributes:
        headers: what they are called.
        of: their cells for each of some patients; a patient may be missing.
    """

    headers: Sequence[str]
    of: Callable[[Sequence[UUID]], Mapping[UUID, Sequence[str]]]


def chunks(
    *, cohort: Cohort, as_known_at: datetime, every_visit: bool, more: Columns | None = None
) -> Iterator[bytes]:
    """CSV in UTF-8: a row for each patient, or for each moment at which something was observed.

    Args:
        cohort: which.
        as_known_at: findings stored later are left out, so that the table is of one moment.
        every_visit: a row for each moment, with its date as it is stored, moved by the patient's
            secret number of days; otherwise the newest value of each concept.
        more: columns to add; they stand in each row of a patient.
    """
    concepts = list(
        Finding.objects.filter(patient__cohort=cohort, recorded_at__lte=as_known_at)
        .order_by("concept")
        .values_list("concept", flat=True)
        .distinct()
    )
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    keys = [PATIENT, OBSERVED_AT] if every_visit else [PATIENT]
    headers = more.headers if more else ()
    writer.writerow([*keys, *map(safe, concepts), *map(safe, headers)])
    yield b"\xef\xbb\xbf"  # spreadsheet programs then read UTF-8
    place = {concept: n for n, concept in enumerate(concepts)}
    for patients in _blocks(cohort, as_known_at):
        added = more.of(list(patients)) if more else {}
        findings = _findings(list(patients), as_known_at)
        for patient, pseudonym in patients.items():
            rows = findings.get(patient, {})
            for at, cells in _rows(rows, place, every_visit=every_visit):
                keys = [pseudonym, at] if every_visit else [pseudonym]
                extra = map(safe, added.get(patient, [""] * len(headers)))
                writer.writerow([*keys, *cells, *extra])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


def _blocks(cohort: Cohort, as_known_at: datetime) -> Iterator[dict[UUID, str]]:
    """Patients by number, pseudonym by primary key; none twice, whoever comes or goes meanwhile."""
    last = 0
    while True:
        block = list(
            cohort.patients.filter(number__gt=last, created_at__lte=as_known_at)
            .order_by("number")
            .values_list("pk", "pseudonym", "number")[:PATIENTS_AT_ONCE]
        )
        if not block:
            return
        last = block[-1][2]
        yield {pk: pseudonym for pk, pseudonym, _ in block}


Visits = dict[datetime, list[tuple[str, float]]]


def _findings(patients: Sequence[UUID], as_known_at: datetime) -> dict[UUID, Visits]:
    rows = (
        Finding.objects.filter(patient__in=patients, recorded_at__lte=as_known_at)
        .order_by("patient_id", "observed_at")
        .values_list("patient_id", "observed_at", "concept", "value")
    )
    return {
        patient: {
            at: [(concept, value) for *_, concept, value in of_moment]
            for at, of_moment in groupby(of_patient, key=itemgetter(1))
        }
        for patient, of_patient in groupby(rows, key=itemgetter(0))
    }


def _rows(
    visits: Visits, place: Mapping[str, int], *, every_visit: bool
) -> Iterator[tuple[str, list[str]]]:
    """Moment and cells of each row of a patient; one empty row for a patient without findings."""
    cells = [""] * len(place)
    if not every_visit or not visits:
        for found in visits.values():  # oldest first, so that the newest value stays
            for concept, value in found:
                cells[place[concept]] = _number(value)
        yield "", cells
        return
    for at, found in visits.items():
        cells = [""] * len(place)
        for concept, value in found:
            cells[place[concept]] = _number(value)
        yield at.isoformat(), cells


def _number(value: float) -> str:
    """The shortest text that is read back as the same number.

    >>> _number(71.0), _number(-0.1), _number(1e-07)
    ('71', '-0.1', '1e-07')
    """
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
