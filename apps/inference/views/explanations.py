"""Explanations: asking for one, watching it, stopping it, trying it again."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.inference import services
from apps.inference.models import Explanation
from apps.inference.results import newest_prediction
from apps.inference.views.runs import back
from apps.jobs.models import JobState
from apps.jobs.selectors import unserved_queues
from apps.patients.models import Cohort, Patient

PLACE = "#explanation"


@require_POST
def request_explanation(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """Explain the newest answer of a patient."""
    patient = get_object_or_404(Patient.objects.visible_to(request.user), pk=patient_id)
    _check_editable(request, patient.cohort_id)
    prediction = newest_prediction(patient)
    if prediction is None:
        messages.error(request, "There is no answer to explain yet. Run MIRAGE first.")
        return redirect(patient.get_absolute_url())
    try:
        services.request_explanation(
            prediction=prediction, requested_by=request.user, now=timezone.now()
        )
    except MirageError as error:
        messages.error(request, str(error))
    return redirect(f"{patient.get_absolute_url()}{PLACE}")


@require_safe
def explanation(request: SignedInRequest, explanation_id: UUID) -> HttpResponse:
    """Where it stands, for polling; a browser by itself is sent to the page."""
    found = _visible(request, explanation_id)
    patient = found.prediction.patient
    if not request.headers.get("HX-Request"):
        return redirect(f"{patient.get_absolute_url()}{PLACE}")
    context = {
        "explanation": found,
        "patient": patient,
        "prediction": found.prediction,
        "explanation_waits": waits(found),
        "may_edit": _may_edit(request, patient.cohort_id),
    }
    response = render(request, "inference/partials/explanation_job.html", context)
    if found.is_final:
        response.status_code = HttpResponseStopPolling.status_code
    if found.state == JobState.SUCCEEDED:
        response["HX-Refresh"] = "true"  # several parts of the page speak of it
    return response


@require_POST
def cancel_explanation(request: SignedInRequest, explanation_id: UUID) -> HttpResponse:
    """Stop an explanation."""
    found = _visible(request, explanation_id)
    _check_editable(request, found.prediction.patient.cohort_id)
    try:
        services.cancel_job(job=found)
    except MirageError as error:
        messages.warning(request, str(error))
    return back(request, f"{found.prediction.patient.get_absolute_url()}{PLACE}")


@require_POST
def retry_explanation(request: SignedInRequest, explanation_id: UUID) -> HttpResponse:
    """Queue a failed or cancelled explanation again."""
    found = _visible(request, explanation_id)
    _check_editable(request, found.prediction.patient.cohort_id)
    try:
        services.retry_job(job=found)
    except MirageError as error:
        messages.warning(request, str(error))
    return back(request, f"{found.prediction.patient.get_absolute_url()}{PLACE}")


def waits(explanation: Explanation | None) -> bool:
    """Whether it is queued and no worker is there to take it."""
    if explanation is None or explanation.is_final:
        return False
    return explanation.QUEUE in unserved_queues()


def _visible(request: SignedInRequest, explanation_id: UUID) -> Explanation:
    explanations = Explanation.objects.visible_to(request.user)
    return get_object_or_404(
        explanations.select_related("prediction__patient__cohort"), pk=explanation_id
    )


def _may_edit(request: SignedInRequest, cohort_id: UUID) -> bool:
    return Cohort.objects.editable_by(request.user).filter(pk=cohort_id).exists()


def _check_editable(request: SignedInRequest, cohort_id: UUID) -> None:
    if not _may_edit(request, cohort_id):
        raise PermissionDenied
