"""Signing in with a password, slowed down for those who guess."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils import timezone

from apps.accounts import selectors, services
from apps.accounts.models import User


class ThrottledBackend(ModelBackend):
    """Django's backend behind a count of failures by name and by address.

    Too many failures close the door for a while, whether the account exists or not. An unknown
    name costs the same time as a wrong password, because Django hashes in both cases.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        if username is None or password is None:
            return None
        address = request.META.get("REMOTE_ADDR", "") if request else ""
        now = timezone.now()
        if selectors.sign_in_wait(username=username, address=address, now=now):
            raise PermissionDenied  # the password is not even looked at
        user = super().authenticate(request, username=username, password=password, **kwargs)
        if user is None:
            services.record_failed_sign_in(username=username, address=address, now=now)
            return None
        services.forget_failed_sign_ins(username=username, address=address)
        return user
