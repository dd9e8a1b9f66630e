"""What every page of an import needs: the import itself, and where in the wizard it stands."""

from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from apps.accounts.requests import SignedInRequest
from apps.jobs.models import JobState
from apps.jobs.selectors import unserved_queues
from apps.patients.importing.presenting import ImportStatus
from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, ImportStep

FILE, COLUMNS, PROBLEMS, IMPORT = range(4)
NOTHING_YET = "nothing stored yet"
AT = {
    Stage.ANALYSING: FILE,
    Stage.MAPPING: COLUMNS,
    Stage.CHECKING: PROBLEMS,
    Stage.CHECKED: PROBLEMS,
    Stage.COMMITTING: IMPORT,
    Stage.COMMITTED: IMPORT,
    Stage.UNDOING: IMPORT,
    Stage.UNDONE: IMPORT,
    Stage.CANCELLED: IMPORT,
}


@dataclass(frozen=True, slots=True)
class WizardStep:
    """One of the four steps at the top of each page."""

    title: str
    words: str
    is_done: bool
    is_current: bool


def editable_import(request: SignedInRequest, import_id: UUID) -> EhrImport:
    """An import whose cohort the user may change: 404 for a stranger, 403 for a mere reader."""
    found = EhrImport.objects.visible_to(request.user).select_related("cohort", "template")
    ehr_import = get_object_or_404(found, pk=import_id)
    if not EhrImport.objects.editable_by(request.user).filter(pk=ehr_import.pk).exists():
        raise PermissionDenied
    return ehr_import


def page_of(
    request: HttpRequest,
    template: str,
    ehr_import: EhrImport,
    context: dict[str, object],
    *,
    at: int | None = None,
    status: int = 200,
) -> HttpResponse:
    """A page of the wizard."""
    everywhere = {
        "section": "cohorts",
        "cohort": ehr_import.cohort,
        "ehr_import": ehr_import,
        "steps": wizard_steps(ehr_import, at=at),
    }
    return render(request, f"patients/imports/{template}", everywhere | context, status=status)


def wizard_steps(ehr_import: EhrImport | None, *, at: int | None = None) -> list[WizardStep]:
    """The four steps; `at` where a page shows an earlier one than the import has come to."""
    if ehr_import is None:
        words = ["not chosen yet", "", "", NOTHING_YET]
        here, done = FILE, FILE
    else:
        stage = Stage(ehr_import.stage)
        here = AT[stage] if at is None else at
        done = _steps_done(ehr_import, stage) if at is None else at
        words = _words(ehr_import, stage)
    return [
        WizardStep(title, said, is_done=place < done, is_current=place == here)
        for place, (title, said) in enumerate(
            zip(("File", "Columns", "Problems", "Import"), words, strict=True)
        )
    ]


def _steps_done(ehr_import: EhrImport, stage: Stage) -> int:
    """How many steps are over; of a cancelled import those that it had come to the end of."""
    if stage is Stage.CANCELLED:
        return bool(ehr_import.columns) + bool(ehr_import.check_s)
    return AT[stage] + (stage is Stage.COMMITTED)


def _words(ehr_import: EhrImport, stage: Stage) -> list[str]:
    read = bool(ehr_import.columns)
    rows = f"{ehr_import.rows:,} row{'' if ehr_import.rows == 1 else 's'}"
    columns = len(ehr_import.columns)
    stored = {
        Stage.COMMITTED: f"{ehr_import.rows - ehr_import.rows_refused:,} of {rows} stored",
        Stage.UNDONE: "taken back",
        Stage.CANCELLED: "cancelled",
    }
    return [
        ehr_import.file_name,
        f"{columns:,} column{'' if columns == 1 else 's'}" if read else "",
        rows if read else "",
        stored.get(stage, NOTHING_YET),
    ]


def waits_because(step: ImportStep | None) -> str:
    """Why a queued step has not begun, if there is a reason; nothing is lost meanwhile."""
    if step is None or step.state != JobState.QUEUED:
        return ""
    if step.sent_at is None:
        return "The queue does not answer. The file is kept; this starts by itself when it is back."
    if step.QUEUE in unserved_queues():
        return "No worker for imports is alive. The file is kept; this starts when one is back."
    return ""


def time_left(status: ImportStatus) -> str:
    """How much longer a step takes, in words."""
    if status.seconds_left is None:
        return ""
    if status.seconds_left < 60:
        return "less than a minute left"
    return f"about {round(status.seconds_left / 60)} min left"
