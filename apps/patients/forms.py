from django import forms
from django.http import QueryDict

from apps.patients.models import Cohort


class CohortForm(forms.ModelForm[Cohort]):
    """Name and description of a new cohort."""

    class Meta:
        model = Cohort
        fields = ("name", "description")
        widgets = {
            "name": forms.TextInput(attrs={"class": "input", "autocomplete": "off"}),
            "description": forms.Textarea(attrs={"class": "input", "rows": 3}),
        }
        help_texts = {
            "name": "At most 100 characters. No names of patients or staff.",
            "description": "For the members of the cohort. May be left empty.",
        }
        error_messages = {
            "name": {
                "required": "The cohort needs a name.",
                "max_length": "A name may have at most %(limit_value)d characters. "
                "You gave %(show_value)d.",
            },
        }

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data, label_suffix="")
