"""Signing: the password again and a reason, for acts that cannot be taken back."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from apps.accounts import selectors
from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.errors import MirageError

LONGEST_REASON = 1000  # characters


class SignatureError(MirageError):
    """The password or the reason does not do; the text says which. `field` names the input."""

    def __init__(self, text: str, *, field: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who stands for an act and why. Only `sign` makes one, so no act is done without it."""

    user: User
    reason: str
    signed_at: datetime


def sign(*, user: User, password: str, reason: str, address: str, now: datetime) -> Signature:
    """Check the password of somebody who is signed in, slowed down as signing in is.

    A wrong password counts as a failed sign-in of this name from this address, so that a session
    left open is no place to guess from.

    Raises:
        SignatureError: no reason or one too long, too many failures, or a wrong password.
    """
    reason = reason.strip()
    if not reason:
        raise SignatureError(
            "Give a reason. It is kept in the log beside your name.", field="reason"
        )
    if len(reason) > LONGEST_REASON:
        raise SignatureError(
            f"The reason has {len(reason):,} characters; at most {LONGEST_REASON:,} are kept. "
            "Shorten it.",
            field="reason",
        )
    username = user.get_username()
    if wait := selectors.sign_in_wait(username=username, address=address, now=now):
        minutes = ceil(wait / timedelta(minutes=1))
        raise SignatureError(
            f"There were too many failed attempts. Wait {minutes} "
            f"minute{'' if minutes == 1 else 's'}, then sign again. Nothing was changed.",
            field="password",
        )
    if not user.is_active or not user.check_password(password):
        accounts.record_failed_sign_in(username=username, address=address, now=now)
        raise SignatureError(
            "This is not your password. Mind upper and lower case. Nothing was changed.",
            field="password",
        )
    accounts.forget_failed_sign_ins(username=username, address=address)
    return Signature(user=user, reason=reason, signed_at=now)
