"""Scans of a patient: adding one, watching it, giving it up, and what was made of it."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.jobs.models import JobState
from apps.patients import mosaics
from apps.patients.forms_scans import HeadsForm, ScanForm
from apps.patients.models import Cohort, Patient, Scan
from apps.patients.scans import services
from apps.patients.scans.folder import MAX_BYTES
from apps.patients.scans.presenting import lines_of
from apps.patients.scans.uploading import ScanUploadHandler


@csrf_exempt  # the form is read by a handler of its own, and checked right after: _upload
@require_http_methods(["GET", "HEAD", "POST"])
def upload_scan(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """Offer the form; with a file, check it, queue its preprocessing and go to the patient."""
    request.upload_handlers = [ScanUploadHandler(request)]
    return _upload(request, patient_id)


@csrf_protect
def _upload(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    patients = Patient.objects.visible_to(request.user).select_related("cohort")
    patient = get_object_or_404(patients, pk=patient_id)
    _check_editable(request, patient.cohort_id)
    if request.method != "POST":
        return _page(request, patient, ScanForm())
    form = ScanForm(request.POST, request.FILES, problem=_problem(request))
    if form.is_valid():
        now = timezone.now()
        try:
            scan = services.add_scan(
                patient=patient,
                file=form.cleaned_data["file"],
                age_years=form.cleaned_data["age_years"],
                added_by=request.user,
                now=now,
            )
        except MirageError as error:
            form.add_error("file", str(error))
        else:
            if scan.requested_at != now:
                messages.info(request, f"This file is scan {scan.number} of the patient already.")
            return _taken(request, patient)
    return _refused(request, patient, form)


@require_safe
def scan(request: SignedInRequest, scan_id: UUID) -> HttpResponse:
    """The line of a scan, for polling; a browser that comes by itself is sent to the patient."""
    found = _visible(request, scan_id)
    if not request.headers.get("HX-Request"):
        return redirect(f"{found.patient.get_absolute_url()}#scans")
    context = {
        "line": lines_of([found])[0],
        "may_edit": _may_edit(request, found.patient.cohort_id),
    }
    response = render(request, "patients/partials/scan_line.html", context)
    if found.is_final:
        response.status_code = HttpResponseStopPolling.status_code
    if found.state == JobState.SUCCEEDED:
        response["HX-Refresh"] = "true"  # the viewer offers it now
    return response


@require_POST
def cancel_scan(request: SignedInRequest, scan_id: UUID) -> HttpResponse:
    """Give a scan up."""
    return _do(request, scan_id, lambda found: services.cancel_scan(scan=found))


@require_POST
def retry_scan(request: SignedInRequest, scan_id: UUID) -> HttpResponse:
    """Queue a failed scan again."""
    return _do(request, scan_id, lambda found: services.retry_scan(scan=found))


@require_POST
def delete_scan(request: SignedInRequest, scan_id: UUID) -> HttpResponse:
    """Delete a scan with its files, if the form says that it is meant."""
    is_meant = request.POST.get("meant") == "yes"
    return _do(
        request,
        scan_id,
        lambda found: services.delete_scan(scan=found, is_meant=is_meant, deleted_by=request.user),
    )


@require_safe
def scan_volume(request: SignedInRequest, scan_id: UUID) -> HttpResponse:
    """The stripped volume as NIfTI. Its name says nothing of the patient."""
    voxels = _file(_visible(request, scan_id).file).read_bytes()  # 2 MB at 2 mm
    return _private(HttpResponse(voxels, content_type="application/x-nifti"), "scan.nii")


@require_safe
def scan_mosaic(request: SignedInRequest, scan_id: UUID) -> HttpResponse:
    """Fixed slices of the stripped volume as PNG, for browsers without WebGL2."""
    path = _file(_visible(request, scan_id).file)
    try:
        picture = mosaics.render(path, synthetic=False)
    except mosaics.UnreadableVolumeError as error:
        raise Http404 from error
    return _private(HttpResponse(picture, content_type="image/png"), "scan.png")


@require_safe
def scan_picture(request: SignedInRequest, scan_id: UUID) -> HttpResponse:
    """The picture of the quality control."""
    picture = _file(_visible(request, scan_id).picture).read_bytes()
    return _private(HttpResponse(picture, content_type="image/png"), "scan-check.png")


@require_POST
def keep_heads(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Decide whether scans are kept with skull and face."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    if not Cohort.objects.owned_by(request.user).filter(pk=cohort.pk).exists():
        raise PermissionDenied
    form = HeadsForm(request.POST)
    wanted = form.is_valid() and form.cleaned_data["keep"]
    gone = services.keep_heads(cohort=cohort, wanted=wanted, decided_by=request.user)
    if wanted:
        said = "Scans added from now on are kept with skull and face."
    else:
        said = f"Whole heads are not kept; {gone} that were kept are deleted."
    messages.success(request, said)
    return redirect("patients:cohort-settings", cohort.pk)


def _problem(request: SignedInRequest) -> str:
    """Why the file was not received; to be asked after the form was read."""
    _ = request.FILES
    [handler] = request.upload_handlers
    return handler.problem if isinstance(handler, ScanUploadHandler) else ""


def _taken(request: SignedInRequest, patient: Patient) -> HttpResponse:
    address = f"{patient.get_absolute_url()}#scans"
    if request.accepts("text/html"):
        return redirect(address)
    return JsonResponse({"address": address}, status=201)


def _refused(request: SignedInRequest, patient: Patient, form: ScanForm) -> HttpResponse:
    """Why the scan was not taken: as a page, or as JSON for the page's own script."""
    if request.accepts("text/html"):
        return _page(request, patient, form, status=422)
    reasons = [str(error) for errors in form.errors.values() for error in errors]
    return JsonResponse({"message": " ".join(reasons)}, status=422)


def _page(
    request: SignedInRequest, patient: Patient, form: ScanForm, status: int = 200
) -> HttpResponse:
    context = {
        "section": "cohorts",
        "cohort": patient.cohort,
        "patient": patient,
        "form": form,
        "most_mb": MAX_BYTES // 10**6,
        "most_bytes": MAX_BYTES,
    }
    return render(request, "patients/upload_scan.html", context, status=status)


def _do(request: SignedInRequest, scan_id: UUID, action: Callable[[Scan], object]) -> HttpResponse:
    found = _visible(request, scan_id)
    _check_editable(request, found.patient.cohort_id)
    try:
        action(found)
    except MirageError as error:
        messages.warning(request, str(error))
    wanted = request.POST.get("next", "")
    hosts = {request.get_host()}
    safe = url_has_allowed_host_and_scheme(wanted, hosts, require_https=request.is_secure())
    return redirect(wanted if safe else f"{found.patient.get_absolute_url()}#scans")


def _visible(request: SignedInRequest, scan_id: UUID) -> Scan:
    scans = Scan.objects.visible_to(request.user).select_related("patient__cohort")
    return get_object_or_404(scans, pk=scan_id)


def _file(name: str) -> Path:
    path = Path(settings.MEDIA_ROOT) / name
    if not name or not path.is_file():
        raise Http404
    return path


def _private(response: HttpResponse, name: str) -> HttpResponse:
    response["Content-Disposition"] = f'inline; filename="{name}"'
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _may_edit(request: SignedInRequest, cohort_id: UUID) -> bool:
    return Cohort.objects.editable_by(request.user).filter(pk=cohort_id).exists()


def _check_editable(request: SignedInRequest, cohort_id: UUID) -> None:
    if not _may_edit(request, cohort_id):
        raise PermissionDenied
