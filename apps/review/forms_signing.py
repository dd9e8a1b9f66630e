"""The form of the one signed act of a study that asks for more than a signature."""

from typing import Any

from django import forms

from apps.accounts.forms_signing import SigningForm


class LockForm(SigningForm):
    """The same, and whether the study is locked in spite of missing readings."""

    missing = forms.IntegerField(min_value=0, widget=forms.HiddenInput)
    accepts = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        missing = cleaned.get("missing") or 0
        if missing and not cleaned.get("accepts"):
            self.add_error(
                "accepts",
                f"{missing:,} reading{' is' if missing == 1 else 's are'} missing. Tick that the "
                "study is to be locked without, or wait for the readers.",
            )
        return cleaned

    @property
    def missing_accepted(self) -> int:
        return int(self.cleaned_data["missing"]) if self.cleaned_data["accepts"] else 0
