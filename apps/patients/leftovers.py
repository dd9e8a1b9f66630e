"""Folders of imports without an import under way, and imports under way without their file."""

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

from django.conf import settings

from apps.patients.dependents import Leftover
from apps.patients.importing import services
from apps.patients.importing.folder import ImportFolder
from apps.patients.importing.stages import OPEN_STAGES
from apps.patients.models import EhrImport

YOUNG_S = 60 * 60  # a file may be on its way in before its row is committed


def of_imports() -> Iterator[Leftover]:
    """What was left over by a crash between a row and its folder."""
    open_imports = set(
        EhrImport.objects.filter(stage__in=list(OPEN_STAGES)).values_list("pk", flat=True)
    )
    for folder in sorted(_folders()):
        if is_old(folder) and _import_of(folder) not in open_imports:
            yield Leftover(
                f"imports/{folder.name}: a folder without an import under way",
                partial(shutil.rmtree, folder),
            )
    for pk in sorted(open_imports):
        if not ImportFolder(pk).file.exists():
            yield Leftover(f"import {pk}: its file is gone", partial(_cancel, pk))


def is_old(path: Path) -> bool:
    """Whether nobody can be in the middle of writing it."""
    try:
        return time.time() - path.stat().st_mtime > YOUNG_S
    except FileNotFoundError:
        return False


def _folders() -> list[Path]:
    parent = Path(settings.MIRAGE_DATA_DIR) / "imports"
    return list(parent.iterdir()) if parent.is_dir() else []


def _import_of(folder: Path) -> UUID | None:
    try:
        return UUID(folder.name)
    except ValueError:
        return None


def _cancel(pk: UUID) -> None:
    services.cancel(ehr_import=EhrImport.objects.get(pk=pk))
