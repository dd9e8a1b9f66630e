"""What a user can do with scans. Every write to them by a page starts here."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from apps.accounts.models import User
from apps.errors import MirageError
from apps.jobs import queue
from apps.jobs.models import JobState
from apps.patients.models import Cohort, Patient, Scan
from apps.patients.models.scans import OLDEST_YEARS
from apps.patients.permissions import check_may_edit, check_owns
from apps.patients.scans.folder import ScanFolder, ScanRefusedError
from ml.data.scan_file import ScanFileError, check_scan_file
from ml.data.scan_header import Kind

FORMATS = {
    Kind.NIFTI: Scan.Format.NIFTI,
    Kind.MGH: Scan.Format.MGH,
    Kind.DICOM_ZIP: Scan.Format.DICOM,
}


class ScanStateError(MirageError):
    """A scan is no longer, or not yet, in a state in which this can be done to it."""


def add_scan(
    *, patient: Patient, file: BinaryIO, age_years: float | None, added_by: User, now: datetime
) -> Scan:
    """Take a scan in, if its header and its length are in order, and queue its preprocessing.

    The same file of the same patient again, under way or stored, leads to that scan.

    Args:
        patient: whose scan it is.
        file: opened for bytes, seekable. Its name is never asked for.
        age_years: of the patient when it was acquired, if that is known; over 89 becomes 90.
        added_by: who asks; may change the cohort.
        now: when.

    Raises:
        ScanRefusedError: it is no scan, is damaged, or passes a limit.
        ScanStorageError: the disk refuses.
        NotAllowedError: the user may not change the cohort.
    """
    check_may_edit(patient.cohort, added_by)
    scan = Scan(patient=patient, requested_by=added_by, requested_at=now, number=1)
    scan.age_years = None if age_years is None else min(age_years, OLDEST_YEARS)
    folder = ScanFolder(scan.pk)
    scan.source_sha256, scan.source_bytes = folder.receive(file)
    try:
        scan.format = FORMATS[check_scan_file(folder.source).kind]
        stored = _store(scan)
    except ScanFileError as error:
        folder.delete()
        raise ScanRefusedError(str(error)) from None
    except BaseException:
        folder.delete()
        raise
    if stored.pk != scan.pk:
        folder.delete()
    return stored


def _store(scan: Scan) -> Scan:
    """The scan's row, numbered after the patient's last; or the row that has the same bytes."""
    try:
        with transaction.atomic():
            Patient.objects.select_for_update().get(pk=scan.patient_id)  # two uploads wait in turn
            scans = Scan.objects.filter(patient=scan.patient_id)
            alive = [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]
            same = scans.filter(source_sha256=scan.source_sha256, state__in=alive).first()
            if same is not None:
                return same
            scan.number = (scans.aggregate(last=Max("number"))["last"] or 0) + 1
            scan.save(force_insert=True)
            queue.send_on_commit(scan)
    except (IntegrityError, Patient.DoesNotExist):  # the patient was deleted meanwhile
        raise ScanRefusedError("The patient was deleted meanwhile, so nothing is kept.") from None
    return scan


def cancel_scan(*, scan: Scan) -> None:
    """Give a scan up; its file is deleted.

    Raises:
        ScanStateError: it has ended.
    """
    if not Scan.objects.cancel(scan.pk):
        raise ScanStateError("The preprocessing has already ended, so it cannot be cancelled.")
    transaction.on_commit(ScanFolder(scan.pk).delete)


@transaction.atomic
def retry_scan(*, scan: Scan) -> None:
    """Queue a failed scan again.

    Raises:
        ScanStateError: it is under way or done, or its file is no longer kept.
    """
    held = Scan.objects.select_for_update().get(pk=scan.pk)
    if not held.may_be_retried or not Scan.objects.retry(scan.pk):
        raise ScanStateError(
            "This scan cannot be tried again, because its file is no longer kept or is no good. "
            "Upload it again."
        )
    queue.send_on_commit(scan)


@transaction.atomic
def delete_scan(*, scan: Scan, is_meant: bool, deleted_by: User) -> None:
    """Delete a scan with its files.

    Args:
        scan: which.
        is_meant: whether the user has read what goes and said so.
        deleted_by: who asks; may change the cohort.

    Raises:
        ScanStateError: it is being preprocessed, or nobody said that it is meant.
        NotAllowedError: the user may not change the cohort.
    """
    check_may_edit(scan.patient.cohort, deleted_by)
    if not is_meant:
        raise ScanStateError("Nothing was deleted. Open Delete at the scan and confirm it.")
    held = Scan.objects.select_for_update().get(pk=scan.pk)
    if not held.is_final:
        raise ScanStateError("The scan is being preprocessed. Cancel that first, or wait.")
    paths = files_of(held)
    held.delete()
    transaction.on_commit(partial(delete_files, held, paths))


def files_of(scan: Scan) -> list[Path]:
    """The volume and the picture of a scan, as far as it has them."""
    return [Path(settings.MEDIA_ROOT) / name for name in (scan.file, scan.picture) if name]


def delete_files(scan: Scan, paths: list[Path]) -> None:
    """Delete what a scan leaves; what the disk refuses is found by `manage.py fsck`."""
    ScanFolder(scan.pk).delete()
    for path in paths:
        path.unlink(missing_ok=True)


@transaction.atomic
def keep_heads(*, cohort: Cohort, wanted: bool, decided_by: User) -> int:
    """Decide whether scans of a cohort are kept with skull and face.

    Returns:
        How many kept heads were deleted, because they are no longer wanted.

    Raises:
        NotAllowedError: the user does not own the cohort.
    """
    held = Cohort.objects.select_for_update().get(pk=cohort.pk)
    check_owns(held, decided_by)
    Cohort.objects.filter(pk=cohort.pk).update(keeps_heads=wanted)
    return 0 if wanted else forget_heads(cohort=held)


@transaction.atomic
def forget_heads(*, cohort: Cohort | None = None, ended_before: datetime | None = None) -> int:
    """Delete the files, as they came, of scans that have ended. Returns how many."""
    scans = Scan.objects.filter(
        head_kept=True, state__in=[JobState.SUCCEEDED, JobState.FAILED]
    ).select_for_update(of=("self",))
    if cohort is not None:
        scans = scans.filter(patient__cohort=cohort)
    else:
        scans = scans.filter(patient__cohort__keeps_heads=False)
    if ended_before is not None:
        scans = scans.filter(finished_at__lt=ended_before)
    keys = [scan.pk for scan in scans]
    Scan.objects.filter(pk__in=keys).update(head_kept=False)
    for key in keys:
        transaction.on_commit(ScanFolder(key).delete)
    return len(keys)
