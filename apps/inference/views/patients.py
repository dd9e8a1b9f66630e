"""The page of a patient: answer, uncertainty, what is missing, what moved it, picture, findings."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from apps.accounts.requests import SignedInRequest
from apps.inference.models import InferenceRun, Prediction
from apps.inference.results import grouped_concepts, newest_prediction, result_of
from apps.inference.views.explanations import waits
from apps.inference.views.pseudo_mris import decode_of
from apps.inference.views.runs import line_of
from apps.inference.views.what_ifs import what_if_context
from apps.jobs.models import JobState
from apps.patients.histories import day_of, grouped, histories_of, sources_of, visits_of
from apps.patients.models import Cohort, Patient
from apps.registry.models import Bundle
from apps.registry.selectors import champion, inputs_of


@require_safe
def patient(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """Everything MIRAGE has to say about one patient."""
    patient = get_object_or_404(
        Patient.objects.visible_to(request.user).select_related("cohort"), pk=patient_id
    )
    prediction = newest_prediction(patient)
    model = champion()
    context = {
        "section": "cohorts",
        "patient": patient,
        "cohort": patient.cohort,
        "may_edit": Cohort.objects.editable_by(request.user).filter(pk=patient.cohort_id).exists(),
        "age": patient.age_years,
        "female": patient.female,
        "champion": model,
        "run_line": line_of(_newest_run(patient)),
        **_of_findings(patient, inputs_of(prediction.run.bundle if prediction else model)),
        **(_of_result(request, patient, prediction, model) if prediction else {}),
    }
    return render(request, "inference/patient.html", context)


def _of_findings(patient: Patient, inputs: tuple[str, ...]) -> dict[str, object]:
    """The record, and what of it the model reads."""
    histories = histories_of(patient)
    every_finding = [finding for history in histories.values() for finding in history.findings]
    given = [concept for concept in inputs if concept in histories]
    return {
        "observed_on": max((day_of(f.observed_at) for f in every_finding), default=None),
        "given": len(given),
        "schema_size": len(inputs),
        "missing": grouped_concepts(set(inputs) - set(given)),
        "groups": grouped(histories.values()),
        "visits": visits_of(histories.values()),
        "sources": sources_of(patient, every_finding),
        "findings": len(every_finding),
    }


def _of_result(
    request: SignedInRequest, patient: Patient, prediction: Prediction, model: Bundle | None
) -> dict[str, object]:
    """The newest answer with all that belongs to it."""
    result = result_of(patient, prediction, model)
    return {
        "result": result,
        "prediction": prediction,
        "bundle": result.bundle,
        "card": result.card,
        "missing": result.missing,
        "is_stale": bool(model and result.bundle.pk != model.pk),
        "findings_are_newer": _findings_are_newer(prediction, patient),
        "decode": decode_of(result.pseudo_mri),
        "explanation": result.explanation,
        "explained": result.explained,
        "explanation_waits": waits(result.explanation),
        **what_if_context(request, prediction),
    }


def _newest_run(patient: Patient) -> InferenceRun | None:
    """A run of this patient, or of the whole cohort, that the page should still speak of."""
    runs = InferenceRun.objects.filter(cohort=patient.cohort_id).select_related("bundle", "patient")
    own = runs.filter(patient=patient).order_by("-number").first()
    if own and own.state != JobState.SUCCEEDED:
        return own
    return runs.filter(patient=None).active().order_by("-number").first()


def _findings_are_newer(prediction: Prediction, patient: Patient) -> bool:
    """Whether the page shows findings that the answer does not know."""
    if not patient.recorded_ats:
        return False
    return prediction.run.requested_at < patient.recorded_ats[0]
