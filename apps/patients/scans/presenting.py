"""Scans as pages show them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.jobs.models import JobState
from apps.jobs.selectors import unserved_queues
from apps.patients.models import Patient, Scan

WAITING = {JobState.QUEUED: "Waiting for a worker", JobState.RUNNING: "Preprocessing"}


@dataclass(frozen=True, slots=True)
class RegionalVolume:
    """How large one region is."""

    region: str
    ml: float


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
    def words(self) -> str:
        return WAITING.get(JobState(self.scan.state), self.scan.get_state_display())


def lines_of(scans: Iterable[Scan]) -> list[ScanLine]:
    """Entries for these scans."""
    found = list(scans)
    waiting = any(not scan.is_final for scan in found)
    served = not waiting or Scan.QUEUE not in unserved_queues()
    return [
        ScanLine(
            scan=scan,
            ahead=_ahead(scan),
            has_worker=served,
            volumes=[
                RegionalVolume(name.replace("_", " ").capitalize(), ml)
                for name, ml in scan.volumes_ml.items()
            ],
        )
        for scan in found
    ]


def lines_of_patient(patient: Patient) -> list[ScanLine]:
    """Entries for the scans of a patient, the first first."""
    return lines_of(patient.scans.order_by("number"))


def _ahead(scan: Scan) -> int:
    if scan.state != JobState.QUEUED:
        return 0
    earlier = Scan.objects.filter(state=JobState.QUEUED, queued_at__lt=scan.queued_at)
    return earlier.count() + Scan.objects.filter(state=JobState.RUNNING).count()
