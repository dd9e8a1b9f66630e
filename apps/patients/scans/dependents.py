"""What scans mean for deleting patients, for undoing an import, and for `manage.py fsck`."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from apps.jobs.models import ACTIVE_STATES, JobState
from apps.patients.dependents import Amount, Leftover
from apps.patients.leftovers import is_old
from apps.patients.models import Cohort, EhrImport, Patient, Scan
from apps.patients.scans.folder import ScanFolder, home, incoming, shown
from apps.patients.scans.services import files_of

_ACTIVE = [str(state) for state in ACTIVE_STATES]


class ScansOfPatients:
    """Scans of a cohort or of a patient, with their volumes, pictures and kept heads."""

    def busy(self, cohort: Cohort, patient: Patient | None) -> str:
        if _scans(cohort, patient).filter(state__in=_ACTIVE).exists():
            return (
                "A scan is being preprocessed. Wait until that ends, or cancel it on the "
                "patient's page."
            )
        return ""

    def amounts(self, cohort: Cohort, patient: Patient | None) -> Sequence[Amount]:
        n = _scans(cohort, patient).count()
        return [Amount(n, "scan with its files", "scans with their files")]

    def delete(self, cohort: Cohort, patient: Patient | None) -> Sequence[Path]:
        scans = _scans(cohort, patient)
        files = [path for scan in scans for path in (*files_of(scan), ScanFolder(scan.pk).path)]
        scans.delete()
        return files


def scans_since(ehr_import: EhrImport) -> str:
    """Why an import may not be undone: patients whom it created have scans. Empty if none has."""
    if ehr_import.committed_at is None:
        return ""
    created = Patient.objects.filter(
        cohort=ehr_import.cohort_id, created_at=ehr_import.committed_at
    )
    if Scan.objects.filter(patient__in=created).exists():
        return (
            "Patients whom this import created have scans, so it can no longer be undone. Delete "
            "the scans first."
        )
    return ""


def leftovers() -> Iterator[Leftover]:
    """Files of scans without a row, and rows without their file."""
    scans = Scan.objects.all()
    with_head = set(scans.filter(head_kept=True).values_list("pk", flat=True))
    for folder in sorted(_folders()):
        if is_old(folder) and _scan_of(folder) not in with_head:
            yield Leftover(
                f"scans/{folder.name}: a scan with skull that nobody needs",
                ScanFolder(UUID(folder.name)).delete,
            )
    for pk in sorted(with_head):
        if not ScanFolder(pk).source.exists():
            yield Leftover(f"scan {pk}: the file as it came is gone", partial(_forget_head, pk))
    yield from _uploads()
    yield from _volumes(scans)


def _uploads() -> Iterator[Leftover]:
    for path in sorted(incoming().glob("*")):
        if is_old(path):
            yield Leftover("scans/incoming: an upload that was cut off", partial(_remove, path))


def _volumes(scans: QuerySet[Scan]) -> Iterator[Leftover]:
    named = {path for scan in scans for path in files_of(scan)}
    for path in sorted(shown().glob("*")):
        if path not in named and is_old(path):
            yield Leftover(f"{path.name}: a file of a scan without a row", partial(_remove, path))
    for scan in scans.filter(state=JobState.SUCCEEDED).order_by("pk"):
        if problem := _problem_of(scan):
            yield Leftover(
                f"scan {scan.pk}: {problem}; its row goes, so that it can be uploaded again",
                partial(_forget, scan.pk),
            )


def _scans(cohort: Cohort, patient: Patient | None) -> QuerySet[Scan]:
    if patient is not None:
        return Scan.objects.filter(patient=patient)
    return Scan.objects.filter(patient__cohort=cohort)


def _folders() -> list[Path]:
    return [path for path in home().glob("*") if _scan_of(path)]


def _scan_of(folder: Path) -> UUID | None:
    try:
        return UUID(folder.name)
    except ValueError:
        return None


def _problem_of(scan: Scan) -> str:
    path = Path(settings.MEDIA_ROOT) / scan.file
    if not path.is_file():
        return "its volume is gone"
    with path.open("rb") as file:
        changed = hashlib.file_digest(file, "sha256").hexdigest() != scan.sha256
    return "its volume was changed" if changed else ""


def _forget_head(pk: UUID) -> None:
    """A scan without its file can be neither preprocessed nor retried."""
    Scan.objects.cancel(pk)
    Scan.objects.filter(pk=pk).update(head_kept=False)


def _forget(pk: UUID) -> None:
    """Delete the row; what it named is then without a row and goes the next time."""
    Scan.objects.filter(pk=pk).delete()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
