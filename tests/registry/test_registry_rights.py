"""Who may do what in the registry: every URL of it, every role, every method."""

from itertools import product

import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from tests.factories import BundleFactory, DeploymentFactory, UserFactory
from tests.inference.world import CARD
from tests.registry.cases import make_admin, make_check, make_evaluation, make_holdout

pytestmark = pytest.mark.django_db

METHODS = ("get", "head", "options", "post", "delete")
SAFE, WRITE = {"get", "head"}, {"post"}
# name: (arguments, methods that it has, who it is for)
#   users: whoever is signed in;  admins: whoever has the role
URLS = {
    "registry:models": ("", SAFE, "users"),
    "registry:figures": ("", SAFE, "users"),
    "registry:deployments": ("", SAFE, "users"),
    "registry:compare": ("", SAFE, "users"),
    "registry:version": ("bundle", SAFE, "users"),
    "registry:import-bundle": ("", SAFE | WRITE, "admins"),
    "registry:download": ("bundle", SAFE, "admins"),
    "registry:add-note": ("bundle", WRITE, "admins"),
    "registry:holdouts": ("", SAFE | WRITE, "admins"),
    "registry:retire-holdout": ("holdout", WRITE, "admins"),
    "registry:cancel-holdout": ("holdout", WRITE, "admins"),
    "registry:retry-holdout": ("holdout", WRITE, "admins"),
    "registry:request-gate-check": ("bundle", WRITE, "admins"),
    "registry:gate-check": ("check", SAFE, "admins"),
    "registry:cancel-gate-check": ("check", WRITE, "admins"),
    "registry:retry-gate-check": ("check", WRITE, "admins"),
    "registry:request-evaluation": ("bundle", WRITE, "admins"),
    "registry:evaluation": ("evaluation", SAFE, "users"),
    "registry:cancel-evaluation": ("evaluation", WRITE, "admins"),
    "registry:retry-evaluation": ("evaluation", WRITE, "admins"),
    "registry:evaluation-report": ("evaluation", SAFE, "admins"),
    "registry:evaluation-figures": ("evaluation", SAFE, "admins"),
    "registry:sign": ("bundle promote", SAFE | WRITE, "admins"),
    "inference:shadow": ("bundle", SAFE, "admins"),
    "inference:shadow-figures": ("bundle", SAFE, "admins"),
}
ROLES = ("anonymous", "admin", User.Role.CLINICIAN, User.Role.STUDY_MANAGER)
DONE = {200, 302, 422}


@pytest.fixture
def world():
    bundle = BundleFactory(card=CARD)
    DeploymentFactory(bundle=bundle)
    candidate = BundleFactory(card=CARD)
    holdout = make_holdout()
    check = make_check(candidate, bundle, holdout=holdout)
    evaluation = make_evaluation(candidate, holdout)
    return {"bundle": candidate, "holdout": holdout, "check": check, "evaluation": evaluation}


def address(world, name, made_up=False):
    thing, *more = URLS[name][0].split() or [None]
    if thing is None:
        return reverse(name)
    key = world[thing].pk
    if made_up:
        key = 0 if thing == "bundle" else "00000000-0000-4000-8000-000000000000"
    return reverse(name, args=[key, *more])


@pytest.mark.parametrize("name", URLS)
def test_each_role_can_do_what_the_table_says_and_nothing_else(client, world, name):
    _, methods, audience = URLS[name]
    for role, method in product(ROLES, METHODS):
        client.logout()
        if role != "anonymous":
            client.force_login(make_admin() if role == "admin" else UserFactory(role=role))
        status = getattr(client, method)(address(world, name)).status_code
        if role == "anonymous":
            right = {302}
        elif method == "options" or method not in methods:
            right = {405} | ({200} if method == "options" else set())
        elif audience == "admins" and role != "admin":
            right = {403}
        else:
            right = DONE
        assert status in right, f"{method} {name} as {role}"


@pytest.mark.parametrize("name", [name for name, (what, *_) in URLS.items() if what])
def test_a_made_up_identifier_answers_404(client, world, name):
    client.force_login(make_admin())
    method = "get" if "get" in URLS[name][1] else "post"

    assert getattr(client, method)(address(world, name, made_up=True)).status_code == 404


@pytest.mark.parametrize(
    "name", [name for name, (_, methods, _) in URLS.items() if "post" in methods]
)
def test_no_form_is_taken_from_another_site(world, name):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_admin())

    assert client.post(address(world, name)).status_code == 403


@pytest.mark.parametrize("name", URLS)
def test_no_page_may_be_stored_and_none_allows_inline_code(client, world, name):
    client.force_login(make_admin())
    method = "get" if "get" in URLS[name][1] else "post"

    response = getattr(client, method)(address(world, name))

    assert "no-store" in response["Cache-Control"]
    assert "unsafe" not in response["Content-Security-Policy"]
