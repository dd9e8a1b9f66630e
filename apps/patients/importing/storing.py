"""Findings into PostgreSQL: by COPY, in batches, while the next batch is being read.

A thread reads and checks rows; the caller's thread sends them. Everything happens in the caller's
transaction, so it is all stored or none.
"""

import hashlib
import hmac
import os
import queue
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Max

from apps.patients.importing import dates
from apps.patients.importing.reading import PatientRow
from apps.patients.models import Cohort, Finding, Patient

BATCH_BYTES = 8_000_000
BATCHES_AHEAD = 2
_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_END = struct.pack(">h", -1)
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_FINDING_COLUMNS = "patient_id, observed_at, recorded_at, concept, value, unit"
_PATIENT_COLUMNS = "id, cohort_id, number, pseudonym, identifier_hash, created_at"


@dataclass(frozen=True, slots=True)
class Stored:
    """What an import added."""

    patients_new: int
    patients_updated: int
    findings: int
    same: int
    contradictory: int


@dataclass
class _Batch:
    """Rows ready to be sent."""

    patients: list[bytes] = field(default_factory=list)
    new: list[bytes] = field(default_factory=list)
    known: list[bytes] = field(default_factory=list)
    findings_new: int = 0
    size: int = 0


class Pseudonymiser:
    """Gives identifiers their keyed hash, their place in the cohort and the shift of their dates.

    Args:
        cohort: where the patients belong.
        key: of the installation; kept outside the database.
        now: when new patients are created and dates that the file leaves out are set to.
    """

    def __init__(self, cohort: Cohort, *, key: str, now: datetime) -> None:
        self._cohort, self._key, self._now = cohort, key, now
        last = cohort.patients.aggregate(last=Max("number"))["last"] or 0
        self._next = max(last, cohort.numbers_given) + 1  # a deleted patient's is not given again
        found = cohort.patients.values_list("identifier_hash", "pk").iterator(chunk_size=10_000)
        self._known = {bytes.fromhex(digest): pk.bytes for digest, pk in found}
        self._fresh: dict[bytes, bytes] = {}
        self._ids = _rising_ids()

    @property
    def patients_new(self) -> int:
        return len(self._fresh)

    def of(self, person: str) -> tuple[bytes, bytes, bool]:
        """Hash and primary key of a patient, and whether the database has them already."""
        digest = hmac.new(self._key.encode(), person.encode(), hashlib.sha256).digest()
        known = self._known.get(digest)
        if known is not None:
            return digest, known, True
        return digest, self._fresh.get(digest, b""), False

    def add(self, digest: bytes) -> tuple[bytes, bytes]:
        """A new patient: their primary key, and their row in COPY's binary form."""
        pk = next(self._ids)
        self._fresh[digest] = pk
        number, self._next = self._next, self._next + 1
        values = (
            pk,
            self._cohort.pk.bytes,
            struct.pack(">i", number),
            f"P-{number:04d}".encode(),
            digest.hex().encode(),
            _moment(self._now),
        )
        return pk, struct.pack(">h", 6) + b"".join(_field(value) for value in values)

    def moved(self, row: PatientRow) -> datetime:
        """When a row's findings are stored as observed."""
        if row.at is None:
            return self._now
        if not row.is_calendar:
            return row.at
        return row.at - dates.shift_of(row.person, self._key)


def store(
    rows: Iterable[PatientRow],
    people: Pseudonymiser,
    *,
    now: datetime,
    still_wanted: Callable[[], None],
) -> Stored:
    """Write all rows; inside the caller's transaction.

    Args:
        rows: what to store; read in a thread.
        people: who they are about.
        now: when they are recorded.
        still_wanted: raises to stop; called between batches.
    """
    findings_new = 0
    anything_known = False
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.incoming")
        cursor.execute(
            "CREATE TEMPORARY TABLE incoming (patient_id uuid, observed_at timestamptz, "
            "recorded_at timestamptz, concept varchar(64), value double precision, "
            "unit varchar(32)) ON COMMIT DROP"
        )
        for batch in _ahead(_batches(rows, people, now)):
            still_wanted()
            _copy(cursor, Patient._meta.db_table, _PATIENT_COLUMNS, batch.patients)
            _copy(cursor, Finding._meta.db_table, _FINDING_COLUMNS, batch.new)
            _copy(cursor, "incoming", _FINDING_COLUMNS, batch.known)
            findings_new += batch.findings_new
            anything_known |= bool(batch.known)
        updated = merged = same = contradictory = 0
        if anything_known:
            updated, merged, same, contradictory = _merge(cursor)
    return Stored(
        patients_new=people.patients_new,
        patients_updated=updated,
        findings=findings_new + merged,
        same=same,
        contradictory=contradictory,
    )


def remove(cohort: Cohort, committed_at: datetime) -> tuple[int, int]:
    """Take back what an import stored; inside the caller's transaction.

    Returns:
        Numbers of findings and of patients that are gone.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM patients_finding USING patients_patient "
            "WHERE patients_finding.patient_id = patients_patient.id "
            "AND patients_patient.cohort_id = %s AND patients_finding.recorded_at = %s",
            [cohort.pk, committed_at],
        )
        findings = cursor.rowcount
        cursor.execute(
            "DELETE FROM patients_patient WHERE cohort_id = %s AND created_at = %s",
            [cohort.pk, committed_at],
        )
        return findings, cursor.rowcount


def _merge(cursor: Any) -> tuple[int, int, int, int]:
    """Findings of patients who were there before: those that say something new.

    Without a date of its own, a value that is the newest already is not stored again.
    """
    cursor.execute("CREATE INDEX ON incoming (patient_id, concept, observed_at)")
    cursor.execute("ANALYZE incoming")
    cursor.execute(
        "SELECT count(*) FROM incoming JOIN patients_finding old "
        "USING (patient_id, concept, observed_at) WHERE old.value <> incoming.value"
    )
    [contradictory] = cursor.fetchone()
    cursor.execute("SELECT count(*) FROM incoming")
    [total] = cursor.fetchone()
    cursor.execute(
        f"INSERT INTO patients_finding ({_FINDING_COLUMNS}) "  # noqa: S608 - our own names
        f"SELECT {_FINDING_COLUMNS} FROM incoming WHERE observed_at < recorded_at OR NOT EXISTS ("
        "  SELECT 1 FROM (SELECT value FROM patients_finding old"
        "    WHERE old.patient_id = incoming.patient_id AND old.concept = incoming.concept"
        "    ORDER BY observed_at DESC LIMIT 1) newest WHERE newest.value = incoming.value) "
        "ON CONFLICT (patient_id, concept, observed_at) DO NOTHING"
    )
    merged = cursor.rowcount
    cursor.execute(
        "SELECT count(DISTINCT patient_id) FROM incoming JOIN patients_finding "
        "USING (patient_id, concept, observed_at, recorded_at)"
    )
    [updated] = cursor.fetchone()
    return updated, merged, total - merged - contradictory, contradictory


def _batches(rows: Iterable[PatientRow], people: Pseudonymiser, now: datetime) -> Iterator[_Batch]:
    """Rows as bytes: what repeats in a row is written once and joined in."""
    batch = _Batch()
    start = struct.pack(">h", 6)
    recorded = _field(_moment(now))
    for row in rows:
        digest, pk, is_known = people.of(row.person)
        if not is_known and not pk:
            pk, line = people.add(digest)
            batch.patients.append(line)
        begin = start + _field(pk) + _field(_moment(people.moved(row))) + recorded
        lines = begin + begin.join(row.cells)
        if is_known:
            batch.known.append(lines)
        else:
            batch.new.append(lines)
            batch.findings_new += len(row.cells)
        batch.size += len(lines)
        if batch.size > BATCH_BYTES:
            yield batch
            batch = _Batch()
    yield batch


def _copy(cursor: Any, table: str, columns: str, lines: list[bytes]) -> None:
    if not lines:
        return
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT binary)") as copy:
        copy.write(_HEADER)
        for line in lines:
            copy.write(line)
        copy.write(_END)


def _ahead(batches: Iterator[_Batch]) -> Iterator[_Batch]:
    """The batches, made in a thread that stays a little ahead; its errors are raised here."""
    ready: queue.Queue[_Batch | BaseException | None] = queue.Queue(maxsize=BATCHES_AHEAD)
    stopped = threading.Event()

    def put(item: _Batch | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for batch in batches:
                if not put(batch):
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _rising_ids() -> Iterator[bytes]:
    """UUIDs that rise with time (version 7), so that new ones go to the end of an index."""
    last = 0
    while True:
        last = max(last + 1, time.time_ns() // 1_000)  # microseconds: 48 bits of ms, 12 of the rest
        ms, rest = divmod(last, 1_000)
        tail = int.from_bytes(os.urandom(8)) >> 2
        number = (ms << 80) | (7 << 76) | ((rest * 4) << 64) | (2 << 62) | tail
        yield UUID(int=number).bytes


def _field(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


def _moment(at: datetime) -> bytes:
    since = at - _POSTGRES_EPOCH
    return struct.pack(">q", (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
