"""Preprocess queued scans. Called by a task, which a broker may deliver twice."""

import hashlib
from pathlib import Path
from uuid import UUID

from django.conf import settings

from apps.jobs.attempt import Attempt, LeaseLostError, carry_out
from apps.patients.models import Scan
from apps.patients.scans import sandbox
from apps.patients.scans.folder import ScanFolder, ScanRefusedError, publish


def preprocess(*, scan_id: UUID) -> None:
    """Preprocess one scan; nothing if another worker has it."""
    carry_out(Scan, scan_id, _preprocess)


def _preprocess(attempt: Attempt[Scan]) -> None:
    """Make the volume in a folder of this attempt's own, then name it in the row."""
    scan = attempt.job()
    folder = ScanFolder(scan.pk)
    if not folder.source.exists():
        raise ScanRefusedError("The file is not kept any more. Upload it again.")
    with folder.workspace() as work:
        made = sandbox.preprocess(folder.source, work, still_wanted=attempt.raise_if_lost)
        keep(attempt, made)
    if not scan.patient.cohort.keeps_heads:
        folder.delete()


def keep(attempt: Attempt[Scan], made: sandbox.Made) -> None:
    """Put what was made where pages find it and end the attempt, or leave nothing of it.

    Raises:
        LeaseLostError: the scan was cancelled, or is another attempt's.
        ScanStorageError: the disk refuses.
    """
    published: list[Path] = []
    try:
        for file in filter(None, (made.picture, made.volume)):
            published.append(publish(file))  # noqa: PERF401 - the second may fail
        _record(attempt, made, published)
    except BaseException:
        for path in published:
            path.unlink(missing_ok=True)
        raise


def _record(attempt: Attempt[Scan], made: sandbox.Made, published: list[Path]) -> None:
    """Write the end of the attempt and all it found out in one step."""
    scan = attempt.job()
    names = {path.suffix: path.relative_to(settings.MEDIA_ROOT).as_posix() for path in published}
    facts = {
        "qc": made.qc,
        "picture": names.get(".png", ""),
        "head_kept": scan.patient.cohort.keeps_heads,
    }
    if made.refused:
        reason = made.refused
        if not Scan.objects.refuse(scan.pk, attempt=attempt.number, reason=reason, **facts):
            raise LeaseLostError
        return
    [volume] = [path for path in published if path.suffix == ".nii"]
    with volume.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    attempt.finish(
        file=names[".nii"],
        sha256=sha256,
        bytes=volume.stat().st_size,
        volumes_ml=made.volumes_ml,
        **facts,
    )
