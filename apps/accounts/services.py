"""Every write to accounts starts here."""

from datetime import datetime

from apps.accounts.models import FailedSignIn, User
from apps.accounts.selectors import WINDOW, sign_in_keys


def record_failed_sign_in(*, username: str, address: str, now: datetime) -> None:
    """Count one failure, and forget those too old to matter."""
    FailedSignIn.objects.filter(failed_at__lt=now - WINDOW).delete()
    keys = sign_in_keys(username=username, address=address).values()
    FailedSignIn.objects.bulk_create([FailedSignIn(key=key, failed_at=now) for key in keys])


def forget_failed_sign_ins(*, username: str, address: str) -> None:
    """After a success the name starts afresh from this address."""
    keys = sign_in_keys(username=username, address=address)
    FailedSignIn.objects.filter(key=keys["name and address"]).delete()


def create_user(
    *, username: str, password: str | None, role: User.Role, full_name: str = ""
) -> User:
    """An account with a role; without a password nobody can sign in with it."""
    first, _, last = full_name.partition(" ")
    return User.objects.create_user(
        username=username, password=password, role=role, first_name=first, last_name=last
    )
