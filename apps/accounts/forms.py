from datetime import timedelta
from math import ceil
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.utils import timezone

from apps.accounts.selectors import sign_in_wait


class SignInForm(AuthenticationForm):
    """Name and password, and how long to wait after too many failures."""

    error_messages = {
        "invalid_login": "User name and password do not match an account. Mind upper and lower "
        "case.",
        "inactive": "User name and password do not match an account. Mind upper and lower case.",
    }

    username = forms.CharField(
        label="User name",
        label_suffix="",
        max_length=150,
        widget=forms.TextInput(
            attrs={"class": "input", "autocomplete": "username", "autocapitalize": "none"}
        ),
    )
    password = forms.CharField(
        label="Password",
        label_suffix="",
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"class": "input", "autocomplete": "current-password"}),
    )

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username") or ""
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        wait = sign_in_wait(username=username, address=address, now=timezone.now())
        if wait:
            minutes = ceil(wait / timedelta(minutes=1))
            raise forms.ValidationError(
                f"There were too many failed attempts. Wait {minutes} "
                f"minute{'' if minutes == 1 else 's'}, then try again."
            )
        return super().clean()
