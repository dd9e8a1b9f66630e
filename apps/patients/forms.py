from django import forms
from django.http import QueryDict

from apps.patients.models import Cohort, Membership


class CohortForm(forms.ModelForm[Cohort]):
    """Name and description of a cohort."""

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

    def __init__(self, data: QueryDict | None = None, instance: Cohort | None = None) -> None:
        super().__init__(data, label_suffix="", instance=instance)


class MemberForm(forms.Form):
    """A new member and their role."""

    username = forms.CharField(
        label="User name",
        max_length=150,
        help_text="As they type it when they sign in.",
        error_messages={"required": "Give the user name of the new member."},
        widget=forms.TextInput(attrs={"class": "input", "autocomplete": "off"}),
    )
    role = forms.ChoiceField(
        label="Role",
        choices=Membership.Role.choices,
        initial=Membership.Role.CLINICIAN,
        widget=forms.Select(attrs={"class": "select"}),
    )

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data, label_suffix="")


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.ChoiceField(choices=Membership.Role.choices)


class DeletionForm(forms.Form):
    """The name of what is to be deleted, typed."""

    typed = forms.CharField(
        required=False,  # the service says what to type, whatever was
        max_length=200,
        widget=forms.TextInput(
            attrs={"class": "input", "autocomplete": "off", "spellcheck": "false"}
        ),
    )

    def __init__(self, data: QueryDict | None = None, *, name: str) -> None:
        super().__init__(data, label_suffix="")
        self.fields["typed"].label = f"Type {name} to confirm"
