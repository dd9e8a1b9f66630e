"""What a user can try on a record without changing it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms

from apps.inference.models import WhatIf
from apps.inference.templatetags.estimates import finding_value, unit_words
from apps.patients.templatetags.numbers import number
from ml.concepts import Concept, Kind, dictionary

TAKE_AWAY = "none"


@dataclass(frozen=True, slots=True)
class Change:
    """One finding as it would be; `value` None takes it away."""

    concept: Concept
    value: float | None

    @property
    def token(self) -> str:
        """How a form keeps it."""
        return f"{self.concept.id}:{TAKE_AWAY if self.value is None else self.value}"

    @property
    def words(self) -> str:
        return "not known" if self.value is None else finding_value(self.value, self.concept)


class WhatIfForm(forms.Form):
    """A finding and a value to try, beside those that are tried already.

    Args:
        data: what was posted.
        inputs: concepts that the model reads.
    """

    concept = forms.CharField()
    value = forms.CharField(max_length=40, required=False)
    with_volumes = forms.BooleanField(required=False)

    def __init__(self, data: Mapping[str, Any] | None, *, inputs: Sequence[str]) -> None:
        super().__init__(data)
        self._inputs = frozenset(inputs)

    def clean_concept(self) -> Concept:
        return concept_of(self.cleaned_data["concept"], self._inputs)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        concept = cleaned.get("concept")
        if concept is not None:
            kept = self.kept()
            change = Change(concept, self._value(concept, cleaned.get("value", "")))
            cleaned["changes"] = [c for c in kept if c.concept != concept] + [change]
            if len(cleaned["changes"]) > WhatIf.MOST_CHANGES:
                self.add_error(
                    None,
                    f"At most {WhatIf.MOST_CHANGES} findings can be changed at once. Start over.",
                )
        return cleaned

    def kept(self) -> list[Change]:
        """Changes of the tries before; what was tampered with is left out."""
        tokens = self.data.getlist("kept") if hasattr(self.data, "getlist") else []
        found: dict[str, Change] = {}
        for token in tokens[: WhatIf.MOST_CHANGES]:
            name, _, text = token.partition(":")
            try:
                concept = concept_of(name, self._inputs)
                value = None if text == TAKE_AWAY else value_of(concept, text)
            except forms.ValidationError:
                continue
            found[name] = Change(concept, value)
        return list(found.values())

    def _value(self, concept: Concept, text: str) -> float | None:
        if text == TAKE_AWAY:
            return None
        try:
            return value_of(concept, text)
        except forms.ValidationError as error:
            self.add_error("value", error)
            return None


def concept_of(name: str, inputs: frozenset[str]) -> Concept:
    """An input of the model.

    Raises:
        ValidationError: it is none.
    """
    if name not in inputs or name not in dictionary():
        raise forms.ValidationError("Choose a finding of the list: the model reads no other.")
    return dictionary()[name]


def value_of(concept: Concept, text: str) -> float:
    """A number within the plausible range of a concept, a whole one where it has levels.

    Raises:
        ValidationError: it is not.
    """
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        raise forms.ValidationError(
            f"{concept.label} is given as a number. You gave “{text[:20]}”."
            if text.strip()
            else f"Give a value for {concept.label}."
        ) from None
    low, high = number(concept.low, digits=3), number(concept.high, digits=3)
    if not concept.low <= value <= concept.high:
        raise forms.ValidationError(
            f"{concept.label} must lie between {low} and {high} {unit_words(concept.unit)}".rstrip()
            + f". You gave {text.strip()[:20]}."
        )
    if concept.kind is not Kind.CONTINUOUS and value != int(value):
        raise forms.ValidationError(f"{concept.label} is a whole number from {low} to {high}.")
    return value


def choices_of(concept: Concept) -> list[tuple[str, str]]:
    """Values to choose from; empty where a number is typed."""
    if concept.levels:
        return [(str(level), label) for level, label in concept.levels.items()]
    if concept.kind is Kind.BINARY:
        return [("0", "no"), ("1", "yes")]
    if concept.kind is Kind.PRESENCE:
        return [("1", "recorded")]
    return []
