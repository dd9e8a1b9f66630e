"""Every write to cohorts, patients and findings starts here."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from apps.accounts.models import User
from apps.errors import MirageError
from apps.patients.models import Cohort, EhrUpload, Finding, Membership, Patient
from ml.concepts import dictionary
from ml.data.ehr import EhrTable, Problem, Severity, patient_key, read_ehr_csv
from ml.records import PatientRecord

AGE, OLDEST_AGE_YEARS, AGE_OF_THE_OLDEST_YEARS = "age", 89, 90


class EhrFileError(MirageError):
    """An EHR file was refused. Carries its problems; its own text quotes no value."""

    def __init__(self, message: str, problems: Sequence[Problem]) -> None:
        super().__init__(message)
        self.problems = problems


@transaction.atomic
def create_cohort(*, name: str, description: str, created_by: User, now: datetime) -> Cohort:
    """A cohort that belongs to its maker."""
    cohort = Cohort.objects.create(
        name=name, description=description, created_by=created_by, created_at=now
    )
    Membership.objects.create(cohort=cohort, user=created_by, role=Membership.Role.OWNER)
    return cohort


def import_ehr(*, cohort: Cohort, file: BinaryIO, uploaded_by: User, now: datetime) -> EhrUpload:
    """Store all rows of an EHR file, or none. The same file again changes nothing.

    Returns:
        The upload; the earlier one if the cohort already holds this very file.

    Raises:
        EhrFileError: the file was refused; its problems say what to change where.
    """
    sha256 = _sha256(file)
    if known := cohort.uploads.filter(sha256=sha256).first():
        return known
    file.seek(0)
    table = read_ehr_csv(
        file,
        max_rows=settings.MIRAGE_MAX_UPLOAD_ROWS,
        max_bytes=settings.MIRAGE_MAX_UPLOAD_BYTES,
    )
    if table.refused:
        errors = [p for p in table.problems if p.severity is Severity.ERROR]
        raise EhrFileError(_refusal(table), errors)
    with transaction.atomic():
        Cohort.objects.select_for_update().get(pk=cohort.pk)  # two uploads at once wait in turn
        if known := cohort.uploads.filter(sha256=sha256).first():
            return known
        return _store(cohort, table, sha256, uploaded_by, now)


def identifier_hash(identifier: str) -> str:
    """A patient's identifier as the database knows it; the key is kept outside the database."""
    key = settings.MIRAGE_IDENTIFIER_KEY.encode()
    return hmac.new(key, patient_key(identifier).encode(), hashlib.sha256).hexdigest()


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest()


def _refusal(table: EhrTable) -> str:
    count = sum(table.problem_counts.values())
    return (
        f"The file was not stored: {count} problem{'' if count == 1 else 's'} in "
        f"{table.rows} row{'' if table.rows == 1 else 's'}. Correct them and upload it again."
    )


def _store(
    cohort: Cohort, table: EhrTable, sha256: str, uploaded_by: User, now: datetime
) -> EhrUpload:
    hashes = [identifier_hash(record.patient) for record in table.records]
    found = cohort.patients.filter(identifier_hash__in=hashes)
    known = dict(found.values_list("identifier_hash", "pk"))
    fresh = _new_patients(cohort, [h for h in hashes if h not in known], now)
    before = _newest_values(list(known.values()))
    records, capped = _with_old_ages_capped(table.records)
    upload = EhrUpload.objects.create(
        cohort=cohort,
        sha256=sha256,
        uploaded_by=uploaded_by,
        uploaded_at=now,
        patients_new=len(fresh),
        patients_updated=0,
        findings=0,
        notes=[*_notes(table), *_note_of_capped(capped)],
    )
    of_hash = known | {patient.identifier_hash: patient.pk for patient in fresh}
    patients = [of_hash[key] for key in hashes]
    counts = _copy_findings(_changed(patients, records, before), now)
    upload.findings = sum(counts.values())
    upload.patients_updated = len(counts.keys() & set(known.values()))
    upload.save(update_fields=["findings", "patients_updated"])
    return upload


def _changed(
    patients: Sequence[UUID],
    records: Sequence[PatientRecord],
    before: Mapping[tuple[UUID, str], float],
) -> Iterator[tuple[UUID, str, float]]:
    """What is new or another value than before. One by one: there may be 880,000."""
    for patient, record in zip(patients, records, strict=True):
        for concept, value in record.values.items():
            if not before or before.get((patient, concept)) != value:
                yield patient, concept, value


def _new_patients(cohort: Cohort, hashes: Iterable[str], now: datetime) -> list[Patient]:
    last = cohort.patients.aggregate(last=Max("number"))["last"] or 0
    return Patient.objects.bulk_create(
        [
            Patient(
                cohort=cohort,
                number=number,
                pseudonym=f"P-{number:04d}",
                identifier_hash=key,
                created_at=now,
            )
            for number, key in enumerate(hashes, start=last + 1)
        ],
        batch_size=2000,
    )


def _newest_values(patients: Sequence[UUID]) -> dict[tuple[UUID, str], float]:
    newest = Finding.objects.filter(patient__in=patients).newest()
    rows = newest.values_list("patient_id", "concept", "value")
    return {(patient, concept): value for patient, concept, value in rows}


def _with_old_ages_capped(
    records: Sequence[PatientRecord],
) -> tuple[list[PatientRecord], int]:
    """Ages over 89 identify people (HIPAA Safe Harbor), so they are all stored as 90."""
    capped = [
        PatientRecord(
            patient=record.patient, values={**record.values, AGE: float(AGE_OF_THE_OLDEST_YEARS)}
        )
        if record.values.get(AGE, 0) > OLDEST_AGE_YEARS
        else record
        for record in records
    ]
    changed = sum(
        a.values.get(AGE) != b.values.get(AGE) for a, b in zip(capped, records, strict=True)
    )
    return capped, changed


def _note_of_capped(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"{count} age{'' if count == 1 else 's'} over {OLDEST_AGE_YEARS} stored as "
        f"{AGE_OF_THE_OLDEST_YEARS}, because so high an age identifies a person."
    ]


def _notes(table: EhrTable) -> list[str]:
    """What the reader did with the file as a whole; notices about single cells are counted."""
    notes = [problem.message for problem in table.problems if problem.row is None]
    cells = sum(problem.row is not None for problem in table.problems)
    if cells:
        notes.append(f"{cells} cell{' has' if cells == 1 else 's have'} a notice.")
    return notes


def _copy_findings(rows: Iterable[tuple[UUID, str, float]], now: datetime) -> Counter[UUID]:
    """Insert by COPY, because INSERT would take minutes. Returns how many each patient got.

    The lines are written by hand, which is five times as fast as the driver: identifiers, units
    and times of our own making hold nothing that COPY's text format would have to escape.
    """
    ends = {c.id: f"\t{c.unit}\t{now}\t{now}\n" for c in dictionary().values()}
    table = connection.ops.quote_name(Finding._meta.db_table)
    columns = "patient_id, concept, value, unit, observed_at, recorded_at"
    counts: Counter[UUID] = Counter()
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
    ):
        for patient, group in groupby(rows, key=itemgetter(0)):
            start = str(patient)
            lines = [f"{start}\t{concept}\t{value!r}{ends[concept]}" for _, concept, value in group]
            copy.write("".join(lines))
            counts[patient] += len(lines)
    return counts
