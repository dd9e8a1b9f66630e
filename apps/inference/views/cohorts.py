"""The page of a cohort: its patients with their newest answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.paginator import Page
from django.db.models import Case, Count, F, QuerySet, When
from django.db.models.functions import Floor, Least
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts.requests import SignedInRequest
from apps.inference.filters import AnsweredPatientFilter, staleness, with_newest_prediction
from apps.inference.models import InferenceRun, Prediction
from apps.inference.paging import BothEndsPaginator
from apps.inference.performance import (
    CLASS_NEEDS,
    CURVE_NEEDS,
    GROUP_NEEDS,
    performance_of,
)
from apps.inference.selectors import decodings_of
from apps.inference.services import MOST_DECODED_AT_ONCE
from apps.inference.views.runs import line_of
from apps.jobs.models import JobState
from apps.patients.models import Cohort, Finding, Patient
from apps.registry.models import Bundle
from apps.registry.selectors import champion, inputs_of
from ml.records import Answer

PATIENTS_PER_PAGE = 25
BINS = 20


@dataclass(frozen=True, slots=True)
class Order:
    """One way to sort the patients, and its opposite."""

    title: str
    field: str


ORDERS = {
    "patient": Order("Patient", "number"),
    "age": Order("Age, years", "age_years"),
    "value": Order("Value (95 % interval)", "probability"),
    "result": Order("Result", "answered_at"),
}
FIRST_ORDER = "patient"
OF_PREDICTIONS = {"probability", "answered_at"}


@dataclass(frozen=True, slots=True)
class Row:
    """A patient in the table."""

    patient: Patient
    prediction: Prediction | None
    missing: int
    stale: str


@require_http_methods(["GET", "HEAD", "POST"])
def cohort(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Runs under way, answers so far, and the patients page by page.

    The filter is posted and answered with a redirect to an address that holds what was understood:
    a name that somebody types into it reaches no address, no history and no log.
    """
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    data = request.POST if request.method == "POST" else request.GET
    order = data.get("order", "")
    if order.removeprefix("-") not in ORDERS:
        order = FIRST_ORDER
    model = champion()
    everybody = Patient.objects.filter(cohort=cohort)
    filters = AnsweredPatientFilter(data, queryset=everybody, cohort=cohort, champion=model)
    is_valid = filters.form.is_valid()
    query = filters.query() if is_valid else ""
    if request.method == "POST" and is_valid:
        return redirect(f"{cohort.get_absolute_url()}{_address(query, order)}#patients")
    patients = filters.qs if is_valid else everybody
    keys = _sorted(patients, order).values_list("pk", flat=True)
    paginator = BothEndsPaginator(keys, PATIENTS_PER_PAGE)
    paginator.__dict__["count"] = patients.count()  # without what only the order needs
    page = paginator.get_page(data.get("page"))
    total = everybody.count() if filters.is_used else paginator.count
    inputs = inputs_of(model)
    answers, decodings = _answers(cohort), decodings_of(cohort)
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "may_edit": Cohort.objects.editable_by(request.user).filter(pk=cohort.pk).exists(),
        "role": cohort.memberships.get(user=request.user).get_role_display(),
        "last_import": cohort.imports.exclude(committed_at=None).order_by("-committed_at").first(),
        "run_line": line_of(_newest_run(cohort)),
        "decoding": decodings.active,
        "can_decode": answers["numbered"] > decodings.asked,
        "most_decoded": MOST_DECODED_AT_ONCE,
        "champion": model,
        "base_rate": model.card["base_rate"] if model else None,
        "schema_size": len(inputs),
        "total": total,
        "filters": filters,
        "form": filters.form,
        "filter_query": f"{query}&" if query else "",
        "rows": _rows(page, inputs, model),
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(page.number),
        "base_query": f"{_address(query, order)[1:]}&" if _address(query, order) else "",
        "order": order,
        "orders": ORDERS,
        **answers,
    }
    status = 200 if is_valid else 422
    return render(request, "inference/cohort.html", context, status=status)


@require_safe
def performance(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """How the answers do where a diagnosis is recorded, and by group."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    model = champion()
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "champion": model,
        "performance": performance_of(cohort),
        "curve_needs": CURVE_NEEDS,
        "group_needs": GROUP_NEEDS,
        "class_needs": CLASS_NEEDS,
    }
    return render(request, "inference/performance.html", context)


def _address(query: str, order: str) -> str:
    parts = [query] if query else []
    if order != FIRST_ORDER:
        parts.append(f"order={order}")
    return f"?{'&'.join(parts)}" if parts else ""


def _newest_run(cohort: Cohort) -> InferenceRun | None:
    """The cohort's newest run that its page should still speak of."""
    newest = cohort.runs.select_related("bundle", "patient").order_by("-number").first()
    return newest if newest and newest.state != JobState.SUCCEEDED else None


def _sorted(patients: QuerySet[Patient], order: str) -> QuerySet[Patient]:
    name = ORDERS[order.removeprefix("-")].field
    if name in OF_PREDICTIONS:
        patients = with_newest_prediction(patients)
    field = F(name)
    ordering = field.desc(nulls_last=True) if order.startswith("-") else field.asc(nulls_last=True)
    return patients.order_by(ordering, "number")  # the number makes the pages stable


def _rows(page: Page[UUID], inputs: Sequence[str], model: Bundle | None) -> list[Row]:
    """What the page shows of its patients, in a number of queries that does not grow with them."""
    keys = list(page.object_list)  # sorted without the rest of the row, which takes half the time
    found = Patient.objects.in_bulk(keys)
    patients = [found[key] for key in keys if key in found]
    newest = Prediction.objects.filter(patient__in=patients).newest()
    predictions = {
        prediction.patient_id: prediction
        for prediction in newest.select_related("run__bundle", "pseudo_mri")
    }
    given = dict(
        Finding.objects.filter(patient__in=patients, concept__in=inputs)
        .order_by()
        .values("patient")
        .annotate(n=Count("concept", distinct=True))
        .values_list("patient", "n")
    )
    return [
        Row(
            patient=patient,
            prediction=predictions.get(patient.pk),
            missing=len(inputs) - given.get(patient.pk, 0),
            stale=staleness(predictions.get(patient.pk), patient, model),
        )
        for patient in patients
    ]


def _answers(cohort: Cohort) -> dict[str, Any]:
    """How the newest answers of the cohort are distributed, in one look at them."""
    last = float(BINS - 1)
    bin_ = Case(  # PostgreSQL's LEAST passes over NULL: no number would be the highest one
        When(probability__isnull=False, then=Least(Floor(F("probability") * BINS), last))
    )
    counted = (
        Prediction.objects.filter(run__in=cohort.runs.order_by().values("pk"))
        .newest()
        .order_by()
        .annotate(bin=bin_)
        .values("answer", "bin")
        .annotate(n=Count("*"))
        .values_list("answer", "bin", "n")
    )
    counts, heights = dict.fromkeys(Answer, 0), [0] * BINS
    for answer, place, n in counted:
        counts[Answer(answer)] += n
        if place is not None:
            heights[int(place)] += n
    most, answered = max(counts.values()), sum(counts.values())
    return {
        "answered": answered,
        "numbered": sum(heights),
        "answers": [
            {
                "answer": answer,
                "n": n,
                "share": n / max(answered, 1),
                "of_most": n / max(most, 1),
            }
            for answer, n in counts.items()
        ],
        "histogram": heights if any(heights) else None,
    }
