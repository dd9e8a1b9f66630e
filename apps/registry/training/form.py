"""The form of a training, made from the fields of `TrainingPlan`: one description of a choice."""

import inspect
import re
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from django import forms
from django.http import QueryDict

from apps.patients.models import Cohort
from apps.registry.models import TrainingRun
from apps.registry.training.outlook import FEWEST_PHANTOMS, MOST_PHANTOMS
from apps.registry.training.services import LONGEST_NOTE
from ml.config import PROFILES
from ml.training_plan import TrainingPlan

COHORTS, PHANTOMS = "cohorts", "phantoms"
LARGEST_NUMBER = 2**31 - 1
LONGEST_TEXT = 60
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")


def help_of(plan: type[TrainingPlan]) -> dict[str, str]:
    """Field to what the class says of it below `Attributes:`.

    >>> help_of(TrainingPlan)["name"]
    'Of the bundle.'
    """
    lines = inspect.cleandoc(plan.__doc__ or "").split("Attributes:\n", 1)[1].split("\n\n")[0]
    told: dict[str, str] = {}
    for line in lines.splitlines():
        begins = re.fullmatch(r"    (\w[\w, ]*): (.*)", line)
        if begins:
            last = begins[1]
            told[last] = begins[2]
        else:
            told[last] += f" {line.strip()}"
    return {
        name: text[0].upper() + text[1:]
        for names, text in told.items()
        for name in names.split(", ")
    }


def plan_fields() -> dict[str, forms.Field]:
    """A form field for each choice of a plan."""
    kinds, told = get_type_hints(TrainingPlan), help_of(TrainingPlan)
    return {
        each.name: _field(each, kinds[each.name], told[each.name]) for each in fields(TrainingPlan)
    }


def _field(choice: "Field[Any]", kind: Any, help_text: str) -> forms.Field:
    label = choice.name.replace("_", " ").capitalize()
    shared: dict[str, Any] = {"label": label, "help_text": help_text}
    if choice.default is not MISSING:
        shared["initial"] = choice.default
    if get_origin(kind) is Literal:
        return forms.ChoiceField(
            choices=[
                (value, _words(value)) for value in get_args(kind) if _is_known(choice, value)
            ],
            widget=forms.Select(attrs={"class": "select"}),
            **shared,
        )
    if kind is bool:
        return forms.BooleanField(required=False, **shared)
    if kind in {int, float}:
        number = forms.IntegerField if kind is int else forms.FloatField
        return number(
            min_value=0,
            max_value=LARGEST_NUMBER,
            widget=forms.NumberInput(
                attrs={"class": "input num", "step": "1" if kind is int else "any"}
            ),
            **shared,
        )
    if kind is str:
        return forms.CharField(
            max_length=LONGEST_TEXT,
            widget=forms.TextInput(attrs={"class": "input", "autocomplete": "off"}),
            **shared,
        )
    raise TypeError(f"No form field is known for {choice.name}, which is a {kind}.")


def _is_known(choice: "Field[Any]", value: str) -> bool:
    return choice.name != "profile" or value in PROFILES


def _words(value: str) -> str:
    if value in PROFILES:
        return f"{value}: {PROFILES[value].spacing_mm:g} mm voxels"
    return {"auto": "auto: what the training worker has", "cuda": "cuda: a GPU"}.get(value, value)


class TrainingForm(forms.Form):
    """People and plan of a training."""

    people = forms.ChoiceField(
        label="People",
        choices=[(COHORTS, "Cohorts of this site"), (PHANTOMS, "Invented people (phantoms)")],
        initial=COHORTS,
        widget=forms.RadioSelect,
    )
    cohorts = forms.ModelMultipleChoiceField(
        label="Cohorts", queryset=Cohort.objects.none(), required=False
    )
    phantoms = forms.IntegerField(
        label="How many invented people",
        required=False,
        initial=300,
        min_value=FEWEST_PHANTOMS,
        max_value=MOST_PHANTOMS,
        help_text=f"From {FEWEST_PHANTOMS} to {MOST_PHANTOMS:,}, drawn from the seed; their scans "
        "have the voxels of the profile.",
        widget=forms.NumberInput(attrs={"class": "input num"}),
    )
    note = forms.CharField(
        label="Note",
        required=False,
        max_length=LONGEST_NOTE,
        help_text="What it is for, for whoever reads the list. No names of patients or staff.",
        widget=forms.Textarea(attrs={"class": "input", "rows": 2}),
    )

    def __init__(self, data: QueryDict | None = None, *, like: TrainingRun | None = None) -> None:
        """A form, filled with the choices of another run if one is given."""
        super().__init__(data, label_suffix="")
        self.fields |= plan_fields()
        self.fields["cohorts"].queryset = Cohort.objects.filter(archived_at=None)  # type: ignore[attr-defined]
        if like is not None:
            self.initial = {
                **{name: value for name, value in like.plan.items() if name in self.fields},
                "people": COHORTS if like.phantoms is None else PHANTOMS,
                "cohorts": list(like.cohorts.values_list("pk", flat=True)),
                "phantoms": like.phantoms or self.fields["phantoms"].initial,
                "note": like.note,
            }

    @property
    def plan_choices(self) -> list[forms.BoundField]:
        """The bound fields of the plan, in its order."""
        return [self[each.name] for each in fields(TrainingPlan)]

    def clean_name(self) -> str:
        """The name of a bundle is also that of a file when it is exported."""
        name: str = self.cleaned_data["name"]
        if not NAME.fullmatch(name):
            raise forms.ValidationError(
                "The name may have letters, digits, spaces, dots, hyphens and underscores, and "
                "begins with a letter or a digit."
            )
        return name

    def clean(self) -> dict[str, Any]:
        """Invented people need a number."""
        found = super().clean() or {}
        invented = found.get("people") == PHANTOMS
        if invented and found.get("phantoms") is None and "phantoms" not in self.errors:
            self.add_error("phantoms", "How many invented people? Give a number.")
        return found

    def chosen(self) -> dict[str, Any]:
        """Plan and people, as services ask for them; of a valid form."""
        values = self.cleaned_data
        invented = values["people"] == PHANTOMS
        return {
            "plan": TrainingPlan(**{each.name: values[each.name] for each in fields(TrainingPlan)}),
            "cohorts": [] if invented else list(values["cohorts"]),
            "phantoms": values["phantoms"] if invented else None,
        }
