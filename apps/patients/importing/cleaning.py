"""Imports that nobody went on with: given up after some days, and what crashes left of others."""

import shutil
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from apps.patients.importing import services
from apps.patients.importing.deciding import ImportRefusedError
from apps.patients.importing.stages import OPEN_STAGES
from apps.patients.models import EhrImport

_YOUNG_S = 3_600  # a folder is made a moment before its import's row


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was given up, and how many folders without an open import were deleted."""

    imports: tuple[UUID, ...]
    folders: int


def clean_up(*, now: datetime, older_than: timedelta, dry_run: bool = False) -> Cleaned:
    """Cancel open imports on which nothing has happened for long, and delete left files.

    Args:
        now: what their age is counted to.
        older_than: age of the last thing that happened to an import.
        dry_run: only say what would go.
    """
    abandoned = tuple(
        each for each in _open().prefetch_related("steps") if now - _last_moved(each) > older_than
    )
    if not dry_run:
        for each in abandoned:
            _give_up(each)
    return Cleaned(tuple(each.pk for each in abandoned), _delete_left_folders(dry_run=dry_run))


def _open() -> QuerySet[EhrImport]:
    return EhrImport.objects.filter(stage__in=OPEN_STAGES).exclude(
        steps__state__in=["queued", "running"]
    )


def _last_moved(ehr_import: EhrImport) -> datetime:
    ended = [step.finished_at for step in ehr_import.steps.all() if step.finished_at]
    return max([ehr_import.requested_at, *ended])


def _give_up(ehr_import: EhrImport) -> None:
    try:
        with transaction.atomic():
            services.cancel(ehr_import=ehr_import)
    except ImportRefusedError:
        return  # somebody was faster


def _delete_left_folders(*, dry_run: bool) -> int:
    """Folders whose import is over or was never recorded."""
    home = settings.MIRAGE_DATA_DIR / "imports"
    if not home.exists():
        return 0
    kept = {
        str(pk)
        for pk in EhrImport.objects.filter(stage__in=OPEN_STAGES).values_list("pk", flat=True)
    }
    left = [
        path
        for path in home.iterdir()
        if path.name not in kept and time.time() - path.stat().st_mtime > _YOUNG_S
    ]
    for path in left if not dry_run else ():
        shutil.rmtree(path, ignore_errors=True)
    return len(left)
