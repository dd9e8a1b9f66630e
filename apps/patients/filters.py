"""Filters of a list of patients that findings and imports answer."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import django_filters
from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format

from apps.patients.importing.stages import Stage
from apps.patients.models import Cohort, EhrImport, Patient

MOST_PSEUDONYMS = 50
_PSEUDONYM = re.compile(r"(?:p-?)?0*([1-9]\d{0,8})", re.IGNORECASE)
NOT_GIVEN = "none"
SEXES = [("f", "F"), ("m", "M"), (NOT_GIVEN, "Not given")]


class PseudonymsField(forms.CharField):
    """Pseudonyms, and nothing that could be a name: what is typed may end in a browser's history.

    Names and record numbers are not stored, so there would be nothing to find by them.
    """

    def clean(self, value: Any) -> list[int]:
        words = re.split(r"[\s,;]+", str(value or "").strip())
        found = [_PSEUDONYM.fullmatch(word) for word in words if word]
        if not all(found):
            raise forms.ValidationError(
                "Patients are found by pseudonym alone, such as P-0412. Names and record numbers "
                "are not stored here."
            )
        if len(found) > MOST_PSEUDONYMS:
            raise forms.ValidationError(
                f"At most {MOST_PSEUDONYMS} pseudonyms at once. You gave {len(found)}."
            )
        return [int(match[1]) for match in found if match]


class PseudonymsFilter(django_filters.Filter):  # type: ignore[misc]  # it has no types
    """One or several pseudonyms."""

    field_class = PseudonymsField

    def filter(self, qs: QuerySet[Patient], value: list[int]) -> QuerySet[Patient]:
        return qs.filter(number__in=value) if value else qs


class AgeFilter(django_filters.Filter):  # type: ignore[misc]  # as above
    """Whole years."""

    field_class = forms.IntegerField


class PatientFilterForm(forms.Form):
    """The fields together."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"label_suffix": ""})
        for field in self.fields.values():
            is_choice = isinstance(field.widget, forms.Select)
            field.widget.attrs |= {"class": "select" if is_choice else "input"}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        low, high = cleaned.get("age_from"), cleaned.get("age_to")
        if low is not None and high is not None and low > high:
            self.add_error(
                "age_to", f"The upper age must not be below the lower. You gave {low} to {high}."
            )
        return cleaned


class PatientFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    """By pseudonym, age, sex and import."""

    pseudonym = PseudonymsFilter(label="Pseudonym")
    age_from = AgeFilter(label="Age from", method="aged_from", min_value=0, max_value=120)
    age_to = AgeFilter(label="to", method="aged_to", min_value=0, max_value=120)
    sex = django_filters.ChoiceFilter(
        label="Sex", method="of_sex", choices=SEXES, empty_label="Any sex"
    )
    source = django_filters.ChoiceFilter(
        label="Import", method="of_import", choices=[], empty_label="Any import"
    )

    class Meta:
        model = Patient
        fields: list[str] = []
        form = PatientFilterForm

    def __init__(
        self, data: Mapping[str, Any] | None, *, queryset: QuerySet[Patient], cohort: Cohort
    ) -> None:
        super().__init__(data, queryset=queryset)
        imports = cohort.imports.filter(stage=Stage.COMMITTED).order_by("-committed_at")
        self.filters["source"].extra["choices"] = [(str(i.pk), _words(i)) for i in imports[:100]]

    @property
    def is_used(self) -> bool:
        """Whether anything is filtered by."""
        return any(value not in ("", None, []) for value in self.form.cleaned_data.values())

    def query(self) -> str:
        """What is filtered by as the part of an address, in one spelling."""
        cleaned = self.form.cleaned_data
        given = {
            name: " ".join(f"P-{n:04d}" for n in value) if name == "pseudonym" else str(value)
            for name, value in cleaned.items()
            if value not in ("", None, [])
        }
        return urlencode(given)

    def aged_from(self, qs: QuerySet[Patient], _: str, value: int) -> QuerySet[Patient]:
        return qs.filter(age_years__gte=value - 0.5)  # ages are shown rounded

    def aged_to(self, qs: QuerySet[Patient], _: str, value: int) -> QuerySet[Patient]:
        return qs.filter(age_years__lt=value + 0.5)

    def of_sex(self, qs: QuerySet[Patient], _: str, value: str) -> QuerySet[Patient]:
        if value == NOT_GIVEN:
            return qs.filter(female=None)
        return qs.filter(female=1.0 if value == "f" else 0.0)

    def of_import(self, qs: QuerySet[Patient], _: str, value: str) -> QuerySet[Patient]:
        committed_at = EhrImport.objects.values_list("committed_at", flat=True).get(pk=value)
        return qs.filter(recorded_ats__contains=[committed_at])


def _words(ehr_import: EhrImport) -> str:
    at = timezone.localtime(ehr_import.committed_at)
    return f"{date_format(at, 'j M Y, H:i')}, {ehr_import.file_name}"
