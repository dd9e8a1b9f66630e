"""A program that reads a study as a browser does: pages, cookies, CSRF tokens, forms.

It knows the truth about a case from the database, because a simulation must; all that it says goes
the way of any reader, by address, session and form.
"""

import re
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.test import Client
from django.urls import reverse

from apps.errors import MirageError
from apps.review.models import Reader, Slot
from apps.review.protocol import Arm, Protocol
from apps.review.reading_form import PREFIX
from apps.review.simulation import SimulatedReader, Truth, as_form

CASE = re.compile(r"/reading/([0-9a-f]{32})/")
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


class SimulationError(MirageError):
    """A page did not answer as a reader needs it to."""


class Browser:
    """One signed-in reader, over the whole stack but the socket."""

    def __init__(self, reader: Reader) -> None:
        host = settings.ALLOWED_HOSTS[0].lstrip(".").replace("*", "127.0.0.1")
        self.client = Client(enforce_csrf_checks=True, SERVER_NAME=host)
        self.client.force_login(reader.user)  # a session as signing in makes it

    def get(self, address: str) -> Any:
        """A page or a file."""
        response = self.client.get(address, secure=settings.SECURE_SSL_REDIRECT)
        if response.status_code != 200:
            raise SimulationError(f"A page answered {response.status_code} instead of 200.")
        return response

    def post(self, address: str, form: dict[str, Any]) -> dict[str, Any]:
        """Send a form as the page's script does."""
        secure = settings.SECURE_SSL_REDIRECT
        referer = f"https://{self.client.defaults['SERVER_NAME']}/" if secure else ""
        response = self.client.post(
            address, form, secure=secure, headers={"Accept": "application/json", "Referer": referer}
        )
        told: dict[str, Any] = response.json() if _is_json(response) else {}
        if response.status_code != 200:
            reason = told.get("problem", "")
            raise SimulationError(f"A form answered {response.status_code}. {reason}".strip())
        return told


def read_all(reader: Reader, as_reader: SimulatedReader) -> Iterator[str]:
    """Read what a reader still has to read, from the worklist to the last case.

    Yields:
        The token of each case when it is submitted.
    """
    plan = reader.study.plan
    truths = _truths(reader)
    browser = Browser(reader)
    found = CASE.search(browser.get(reverse("review:worklist")).content.decode())
    while found:
        token = found.group(1)
        address = _read_one(browser, token, plan, as_reader, truths[token])
        yield token
        found = CASE.search(address) or _after_a_pause(browser, address)


def _read_one(
    browser: Browser, token: str, plan: Protocol, as_reader: SimulatedReader, truth: Truth
) -> str:
    page = browser.get(reverse("review:reading", args=[token])).content.decode()
    browser.get(reverse("review:case-volume", args=[token]))
    form: dict[str, Any] = dict(HIDDEN.findall(page))
    form |= as_form(as_reader.read(plan, truth), PREFIX)
    form["active_ms"] = as_reader.active_ms(truth, at_least_s=plan.minimum_viewing_s)
    saved = browser.post(reverse("review:save", args=[token]), form)
    submitted = browser.post(
        reverse("review:submit", args=[token]), {**form, "revision": saved["revision"]}
    )
    return str(submitted["next"])


def _after_a_pause(browser: Browser, address: str) -> re.Match[str] | None:
    if not address.endswith("/pause/"):
        return None
    return CASE.search(browser.get(address).content.decode())


def _truths(reader: Reader) -> dict[str, Truth]:
    slots = Slot.objects.filter(reader=reader).select_related("case")
    return {
        slot.token: Truth(
            case=slot.case.number,
            is_synthetic=slot.case.arm != Arm.REAL,
            is_ad=slot.case.is_ad,
            occasion=2 if slot.repeat_of_id else 1,
        )
        for slot in slots
    }


def _is_json(response: Any) -> bool:
    return str(response.headers.get("Content-Type", "")).startswith("application/json")
