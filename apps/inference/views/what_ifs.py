"""What if a finding were another: asked on the page, answered by a worker, not kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.inference import services
from apps.inference.forms import TAKE_AWAY, Change, WhatIfForm, choices_of, concept_of
from apps.inference.models import Prediction, WhatIf
from apps.inference.results import newest_prediction
from apps.inference.services import NO_NUMBER, WHAT_IF_KEPT
from apps.inference.templatetags.estimates import unit_words
from apps.inference.volumes import moved_volumes
from apps.jobs.selectors import unserved_queues
from apps.patients.models import Cohort, Finding, Patient
from ml.concepts import Concept, dictionary

PLACE = "#what-if"
NOTHING_TRIED: Mapping[str, float | None] = {}


@dataclass(frozen=True, slots=True)
class Control:
    """The field for the value of one concept.

    Attributes:
        current: what the record holds; empty if nothing.
        shown: what the field holds: what was tried last, else `current`.
    """

    concept: Concept
    unit: str
    choices: Sequence[tuple[str, str]]
    current: str
    shown: str


@dataclass(frozen=True, slots=True)
class Tried:
    """A what-if with its changes in words."""

    job: WhatIf
    changes: Sequence[Change]
    waits: bool


@require_POST
def request_what_if(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """Try a value; what was tried before stays in the try."""
    patient = _patient(request, patient_id)
    if not Cohort.objects.editable_by(request.user).filter(pk=patient.cohort_id).exists():
        raise PermissionDenied
    prediction = newest_prediction(patient)
    if prediction is None:
        raise Http404
    form = WhatIfForm(request.POST, inputs=prediction.run.bundle.card["schema"])
    errors: list[str] = []
    if form.is_valid():
        try:
            services.request_what_if(
                prediction=prediction,
                changes={c.concept.id: c.value for c in form.cleaned_data["changes"]},
                with_volumes=form.cleaned_data["with_volumes"],
                requested_by=request.user,
                now=timezone.now(),
            )
        except MirageError as error:
            errors = [str(error)]
    else:
        errors = [str(each) for found in form.errors.values() for each in found]
    if not request.headers.get("HX-Request"):
        for words in errors:
            messages.error(request, words)
        return redirect(f"{patient.get_absolute_url()}{PLACE}")
    context = what_if_context(request, prediction, request.POST.get("concept", "")) | {
        "patient": patient,
        "prediction": prediction,
        "may_edit": True,
        "what_if_errors": errors,
    }
    return render(request, "inference/partials/what_if.html", context)


@require_safe
def what_if_field(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """The field for the value of the concept that was chosen."""
    prediction = newest_prediction(_patient(request, patient_id))
    if prediction is None:
        raise Http404
    try:
        first = prediction.run.bundle.card["schema"][0]
        control = control_of(prediction, request.GET.get("concept") or first)
    except forms.ValidationError as error:
        raise Http404 from error
    return render(request, "inference/partials/what_if_field.html", {"control": control})


@require_safe
def what_if(request: SignedInRequest, what_if_id: UUID) -> HttpResponse:
    """The result of a try, for polling; a browser by itself is sent to the page."""
    visible = WhatIf.objects.visible_to(request.user)
    found = get_object_or_404(
        visible.select_related("prediction__patient", "prediction__run__bundle"), pk=what_if_id
    )
    patient = found.prediction.patient
    if not request.headers.get("HX-Request"):
        return redirect(f"{patient.get_absolute_url()}{PLACE}")
    context = {"tried": _tried(found), "prediction": found.prediction} | _volumes(found)
    response = render(request, "inference/partials/what_if_result.html", context)
    if found.is_final:
        response.status_code = HttpResponseStopPolling.status_code
    return response


def what_if_context(
    request: SignedInRequest, prediction: Prediction, concept: str = ""
) -> dict[str, object]:
    """The form and the user's newest try, for the page of a patient."""
    if prediction.answer in NO_NUMBER:
        return {}
    since = timezone.now() - WHAT_IF_KEPT
    is_fresh = request.GET.get("what-if") == "none"
    job = (
        None
        if is_fresh
        else (
            WhatIf.objects.filter(
                prediction=prediction, requested_by=request.user, requested_at__gte=since
            )
            .order_by("-requested_at")
            .first()
        )
    )
    inputs = [name for name in prediction.run.bundle.card["schema"] if name in dictionary()]
    groups: dict[str, list[Concept]] = {}
    for name in inputs:
        groups.setdefault(dictionary()[name].group, []).append(dictionary()[name])
    chosen = concept if concept in inputs else inputs[0]
    return {
        "what_if_groups": groups,
        "control": control_of(prediction, chosen, job.changes if job else NOTHING_TRIED),
        "tried": _tried(job) if job else None,
    } | (_volumes(job) if job else {})


def control_of(
    prediction: Prediction, name: str, tried: Mapping[str, float | None] = NOTHING_TRIED
) -> Control:
    """The field of a concept, with what the record holds and what was tried.

    Raises:
        ValidationError: the model does not read it.
    """
    concept = concept_of(name, frozenset(prediction.run.bundle.card["schema"]))
    newest = (
        Finding.objects.filter(
            patient=prediction.patient_id,
            concept=name,
            recorded_at__lte=prediction.run.requested_at,
        )
        .newest()
        .values_list("value", flat=True)
        .first()
    )
    current = "" if newest is None else f"{newest:.10g}"
    shown = current or TAKE_AWAY
    if name in tried:
        value = tried[name]
        shown = TAKE_AWAY if value is None else f"{value:.10g}"
    choices = choices_of(concept)
    return Control(
        concept=concept,
        unit=unit_words(concept.unit),
        choices=choices,
        current=dict(choices).get(current, current),
        shown="" if shown == TAKE_AWAY and not choices else shown,
    )


def _tried(job: WhatIf) -> Tried:
    changes: Mapping[str, float | None] = job.changes
    known = dictionary()
    return Tried(
        job=job,
        changes=[Change(known[name], value) for name, value in changes.items() if name in known],
        waits=not job.is_final and job.queue_name in unserved_queues(),
    )


def _volumes(job: WhatIf) -> dict[str, object]:
    before = getattr(job.prediction, "pseudo_mri", None)
    return {"moved": moved_volumes(before.volumes_ml if before else {}, job.volumes_ml)}


def _patient(request: SignedInRequest, patient_id: UUID) -> Patient:
    return get_object_or_404(
        Patient.objects.visible_to(request.user).select_related("cohort"), pk=patient_id
    )
