"""The page of a cohort: its patients with their newest answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Floor, Least
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from apps.accounts.requests import SignedInRequest
from apps.inference.models import InferenceRun, Prediction
from apps.inference.views.runs import line_of
from apps.jobs.models import JobState
from apps.patients.models import Cohort, Finding, Patient
from apps.registry.selectors import champion, inputs_of
from ml.records import Answer

PATIENTS_PER_PAGE = 25
BINS = 20
AGE, FEMALE = "age", "female"


@dataclass(frozen=True, slots=True)
class Order:
    """One way to sort the patients, and its opposite."""

    title: str
    field: str


ORDERS = {
    "patient": Order("Patient", "number"),
    "value": Order("Value (95 % interval)", "probability"),
    "result": Order("Result", "answered_at"),
}
FIRST_ORDER = "patient"


@dataclass(frozen=True, slots=True)
class Row:
    """A patient in the table."""

    patient: Patient
    prediction: Prediction | None
    age_years: float | None
    female: float | None
    missing: int


@require_safe
def cohort(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Runs under way, answers so far, and the patients page by page."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    order = request.GET.get("order", "")
    if order.removeprefix("-") not in ORDERS:
        order = FIRST_ORDER
    page = Paginator(_sorted(cohort, order), PATIENTS_PER_PAGE).get_page(request.GET.get("page"))
    model = champion()
    inputs = inputs_of(model)
    return render(
        request,
        "inference/cohort.html",
        {
            "section": "cohorts",
            "cohort": cohort,
            "may_edit": Cohort.objects.editable_by(request.user).filter(pk=cohort.pk).exists(),
            "role": cohort.memberships.get(user=request.user).get_role_display(),
            "last_upload": cohort.uploads.first(),
            "run_line": line_of(_newest_run(cohort)),
            "champion": model,
            "base_rate": model.card["base_rate"] if model else None,
            "schema_size": len(inputs),
            "rows": _rows(page, inputs),
            "page": page,
            "page_numbers": page.paginator.get_elided_page_range(page.number),
            "base_query": f"order={order}&" if order != FIRST_ORDER else "",
            "order": order,
            "orders": ORDERS,
            **_answers(cohort),
        },
    )


def _newest_run(cohort: Cohort) -> InferenceRun | None:
    """The cohort's newest run that its page should still speak of."""
    newest = cohort.runs.select_related("bundle", "patient").order_by("-number").first()
    return newest if newest and newest.state != JobState.SUCCEEDED else None


def _sorted(cohort: Cohort, order: str) -> QuerySet[Patient]:
    newest = Prediction.objects.filter(patient=OuterRef("pk")).order_by("-created_at", "-pk")
    field = F(ORDERS[order.removeprefix("-")].field)
    ordering = field.desc(nulls_last=True) if order.startswith("-") else field.asc(nulls_last=True)
    return (
        Patient.objects.filter(cohort=cohort)
        .annotate(
            probability=Subquery(newest.values("probability")[:1]),
            answered_at=Subquery(newest.values("created_at")[:1]),
        )
        .order_by(ordering, "number")  # the number makes the pages stable
    )


def _rows(page: "Page[Patient]", inputs: Sequence[str]) -> list[Row]:
    """What the page shows of its patients, in a number of queries that does not grow with them."""
    patients = list(page.object_list)
    newest = Prediction.objects.filter(patient__in=patients).newest()
    predictions = {
        prediction.patient_id: prediction
        for prediction in newest.select_related("run__bundle", "pseudo_mri")
    }
    person = {
        (finding.patient_id, finding.concept): finding.value
        for finding in Finding.objects.filter(
            patient__in=patients, concept__in=[AGE, FEMALE]
        ).newest()
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
            age_years=person.get((patient.pk, AGE)),
            female=person.get((patient.pk, FEMALE)),
            missing=len(inputs) - given.get(patient.pk, 0),
        )
        for patient in patients
    ]


def _answers(cohort: Cohort) -> dict[str, object]:
    """How the newest answers of the cohort are distributed."""
    newest = Prediction.objects.filter(patient__cohort=cohort).newest()
    counted = Prediction.objects.filter(pk__in=newest.values("pk")).order_by()
    counts = dict(counted.values("answer").annotate(n=Count("pk")).values_list("answer", "n"))
    bins = dict(
        counted.filter(probability__isnull=False)
        .annotate(bin=Least(Floor(F("probability") * BINS), float(BINS - 1)))
        .values("bin")
        .annotate(n=Count("pk"))
        .values_list("bin", "n")
    )
    most, answered = max(counts.values(), default=0), sum(counts.values())
    heights = [bins.get(place, 0) for place in range(BINS)]
    return {
        "answered": answered,
        "numbered": sum(heights),
        "answers": [
            {
                "answer": answer,
                "n": counts.get(answer, 0),
                "share": counts.get(answer, 0) / max(answered, 1),
                "of_most": counts.get(answer, 0) / max(most, 1),
            }
            for answer in Answer
        ],
        "histogram": heights if any(heights) else None,
    }
