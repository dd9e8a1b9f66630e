"""Questions about signing in."""

from datetime import datetime, timedelta

from django.utils.crypto import salted_hmac

from apps.accounts.models import FailedSignIn

WINDOW = timedelta(minutes=15)
# Names of what is counted, and how many failures within the window close the door.
LIMITS = {"name and address": 5, "name": 50, "address": 50}


def sign_in_keys(*, username: str, address: str) -> dict[str, str]:
    """What failures are counted under: keyed hashes, because a mistyped name may be a password."""
    parts = {
        "name and address": f"{username.casefold()}\0{address}",
        "name": username.casefold(),
        "address": address,
    }
    return {
        name: salted_hmac(f"sign-in by {name}", value, algorithm="sha256").hexdigest()
        for name, value in parts.items()
    }


def sign_in_wait(*, username: str, address: str, now: datetime) -> timedelta:
    """How long this name from this address must wait; zero if it may try.

    Names with and without an account are treated alike.
    """
    longest = timedelta(0)
    for name, key in sign_in_keys(username=username, address=address).items():
        recent = FailedSignIn.objects.filter(key=key, failed_at__gt=now - WINDOW)
        times = list(recent.order_by("-failed_at").values_list("failed_at", flat=True))
        if len(times) >= LIMITS[name]:
            longest = max(longest, times[LIMITS[name] - 1] + WINDOW - now)
    return longest
