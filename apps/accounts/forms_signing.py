"""The form of every act that is signed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from django import forms
from django.utils import timezone

from apps.accounts.requests import SignedInRequest
from apps.accounts.signing import LONGEST_REASON, Signature, SignatureError, sign
from apps.errors import MirageError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Act:
    """What is about to be signed, in words."""

    title: str
    button: str
    nothing: str
    consequences: tuple[str, ...]


class SigningForm(forms.Form):
    """Reason and password; what they are worth is for `signing.sign` to say."""

    reason = forms.CharField(
        label="Reason",
        label_suffix="",
        help_text="Kept with the act, beside who signed it.",
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

    def done(self, request: SignedInRequest, do: Callable[[Signature], T]) -> T | None:
        """What an act gives that is done with a signature; None if it was not done.

        Why it was not stands in the form's errors, if it was sent at all.
        """
        if request.method != "POST" or not self.is_valid():
            return None
        try:
            signature = sign(
                user=request.user,
                password=self.cleaned_data["password"],
                reason=self.cleaned_data["reason"],
                address=request.META.get("REMOTE_ADDR", ""),
                now=timezone.now(),
            )
            return do(signature)
        except SignatureError as error:
            self.add_error(error.field, str(error))
        except MirageError as error:
            self.add_error(None, str(error))
        return None
