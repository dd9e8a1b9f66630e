"""Forms of the registry's pages."""

from typing import Any

from django import forms

from apps.accounts.forms_signing import SigningForm
from apps.accounts.models import User
from apps.accounts.signing import LONGEST_REASON
from apps.patients.models import Cohort
from apps.registry.gates.holdouts import frozen_holdouts
from apps.registry.gates.services import FEWEST_PHANTOMS, MOST_PHANTOMS, SPACINGS_MM
from apps.registry.models import Bundle, GateCheck, Holdout

AREA = {"class": "input", "rows": 2}


class NoteForm(forms.Form):
    """A note on a version."""

    text = forms.CharField(
        label="Add a note",
        label_suffix="",
        help_text="Kept beside your role and the time. Notes are never changed.",
        max_length=2000,
        error_messages={"required": "The note is empty. Write something."},
        widget=forms.Textarea(attrs=AREA),
    )


class ImportForm(forms.Form):
    """A bundle as one file."""

    file = forms.FileField(
        label="Bundle",
        label_suffix="",
        help_text="A .zip with card.json and the safetensors files that it names, as Download "
        "gives it. It is checked before anything of it is read, and put in use by nobody.",
        error_messages={"required": "Choose a file."},
        widget=forms.FileInput(attrs={"class": "input", "accept": ".zip"}),
    )


class HoldoutForm(forms.Form):
    """People to set aside: of cohorts, or invented."""

    name = forms.CharField(
        label="Name",
        label_suffix="",
        max_length=100,
        error_messages={"required": "Give the holdout a name."},
        widget=forms.TextInput(attrs={"class": "input", "autocomplete": "off"}),
    )
    cohorts = forms.ModelMultipleChoiceField(
        label="Cohorts",
        label_suffix="",
        required=False,
        queryset=Cohort.objects.none(),
        help_text="All their people with a diagnosis of AD or CN, or a scan. No training sees "
        "them from then on.",
        widget=forms.CheckboxSelectMultiple,
    )
    phantoms = forms.IntegerField(
        label="Or invented people",
        label_suffix="",
        required=False,
        min_value=FEWEST_PHANTOMS,
        max_value=MOST_PHANTOMS,
        help_text=f"{FEWEST_PHANTOMS} to {MOST_PHANTOMS:,}. Phantoms whom no training invents, "
        "whatever its seed.",
        widget=forms.NumberInput(attrs={"class": "input"}),
    )
    seed = forms.IntegerField(
        label="Seed of the invented people",
        label_suffix="",
        min_value=0,
        max_value=2**31 - 1,
        initial=1,
        widget=forms.NumberInput(attrs={"class": "input"}),
    )
    spacing_mm = forms.TypedChoiceField(
        label="Voxels of their scans",
        label_suffix="",
        coerce=float,
        choices=[(each, f"{each:g} mm") for each in SPACINGS_MM],
        initial=SPACINGS_MM[0],
        widget=forms.Select(attrs={"class": "select"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["cohorts"]
        field.queryset = Cohort.objects.visible_to(user).order_by("name")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if bool(cleaned.get("cohorts")) == (cleaned.get("phantoms") is not None) and not (
            self.errors
        ):
            self.add_error(
                "phantoms", "Choose cohorts, or say how many people to invent: one of the two."
            )
        return cleaned


class GateCheckForm(forms.Form):
    """On whom a candidate is judged."""

    holdout = forms.ModelChoiceField(
        label="Holdout",
        label_suffix="",
        queryset=Holdout.objects.none(),
        empty_label=None,
        error_messages={"required": "Choose a holdout."},
        widget=forms.Select(attrs={"class": "select"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["holdout"]
        field.queryset = Holdout.objects.filter(pk__in=[each.pk for each in frozen_holdouts()])


class EvaluationForm(GateCheckForm):
    """On whom a version is evaluated; it stands beside the form of the gates."""

    is_quick = forms.BooleanField(
        label="Quick: beside logistic regression alone, with few pictures and explanations",
        label_suffix="",
        required=False,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, auto_id="evaluate_%s", **kwargs)
        self.fields["holdout"].label = "Evaluate on"


class PromotionForm(SigningForm):
    """Signature, with what stood on the page: the check, and the answer to failed gates."""

    check = forms.ModelChoiceField(
        queryset=GateCheck.objects.none(), required=False, widget=forms.HiddenInput
    )
    despite = forms.CharField(
        label="Why it may answer although gates failed",
        label_suffix="",
        help_text="Kept with the reason, word for word, beside the failed gates.",
        required=False,
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs=AREA),
    )

    field_order = ("check", "despite", "reason", "password")

    def __init__(self, *args: Any, candidate: Bundle, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["check"]
        field.queryset = GateCheck.objects.filter(candidate=candidate)


class RollBackForm(SigningForm):
    """Signature, with the champion that stood on the page."""

    seen = forms.ModelChoiceField(
        queryset=Bundle.objects.all(), required=False, widget=forms.HiddenInput
    )
