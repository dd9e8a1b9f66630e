"""Taking a file in: what it is called, and whether it is here already."""

from pathlib import PurePath

from apps.jobs.models import JobState
from apps.patients.importing.folder import ImportFolder
from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport
from ml.data.cells import shorten


def shown_name(name: str) -> str:
    """A file's name without folders and without characters that hide or reorder text."""
    return shorten(PurePath(name.replace("\\", "/")).name, 140) or "file"


def same_file(ehr_import: EhrImport) -> EhrImport | None:
    """The import that has the same bytes already, under way or stored."""
    same = EhrImport.objects.filter(
        cohort=ehr_import.cohort_id, sha256=ehr_import.sha256, sheet=ehr_import.sheet
    )
    found = same.exclude(stage__in=[Stage.CANCELLED, Stage.UNDONE]).first()
    if found is None or not _was_refused(found):
        return found
    EhrImport.objects.move(found.pk, Stage.ANALYSING, Stage.CANCELLED)
    return None  # what is read differently since then may go in


def _was_refused(ehr_import: EhrImport) -> bool:
    """Whether nothing could be made of the file, so that it is no longer kept."""
    step = ehr_import.step
    return (
        ehr_import.stage == Stage.ANALYSING
        and step is not None
        and step.state == JobState.FAILED
        and not ImportFolder(ehr_import.pk).file.exists()
    )
