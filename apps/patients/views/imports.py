"""An import as a user meets it: give a file, follow it, take it back."""

from uuid import UUID

from django.contrib import messages
from django.contrib.staticfiles import finders
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.patients.forms_imports import ImportFileForm
from apps.patients.importing import services
from apps.patients.importing.source import MAX_BYTES, MAX_ROWS
from apps.patients.importing.stages import Stage
from apps.patients.models import Cohort, EhrImport

EARLIER_SHOWN = 20
SAMPLES = {
    "sample-50-patients.csv": "50 patients, columns by concept",
    "sample-50-patients-adni.csv": "The same 50, columns as ADNI names them",
    "sample-with-errors.csv": "One of each common mistake",
}


@require_http_methods(["GET", "HEAD", "POST"])
def start_import(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Offer the upload; with a file, queue its reading and go to its page."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    if not Cohort.objects.editable_by(request.user).filter(pk=cohort.pk).exists():
        raise PermissionDenied
    if request.method != "POST":
        return _upload_page(request, cohort, ImportFileForm())
    form = ImportFileForm(request.POST, request.FILES)
    if not form.is_valid():
        return _refused(request, cohort, form)
    now = timezone.now()
    try:
        ehr_import = services.start_import(
            cohort=cohort,
            file=form.cleaned_data["file"],
            name=form.cleaned_data["file"].name,
            uploaded_by=request.user,
            now=now,
        )
    except MirageError as error:
        form.add_error("file", str(error))
        return _refused(request, cohort, form, code=getattr(error, "code", "refused"))
    if ehr_import.requested_at != now:
        messages.info(request, _known_already(ehr_import))
    return redirect("patients:import", ehr_import.pk)


@require_safe
def ehr_import(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """The page of an import, as far as it has come."""
    found = editable_import(request, import_id)
    status = services.status_of(ehr_import=found)
    return render(
        request,
        "patients/imports/progress.html",
        {"section": "cohorts", "cohort": found.cohort, "ehr_import": found, "status": status},
    )


def editable_import(request: SignedInRequest, import_id: UUID) -> EhrImport:
    """An import whose cohort the user may change: 404 for a stranger, 403 for a mere reader."""
    found = EhrImport.objects.visible_to(request.user).select_related("cohort", "template")
    ehr_import = get_object_or_404(found, pk=import_id)
    if not EhrImport.objects.editable_by(request.user).filter(pk=ehr_import.pk).exists():
        raise PermissionDenied
    return ehr_import


def _known_already(ehr_import: EhrImport) -> str:
    if ehr_import.stage == Stage.COMMITTED:
        return "This file is already in the cohort; nothing was changed. This is its import."
    return "An import of this very file is under way; this is it."


def _upload_page(
    request: SignedInRequest, cohort: Cohort, form: ImportFileForm, status: int = 200
) -> HttpResponse:
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "form": form,
        "samples": [
            {"path": f"samples/{name}", "name": name, "words": words}
            for name, words in SAMPLES.items()
            if finders.find(f"samples/{name}")
        ],
        "earlier": cohort.imports.all()[:EARLIER_SHOWN],
        "most_rows": MAX_ROWS,
        "most_mb": MAX_BYTES // 10**6,
    }
    return render(request, "patients/imports/upload.html", context, status=status)


def _refused(
    request: SignedInRequest, cohort: Cohort, form: ImportFileForm, code: str = "refused"
) -> HttpResponse:
    """Why the file was not taken: as a page, or as JSON for a program that asks for it."""
    if request.accepts("text/html"):
        return _upload_page(request, cohort, form, status=422)
    message = " ".join(form.errors.get("file", ["The file was not taken."]))
    return JsonResponse({"code": code, "message": message}, status=422)
