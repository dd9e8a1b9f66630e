"""The page of a patient: answer, uncertainty, what is missing, picture and findings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from apps.accounts.requests import SignedInRequest
from apps.inference.models import InferenceRun, Prediction, PseudoMRI
from apps.inference.views.pseudo_mris import decode_of
from apps.inference.views.runs import line_of
from apps.jobs.models import JobState
from apps.patients.histories import day_of, grouped, histories_of, sources_of, visits_of
from apps.patients.models import Cohort, Patient
from apps.registry.selectors import champion, inputs_of
from ml.concepts import Concept, dictionary


@dataclass(frozen=True, slots=True)
class Group:
    """Concepts under one heading of the dictionary."""

    name: str
    entries: Sequence[Concept]


@require_safe
def patient(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """Everything MIRAGE has to say about one patient."""
    patient = get_object_or_404(
        Patient.objects.visible_to(request.user).select_related("cohort"), pk=patient_id
    )
    prediction = (
        Prediction.objects.filter(patient=patient)
        .select_related("run__bundle", "pseudo_mri")
        .order_by("-created_at", "-pk")
        .first()
    )
    histories = histories_of(patient)
    every_finding = [finding for history in histories.values() for finding in history.findings]
    model = champion()
    inputs = inputs_of(prediction.run.bundle if prediction else model)
    given = [concept for concept in inputs if concept in histories]
    return render(
        request,
        "inference/patient.html",
        {
            "section": "cohorts",
            "patient": patient,
            "cohort": patient.cohort,
            "may_edit": Cohort.objects.editable_by(request.user)
            .filter(pk=patient.cohort_id)
            .exists(),
            "age": patient.age_years,
            "female": patient.female,
            "prediction": prediction,
            "bundle": prediction.run.bundle if prediction else None,
            "card": prediction.run.bundle.card if prediction else None,
            "is_stale": bool(prediction and model and prediction.run.bundle_id != model.pk),
            "findings_are_newer": _findings_are_newer(prediction, patient),
            "champion": model,
            "run_line": line_of(_newest_run(patient)),
            "decode": decode_of(_pseudo_mri(prediction)),
            "observed_on": max((day_of(f.observed_at) for f in every_finding), default=None),
            "given": len(given),
            "schema_size": len(inputs),
            "missing": _grouped(
                dictionary()[concept]
                for concept in (prediction.missing if prediction else set(inputs) - set(given))
                if concept in dictionary()
            ),
            "groups": grouped(histories.values()),
            "visits": visits_of(histories.values()),
            "sources": sources_of(patient, every_finding),
            "findings": len(every_finding),
        },
    )


def _newest_run(patient: Patient) -> InferenceRun | None:
    """A run of this patient, or of the whole cohort, that the page should still speak of."""
    runs = InferenceRun.objects.filter(cohort=patient.cohort_id).select_related("bundle", "patient")
    own = runs.filter(patient=patient).order_by("-number").first()
    if own and own.state != JobState.SUCCEEDED:
        return own
    return runs.filter(patient=None).active().order_by("-number").first()


def _pseudo_mri(prediction: Prediction | None) -> PseudoMRI | None:
    return getattr(prediction, "pseudo_mri", None)


def _findings_are_newer(prediction: Prediction | None, patient: Patient) -> bool:
    """Whether the page shows findings that the answer does not know."""
    if prediction is None or not patient.recorded_ats:
        return False
    return prediction.run.requested_at < patient.recorded_ats[0]


def _grouped(concepts: Iterable[Concept]) -> list[Group]:
    order = {concept: place for place, concept in enumerate(dictionary())}
    ordered = sorted(concepts, key=lambda concept: (concept.group, order[concept.id]))
    groups = [Group(n, list(e)) for n, e in groupby(ordered, key=lambda concept: concept.group)]
    return sorted(groups, key=lambda group: order[group.entries[0].id])
