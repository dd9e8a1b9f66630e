"""Pseudo-MRIs: asking for one, watching it, and its files, each behind the permission check."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling, trigger_client_event

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.inference import means, services
from apps.inference.models import Prediction, PseudoMRI
from apps.inference.selectors import decodings_of
from apps.inference.views.runs import back
from apps.jobs.models import JobState
from apps.jobs.selectors import unserved_queues
from apps.patients import mosaics
from apps.patients.models import Cohort, Patient
from apps.registry.models import Bundle

FILE_NAME = "pseudo-mri-SYNTHETIC"


@dataclass(frozen=True, slots=True)
class Decode:
    """Where a pseudo-MRI stands, as the veil over the viewer."""

    pseudo_mri: PseudoMRI
    has_worker: bool

    @property
    def is_ready(self) -> bool:
        return self.pseudo_mri.state == JobState.SUCCEEDED


def decode_of(pseudo_mri: PseudoMRI | None) -> Decode | None:
    if pseudo_mri is None:
        return None
    has_worker = pseudo_mri.is_final or pseudo_mri.QUEUE not in unserved_queues()
    return Decode(pseudo_mri=pseudo_mri, has_worker=has_worker)


@require_POST
def request_pseudo_mri(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """Decode the pseudo-MRI behind the newest answer of a patient."""
    patients = Patient.objects.visible_to(request.user)
    patient = get_object_or_404(patients, pk=patient_id)
    _check_editable(request, patient.cohort_id)
    prediction = Prediction.objects.filter(patient=patient).order_by("-created_at", "-pk").first()
    if prediction is None:
        messages.error(
            request, "There is no answer to decode yet. Run MIRAGE on the patient first."
        )
        return redirect(patient.get_absolute_url())
    try:
        services.request_pseudo_mri(
            prediction=prediction, requested_by=request.user, now=timezone.now()
        )
    except MirageError as error:
        messages.error(request, str(error))
    return redirect(f"{patient.get_absolute_url()}#images")


@require_POST
def request_cohort_pseudo_mris(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Decode the newest answers of a cohort that have no pseudo-MRI yet."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    _check_editable(request, cohort.pk)
    try:
        n = services.request_pseudo_mris(
            cohort=cohort, requested_by=request.user, now=timezone.now()
        )
    except MirageError as error:
        messages.error(request, str(error))
    else:
        words = "pseudo-MRI is" if n == 1 else "pseudo-MRIs are"
        messages.success(
            request, f"{n} {words} queued, about a second each. You may leave this page."
        )
    return redirect(cohort.get_absolute_url())


@require_safe
def cohort_pseudo_mris(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """How many decodings of a cohort are left, for polling; a browser is sent to its page."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    if not request.headers.get("HX-Request"):
        return redirect(cohort.get_absolute_url())
    n = decodings_of(cohort).active
    context = {"cohort": cohort, "decoding": n, "may_edit": _may_edit(request, cohort.pk)}
    response = render(request, "inference/partials/decoding_line.html", context)
    if str(n) != request.GET.get("seen"):
        trigger_client_event(response, "run-progress")
    if not n:
        response.status_code = HttpResponseStopPolling.status_code
    return response


@require_POST
def cancel_cohort_pseudo_mris(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Stop the decodings of a cohort that have not ended."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    _check_editable(request, cohort.pk)
    n = services.cancel_pseudo_mris(cohort=cohort)
    messages.success(request, f"{n} decoding{'s' if n != 1 else ''} cancelled.")
    return redirect(cohort.get_absolute_url())


@require_safe
def pseudo_mri(request: SignedInRequest, pseudo_mri_id: UUID) -> HttpResponse:
    """Where the decoding stands, for polling; a browser by itself is sent to the page."""
    found = _visible(request, pseudo_mri_id)
    patient = found.prediction.patient
    if not request.headers.get("HX-Request"):
        return redirect(f"{patient.get_absolute_url()}#images")
    context = {
        "decode": decode_of(found),
        "patient": patient,
        "may_edit": _may_edit(request, patient.cohort_id),
    }
    response = render(request, "inference/partials/decode.html", context)
    if found.is_final:
        response.status_code = HttpResponseStopPolling.status_code
        trigger_client_event(response, "decoding-ended")
    return response


@require_POST
def cancel_pseudo_mri(request: SignedInRequest, pseudo_mri_id: UUID) -> HttpResponse:
    """Stop a decoding."""
    found = _visible(request, pseudo_mri_id)
    _check_editable(request, found.prediction.patient.cohort_id)
    try:
        services.cancel_job(job=found)
    except MirageError as error:
        messages.warning(request, str(error))
    return back(request, f"{found.prediction.patient.get_absolute_url()}#images")


@require_POST
def retry_pseudo_mri(request: SignedInRequest, pseudo_mri_id: UUID) -> HttpResponse:
    """Queue a failed or cancelled decoding again."""
    found = _visible(request, pseudo_mri_id)
    _check_editable(request, found.prediction.patient.cohort_id)
    try:
        services.retry_job(job=found)
    except MirageError as error:
        messages.warning(request, str(error))
    return back(request, f"{found.prediction.patient.get_absolute_url()}#images")


@require_safe
def volume(request: SignedInRequest, pseudo_mri_id: UUID) -> HttpResponse:
    """The decoded volume as NIfTI. Its name says nothing of the patient."""
    voxels = _file(_visible(request, pseudo_mri_id)).read_bytes()  # 2 MB at 2 mm
    return _private(HttpResponse(voxels, content_type="application/x-nifti"), f"{FILE_NAME}.nii")


@require_safe
def mosaic(request: SignedInRequest, pseudo_mri_id: UUID) -> HttpResponse:
    """Fixed slices of the volume as PNG, for browsers without WebGL2."""
    path = _file(_visible(request, pseudo_mri_id))
    try:
        picture = mosaics.render(path, synthetic=True)
    except mosaics.UnreadableVolumeError as error:
        raise Http404 from error
    return _private(HttpResponse(picture, content_type="image/png"), f"{FILE_NAME}.png")


@require_safe
def mean_volume(request: SignedInRequest, bundle_id: int) -> HttpResponse:
    """What a bundle's decoder draws for nobody in particular; the same for whoever is signed in."""
    path = means.mean_file(get_object_or_404(Bundle, pk=bundle_id))
    if not path.is_file():
        raise Http404
    response = HttpResponse(path.read_bytes(), content_type="application/x-nifti")
    return _private(response, "mean-SYNTHETIC.nii")


def _private(response: HttpResponse, name: str) -> HttpResponse:
    response["Content-Disposition"] = f'inline; filename="{name}"'
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _visible(request: SignedInRequest, pseudo_mri_id: UUID) -> PseudoMRI:
    pseudo_mris = PseudoMRI.objects.visible_to(request.user)
    return get_object_or_404(
        pseudo_mris.select_related("prediction__patient__cohort"), pk=pseudo_mri_id
    )


def _file(pseudo_mri: PseudoMRI) -> Path:
    path = Path(settings.MEDIA_ROOT) / pseudo_mri.file
    if not pseudo_mri.file or not path.is_file():
        raise Http404
    return path


def _may_edit(request: SignedInRequest, cohort_id: UUID) -> bool:
    return Cohort.objects.editable_by(request.user).filter(pk=cohort_id).exists()


def _check_editable(request: SignedInRequest, cohort_id: UUID) -> None:
    if not _may_edit(request, cohort_id):
        raise PermissionDenied
