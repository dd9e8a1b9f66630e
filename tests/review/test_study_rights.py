"""Who may do what with a study: every URL of it, every role, every method."""

from itertools import product

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.review.models import StudyAnalysis
from tests.factories import UserFactory
from tests.review.factories import make_manager, make_open_study

pytestmark = pytest.mark.django_db

METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
SAFE, WRITE = {"get", "head"}, {"post"}
# name: (arguments, methods that it has, who it is for)
#   users: whoever is signed in;  managers: whoever has the role;  manager: of this study alone;
#   reader: the one that the presentation was made for
URLS = {
    "studies": ("", SAFE, "managers"),
    "create-study": ("", SAFE | WRITE, "managers"),
    "study": ("study", SAFE, "manager"),
    "delete-draft": ("study", WRITE, "manager"),
    "protocol": ("study", SAFE | WRITE, "manager"),
    "power": ("study", WRITE, "manager"),
    "cases": ("study", SAFE | WRITE, "manager"),
    "readers": ("study", SAFE | WRITE, "manager"),
    "remove-reader": ("study number", WRITE, "manager"),
    "open-study": ("study", SAFE | WRITE, "manager"),
    "freeze": ("study", SAFE, "manager"),
    "retry-freeze": ("study", WRITE, "manager"),
    "return-to-draft": ("study", WRITE, "manager"),
    "sign": ("study lock", SAFE | WRITE, "manager"),
    "export": ("study tidy", SAFE | WRITE, "manager"),
    "statistics": ("study", SAFE, "manager"),
    "figures": ("study", SAFE, "manager"),
    "request-analysis": ("study", WRITE, "manager"),
    "analysis": ("analysis", SAFE, "manager"),
    "cancel-analysis": ("analysis", WRITE, "manager"),
    "retry-analysis": ("analysis", WRITE, "manager"),
    "log": ("study", SAFE, "manager"),
    "worklist": ("", SAFE, "users"),
    "my-readings": ("study", SAFE, "reader"),
    "pause": ("study", SAFE, "reader"),
    "reading": ("token", SAFE, "reader"),
    "case-volume": ("token", SAFE, "reader"),
    "case-picture": ("token", SAFE, "reader"),
    "save": ("token", WRITE, "reader"),
    "submit": ("token", WRITE, "reader"),
    "amend": ("token", WRITE, "reader"),
}
ALLOWED = {
    "users": {"manager", "other manager", "reader", "other reader", "clinician"},
    "managers": {"manager", "other manager"},
    "manager": {"manager"},
    "reader": {"reader"},
}
OWN_OF_BOTH = {"my-readings", "pause"}  # their address names the study, which both read
# 302: somewhere else goes on;  404 only where nothing is there yet;  409, 422: an empty form
DONE = {200, 302, 404, 409, 422}


class World:
    """An open study and one person of each kind."""

    def __init__(self):
        study = make_open_study(readers=2, cases_per_arm=2, practice_cases=0, repeat_share=0.0)
        first, second = study.readers.order_by("number")
        self.people = {
            "manager": study.manager,
            "other manager": make_manager(),
            "reader": first.user,
            "other reader": second.user,
            "clinician": UserFactory(),
        }
        analysis = StudyAnalysis.objects.create(
            study=study, requested_by=study.manager, requested_at=timezone.now()
        )
        self.arguments = {
            "": [],
            "study": [study.pk],
            "study number": [study.pk, 1],
            "study lock": [study.pk, "lock"],
            "study tidy": [study.pk, "ratings.csv"],
            "analysis": [analysis.pk],
            "token": [first.slots.first().token],
        }

    def address(self, name):
        return reverse(f"review:{name}", args=self.arguments[URLS[name][0]])


def right(name, who, method):
    """Whether a status is right for somebody and a method."""
    _, methods, audience = URLS[name]
    if method not in methods:
        return {405} | ({200} if method == "options" else set())
    allowed = ALLOWED[audience] | ({"other reader"} if name in OWN_OF_BOTH else set())
    if audience == "users" or who in allowed:
        return DONE
    return {403} if audience == "managers" else {404}


def test_every_role_can_do_what_the_table_says_and_nothing_else(client):
    world = World()
    wrong = []
    for who, person in world.people.items():
        client.force_login(person)
        for name, method in product(URLS, METHODS):
            is_had = method in URLS[name][1] - {"head"}
            if who != "manager" and not is_had:  # one that is not had is refused before the view
                continue
            response = getattr(client, method)(world.address(name))
            if response.status_code not in right(name, who, method):
                wrong.append(f"{method} {name} as {who}: {response.status_code}")
            if method in {"get", "post"}:
                assert "no-store" in response["Cache-Control"], name
                assert "unsafe" not in response["Content-Security-Policy"], name
    assert not wrong


def test_nobody_does_anything_without_signing_in_or_from_another_site(client):
    world = World()
    strict = Client(enforce_csrf_checks=True)
    for name, (_, methods, audience) in URLS.items():
        person = "reader" if audience == "reader" else "manager"
        strict.force_login(world.people[person])
        for method in methods:
            response = getattr(client, method)(world.address(name))
            assert response.url.startswith(reverse("accounts:sign-in")), name
        if "post" in methods:
            assert strict.post(world.address(name)).status_code == 403, name


@pytest.mark.parametrize("name", [name for name, (key, *_) in URLS.items() if key])
def test_a_made_up_identifier_answers_404(client, name):
    client.force_login(make_manager())
    made_up = {
        "study": [0], "study number": [0, 1], "study lock": [0, "lock"], "study tidy": [0, "csv"],
        "analysis": ["00000000-0000-4000-8000-000000000000"], "token": ["0" * 32],
    }[URLS[name][0]]  # fmt: skip
    method = "get" if "get" in URLS[name][1] else "post"

    response = getattr(client, method)(reverse(f"review:{name}", args=made_up))

    assert response.status_code == 404
