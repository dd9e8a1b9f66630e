"""An import as a user meets it: give a file, follow it, cancel it, take it back."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.contrib.staticfiles import finders
from django.core.exceptions import PermissionDenied
from django.db.models import F, OuterRef, Subquery
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.patients.forms_imports import ImportFileForm
from apps.patients.importing import services
from apps.patients.importing.folder import ImportFolder
from apps.patients.importing.presenting import ImportStatus
from apps.patients.importing.source import MAX_BYTES, MAX_ROWS
from apps.patients.importing.stages import OPEN_STAGES, Stage
from apps.patients.models import Cohort, EhrImport, ImportStep, Patient
from apps.patients.views.import_frame import (
    editable_import,
    page_of,
    time_left,
    waits_because,
    wizard_steps,
)

EARLIER_SHOWN = 20
SAMPLES = {
    "sample-50-patients.csv": "50 patients, columns by concept",
    "sample-50-patients-adni.csv": "The same 50, columns as ADNI names them",
    "sample-with-errors.csv": "One of each common mistake",
}
PAGE_OF_STAGE = {
    Stage.MAPPING: "patients:import-columns",
    Stage.CHECKED: "patients:import-problems",
}
DOING = {
    Stage.ANALYSING: ("Reading the file", "What kind of file it is, and what its columns mean."),
    Stage.CHECKING: ("Checking the rows", "Every cell: type, unit, range, code, dates."),
    Stage.COMMITTING: ("Importing", "All rows in order are stored at once, or none."),
    Stage.UNDOING: ("Undoing", "What this import stored is removed at once, or nothing is."),
}


@require_http_methods(["GET", "HEAD", "POST"])
def start_import(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Offer the upload; with a file, queue its reading and go to its page."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    if not Cohort.objects.editable_by(request.user).filter(pk=cohort.pk).exists():
        raise PermissionDenied
    if request.method != "POST":
        instead = _instead_of(cohort, request.GET.get("instead_of", ""))
        return _upload_page(request, cohort, ImportFileForm(), instead)
    form = ImportFileForm(request.POST, request.FILES)
    instead = _instead_of(cohort, request.POST.get("instead_of", ""))
    if not form.is_valid():
        return _refused(request, cohort, form, instead)
    now = timezone.now()
    file = form.cleaned_data["file"]
    try:
        started = services.start_import(
            cohort=cohort, file=file, name=file.name, uploaded_by=request.user, now=now
        )
    except MirageError as error:
        form.add_error("file", str(error))
        return _refused(request, cohort, form, instead, code=getattr(error, "code", "refused"))
    if started.requested_at != now:
        messages.info(request, _known_already(started))
    elif instead is not None:
        _cancel(request, instead)
    return redirect("patients:import", started.pk)


@require_safe
def ehr_import(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """Where an import stands: under way, failed, or over; else the page that waits for the user."""
    found = editable_import(request, import_id)
    status = services.status_of(ehr_import=found)
    if status.stage in PAGE_OF_STAGE:
        return redirect(PAGE_OF_STAGE[status.stage], found.pk)
    if status.stage in DOING:
        return page_of(request, "progress.html", found, _progress(found, status))
    context = {
        "status": status,
        "rows_in_order": found.rows - found.rows_refused,
        "patients": Patient.objects.filter(cohort=found.cohort_id).count(),
    }
    return page_of(request, "result.html", found, context)


@require_safe
def import_status(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """The line of the step under way, for polling; when it has ended, the way to what is next."""
    found = editable_import(request, import_id)
    address = reverse("patients:import", args=[found.pk])
    if not request.headers.get("HX-Request"):
        return redirect(address)
    status = services.status_of(ehr_import=found)
    context = {"ehr_import": found} | _progress(found, status)
    response = render(request, "patients/imports/partials/progress_line.html", context)
    if not status.is_busy:
        response.status_code = HttpResponseStopPolling.status_code
        response["HX-Redirect"] = address
    return response


@require_POST
def cancel_import(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """Give an import up; its file is deleted."""
    found = editable_import(request, import_id)
    _cancel(request, found)
    return redirect("patients:import", found.pk)


@require_POST
def retry_import(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """Queue a failed step again."""
    found = editable_import(request, import_id)
    return _do(request, found, lambda: services.retry(ehr_import=found))


@require_POST
def undo_import(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """Take back what an import stored."""
    found = editable_import(request, import_id)
    return _do(
        request,
        found,
        lambda: services.undo(ehr_import=found, requested_by=request.user, now=timezone.now()),
    )


@require_POST
def read_sheet(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """Read another sheet of the same workbook, in place of the one that was read."""
    found = editable_import(request, import_id)
    try:
        with ImportFolder(found.pk).file.open("rb") as file:
            other = services.start_import(
                cohort=found.cohort,
                file=file,
                name=found.file_name,
                uploaded_by=request.user,
                now=timezone.now(),
                sheet=request.POST.get("sheet", ""),
            )
    except FileNotFoundError:
        messages.error(request, "The file is not kept any more. Upload it again.")
        return redirect("patients:start-import", found.cohort_id)
    except MirageError as error:
        messages.error(request, str(error))
        return redirect("patients:import", found.pk)
    if other.pk != found.pk:
        _cancel(request, found)
    return redirect("patients:import", other.pk)


def _do(request: SignedInRequest, found: EhrImport, action: Callable[[], object]) -> HttpResponse:
    try:
        action()
    except MirageError as error:
        messages.warning(request, str(error))
    return redirect("patients:import", found.pk)


def _cancel(request: SignedInRequest, found: EhrImport) -> None:
    try:
        services.cancel(ehr_import=found)
    except MirageError as error:
        messages.warning(request, str(error))


def _progress(found: EhrImport, status: ImportStatus) -> dict[str, object]:
    title, words = DOING.get(status.stage, (status.stage_label, ""))
    return {
        "status": status,
        "title": title,
        "words": words,
        "left": time_left(status),
        "waits": waits_because(found.step),
        "may_change_columns": status.has_failed and status.stage is Stage.CHECKING,
    }


def _known_already(known: EhrImport) -> str:
    if known.stage == Stage.COMMITTED:
        return "This file is already in the cohort; nothing was changed. This is its import."
    return "An import of this very file is under way; this is it."


def _instead_of(cohort: Cohort, pk: str) -> EhrImport | None:
    """The unfinished import that a corrected file replaces."""
    try:
        wanted = UUID(pk)
    except ValueError:
        return None
    return cohort.imports.filter(pk=wanted, stage__in=OPEN_STAGES).first()


def _upload_page(
    request: SignedInRequest,
    cohort: Cohort,
    form: ImportFileForm,
    instead_of: EhrImport | None,
    status: int = 200,
) -> HttpResponse:
    newest = ImportStep.objects.filter(ehr_import=OuterRef("pk")).order_by("-number")
    earlier = cohort.imports.select_related("requested_by").annotate(
        step_state=Subquery(newest.values("state")[:1]),
        rows_stored=F("rows") - F("rows_refused"),
    )
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "form": form,
        "steps": wizard_steps(None),
        "instead_of": instead_of,
        "samples": [
            {"path": f"samples/{name}", "name": name, "words": words}
            for name, words in SAMPLES.items()
            if finders.find(f"samples/{name}")
        ],
        "earlier": earlier[:EARLIER_SHOWN],
        "most_rows": MAX_ROWS,
        "most_mb": MAX_BYTES // 10**6,
    }
    return render(request, "patients/imports/upload.html", context, status=status)


def _refused(
    request: SignedInRequest,
    cohort: Cohort,
    form: ImportFileForm,
    instead_of: EhrImport | None,
    code: str = "refused",
) -> HttpResponse:
    """Why the file was not taken: as a page, or as JSON for a program that asks for it."""
    if request.accepts("text/html"):
        return _upload_page(request, cohort, form, instead_of, status=422)
    message = " ".join(map(str, form.errors["file"]))
    return JsonResponse({"code": code, "message": message}, status=422)
