"""A result to take along: as PDF for people, as FHIR for machines. Who sees the page has them."""

from uuid import UUID

from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from apps.accounts.requests import SignedInRequest
from apps.inference.reporting.fhir import risk_assessment_of
from apps.inference.results import Result, newest_prediction, result_of
from apps.patients.models import Patient
from apps.registry.selectors import champion

FILE_NAME = "mirage-research-result"  # says nothing of the patient


@require_safe
def report(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """The page as a PDF, with the caveats of the model card."""
    from apps.inference.reporting.pdf import write_report  # noqa: PLC0415 - 0.2 s to load

    result = _result(request, patient_id)
    content = write_report(result, made_at=timezone.now())
    return _private(HttpResponse(content, content_type="application/pdf"), f"{FILE_NAME}.pdf")


@require_safe
def risk_assessment(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """The answer as a FHIR R4 RiskAssessment."""
    resource = risk_assessment_of(_result(request, patient_id))
    response = JsonResponse(resource, content_type="application/fhir+json")
    return _private(response, f"{FILE_NAME}.fhir.json")


def _result(request: SignedInRequest, patient_id: UUID) -> Result:
    patients = Patient.objects.visible_to(request.user).select_related("cohort")
    patient = get_object_or_404(patients, pk=patient_id)
    prediction = newest_prediction(patient)
    if prediction is None:
        raise Http404
    return result_of(patient, prediction, champion())


def _private(response: HttpResponse, name: str) -> HttpResponse:
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response
