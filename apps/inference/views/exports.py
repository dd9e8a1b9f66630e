"""A cohort as a file: what was imported and, if asked for, what MIRAGE answered."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from apps.accounts.requests import SignedInRequest
from apps.inference.models import Prediction
from apps.patients import exporting
from apps.patients.models import Cohort

WHAT_IT_IS = "MIRAGE research result, not a diagnosis"
HEADERS = [
    f"{WHAT_IT_IS}: {name}"
    for name in (
        "answer",
        "probability of AD",
        "95 % interval from",
        "95 % interval to",
        "model",
        "model sha256",
        "answered at",
    )
]


class ExportForm(forms.Form):
    """What the file is to hold."""

    rows = forms.ChoiceField(
        choices=[
            ("newest", "One row per patient: the newest value of each concept"),
            ("visits", "One row per visit: every value, with its moved date"),
        ],
        initial="newest",
        widget=forms.RadioSelect,
    )
    predictions = forms.BooleanField(required=False)


@require_safe
def export(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """What the file will hold, and the choice."""
    cohort = _editable(request, cohort_id)
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "patients": cohort.patients.count(),
        "answered": Prediction.objects.filter(patient__cohort=cohort).newest().count(),
    }
    return render(request, "inference/export.html", context)


@require_safe
def export_file(request: SignedInRequest, cohort_id: UUID) -> HttpResponseBase:
    """The file, while it is being read from the database."""
    cohort = _editable(request, cohort_id)
    form = ExportForm(request.GET)
    wanted = form.cleaned_data if form.is_valid() else {"rows": "newest", "predictions": False}
    response = StreamingHttpResponse(
        exporting.chunks(
            cohort=cohort,
            as_known_at=timezone.now(),
            every_visit=wanted["rows"] == "visits",
            more=exporting.Columns(HEADERS, _answers) if wanted["predictions"] else None,
        ),
        content_type="text/csv; charset=utf-8",
    )
    response["Content-Disposition"] = 'attachment; filename="mirage-cohort-research-only.csv"'
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _answers(patients: Sequence[UUID]) -> Mapping[UUID, Sequence[str]]:
    newest = Prediction.objects.filter(patient__in=patients).newest().select_related("run__bundle")
    return {
        prediction.patient_id: [
            prediction.get_answer_display(),
            *(
                "" if value is None else f"{value:.4f}"
                for value in (prediction.probability, prediction.low, prediction.high)
            ),
            f"{prediction.run.bundle.name} {prediction.run.bundle.version}",
            prediction.run.bundle.fingerprint,
            prediction.created_at.isoformat(timespec="seconds"),
        ]
        for prediction in newest
    }


def _editable(request: SignedInRequest, cohort_id: UUID) -> Cohort:
    """The cohort, for those who may change it: a viewer looks, and takes nothing away."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    if not Cohort.objects.editable_by(request.user).filter(pk=cohort.pk).exists():
        raise PermissionDenied
    return cohort
