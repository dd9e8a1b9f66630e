"""Filters of a list of patients that their newest predictions answer."""

from collections.abc import Mapping
from typing import Any

import django_filters
from django.db.models import F, FilteredRelation, Q, QuerySet

from apps.inference.models import Prediction
from apps.inference.templatetags.estimates import ANSWER_WORDS
from apps.patients.filters import PatientFilter
from apps.patients.models import Cohort, Patient
from apps.registry.models import Bundle

RESULTS = [("current", "Current"), ("stale", "Stale"), ("none", "None yet")]


def with_newest_prediction(patients: QuerySet[Patient]) -> QuerySet[Patient]:
    """Patients with what lists ask of their newest prediction; those without one stay."""
    relation = FilteredRelation("predictions", condition=Q(predictions__is_newest=True))
    return patients.alias(
        newest=relation,
        newest_id=F("newest__id"),
        answer=F("newest__answer"),
        probability=F("newest__probability"),
        answered_at=F("newest__created_at"),
        asked_at=F("newest__run__requested_at"),
        answered_by=F("newest__run__bundle_id"),
    )


def is_stale(champion: Bundle | None) -> Q:
    """Whether the newest prediction was made by another model, or from older findings."""
    older = Q(asked_at__lt=F("recorded_ats__0"))
    return older if champion is None else older | ~Q(answered_by=champion.pk)


class AnsweredPatientFilter(PatientFilter):
    """By answer and by whether it is still the answer, too."""

    answer = django_filters.ChoiceFilter(
        label="Answer",
        field_name="answer",
        choices=[(answer.value, words) for answer, words in ANSWER_WORDS.items()],
        empty_label="Any answer",
    )
    result = django_filters.ChoiceFilter(
        label="Result", method="with_result", choices=RESULTS, empty_label="Any result"
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None,
        *,
        queryset: QuerySet[Patient],
        cohort: Cohort,
        champion: Bundle | None,
    ) -> None:
        super().__init__(data, queryset=queryset, cohort=cohort)
        self._champion = champion

    def filter_queryset(self, queryset: QuerySet[Patient]) -> QuerySet[Patient]:
        """Predictions are joined only where they are asked for: that is most of the time of it."""
        cleaned = self.form.cleaned_data
        if cleaned["answer"] or cleaned["result"]:
            queryset = with_newest_prediction(queryset)
        filtered: QuerySet[Patient] = super().filter_queryset(queryset)
        return filtered

    def with_result(self, qs: QuerySet[Patient], _: str, value: str) -> QuerySet[Patient]:
        if value == "none":
            return qs.filter(Q(newest_id__isnull=True))
        stale = is_stale(self._champion)
        return qs.filter(stale if value == "stale" else ~stale, Q(newest_id__isnull=False))


def staleness(prediction: Prediction | None, patient: Patient, champion: Bundle | None) -> str:
    """Why an answer is no longer the answer, as words after "Stale: "; empty if it still is."""
    if prediction is None:
        return ""
    if champion is not None and prediction.run.bundle_id != champion.pk:
        return f"made by model {prediction.run.bundle.version}"
    if patient.recorded_ats and prediction.run.requested_at < patient.recorded_ats[0]:
        return "findings came in since"
    return ""
