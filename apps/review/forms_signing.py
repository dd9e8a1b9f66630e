"""Forms of acts that are signed."""

from typing import Any

from django import forms

from apps.accounts.signing import LONGEST_REASON


class SigningForm(forms.Form):
    """Reason and password; what they are worth is for `signing.sign` to say."""

    reason = forms.CharField(
        label="Reason",
        label_suffix="",
        help_text="Kept in the log beside your name.",
        required=False,  # `sign` refuses an empty one, in the same words everywhere
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs={"class": "input", "rows": 2}),
    )
    password = forms.CharField(
        label="Your password",
        label_suffix="",
        help_text="It is your signature.",
        required=False,
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"class": "input", "autocomplete": "current-password"}),
    )


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
