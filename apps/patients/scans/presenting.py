"""Scans as pages show them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from apps.accounts.models import User
from apps.jobs.models import JobState
from apps.jobs.selectors import unserved_queues
from apps.patients.models import Patient, Scan

SHOWN_IN_QUEUE = 25
WAITING = {JobState.QUEUED: "Waiting for a worker", JobState.RUNNING: "Preprocessing"}


@dataclass(frozen=True, slots=True)
class RegionalVolume:
    """How large one region is in the person's own head, and how far such a reading is off."""

    region: str
    ml: float
    error_ml: float | None


@dataclass(frozen=True, slots=True)
class ScanLine:
    """A scan as one entry of a list.

    Attributes:
        scan: the row.
        ahead: scans of the queue that come before it.
        has_worker: whether anybody would take it.
        volumes: regional volumes, in the order of the model's list.
    """

    scan: Scan
    ahead: int
    has_worker: bool
    volumes: Sequence[RegionalVolume]

    @property
    def is_busy(self) -> bool:
        return not self.scan.is_final

    @property
    def is_ready(self) -> bool:
        return self.scan.state == JobState.SUCCEEDED

    @property
    def place(self) -> int | None:
        """Its place in the queue, from 1; none once it has left it."""
        return self.ahead + 1 if self.scan.state == JobState.QUEUED else None

    @property
    def words(self) -> str:
        return WAITING.get(JobState(self.scan.state), self.scan.get_state_display())


@dataclass(frozen=True, slots=True)
class ScanQueue:
    """Scans for the page of the queue."""

    lines: Sequence[ScanLine]

    @property
    def is_busy(self) -> bool:
        return any(line.is_busy for line in self.lines)


def lines_of(scans: Iterable[Scan]) -> list[ScanLine]:
    """Entries for these scans, in their order; a few questions to the database for all of them."""
    found = list(scans)
    waiting = any(not scan.is_final for scan in found)
    served = not waiting or Scan.QUEUE not in unserved_queues()
    places = _places() if waiting else {}
    return [
        ScanLine(
            scan=scan,
            ahead=places.get(scan.pk, 0),
            has_worker=served,
            volumes=_volumes_of(scan),
        )
        for scan in found
    ]


def lines_of_patient(patient: Patient) -> list[ScanLine]:
    """Entries for the scans of a patient, the first first."""
    return lines_of(patient.scans.order_by("number"))


def queue_of(user: User) -> ScanQueue:
    """The newest scans of a user's cohorts, the newest first."""
    scans = Scan.objects.visible_to(user).select_related("patient__cohort")
    return ScanQueue(lines_of(scans.order_by("-requested_at", "pk")[:SHOWN_IN_QUEUE]))


def _volumes_of(scan: Scan) -> list[RegionalVolume]:
    errors = scan.qc.get("volume_errors_ml", {})
    return [
        RegionalVolume(name.replace("_", " ").capitalize(), ml, errors.get(name))
        for name, ml in scan.volumes_ml.items()
    ]


def _places() -> dict[UUID, int]:
    """How many scans come before each queued one, those of other cohorts too."""
    running = Scan.objects.filter(state=JobState.RUNNING).count()
    queued = Scan.objects.filter(state=JobState.QUEUED).order_by("queued_at")
    return {pk: running + n for n, pk in enumerate(queued.values_list("pk", flat=True))}
