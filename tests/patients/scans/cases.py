"""Scans for tests: rows with real files."""

import hashlib
from pathlib import Path

from django.utils import timezone

from apps.jobs.models import JobState
from apps.patients.models import Patient, Scan
from tests.factories import ScanFactory
from tests.inference.world import write_volume


def registered(patient: Patient, media: Path, **fields: object) -> Scan:
    """A scan that was preprocessed: a volume, a picture, figures; its head is gone."""
    folder = media / "scans"
    folder.mkdir(parents=True, exist_ok=True)
    number = Scan.objects.filter(patient=patient).count() + 1
    volume, picture = folder / f"{patient.number}-{number}.nii", folder / f"{number}.png"
    write_volume(volume)
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    return ScanFactory(
        patient=patient,
        number=number,
        state=JobState.SUCCEEDED,
        attempt=1,
        tries=1,
        finished_at=timezone.now(),
        head_kept=False,
        file=volume.relative_to(media).as_posix(),
        sha256=hashlib.sha256(volume.read_bytes()).hexdigest(),
        bytes=volume.stat().st_size,
        picture=picture.relative_to(media).as_posix(),
        qc={"correlation": 0.91, "overlap": 0.95, "brain_ml": 1483.0},
        volumes_ml={"hippocampus": 6.9, "brain": 1190.0},
        **fields,
    )
