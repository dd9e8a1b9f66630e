"""Who may do what: every URL, every role, every method. A URL that is not in the table fails."""

from itertools import product

import pytest
from django.urls import get_resolver, reverse

from apps.inference.means import mean_file
from tests.inference.world import ROLES, make_world
from tests.patients.scans.cases import registered
from tests.registry.test_registry_rights import URLS as REGISTRY_URLS
from tests.registry.training.test_training_rights import URLS as TRAINING_URLS
from tests.review.test_study_rights import URLS as STUDY_URLS

pytestmark = pytest.mark.django_db

METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
SAFE = {"get", "head"}
WRITE = {"post"}

# name: (arguments, methods that it has, who it is for)
#   everyone: signed in or not;  users: whoever is signed in;  members: of the cohort, whatever
#   their role;  editors: its owner and its clinicians;  owners: its owner alone;
#   mixed: members look, editors write
URLS = {
    "healthz": (None, SAFE, "everyone"),
    "readyz": (None, SAFE, "everyone"),
    "accounts:sign-in": (None, SAFE | WRITE, "everyone"),
    "accounts:sign-out": (None, WRITE, "users"),
    "patients:cohorts": (None, SAFE, "users"),
    "patients:create-cohort": (None, SAFE | WRITE, "users"),
    "patients:start-import": ("cohort", SAFE | WRITE, "editors"),
    "patients:import": ("ehr_import", SAFE, "editors"),
    "patients:import-status": ("ehr_import", SAFE, "editors"),
    "patients:cancel-import": ("ehr_import", WRITE, "editors"),
    "patients:retry-import": ("ehr_import", WRITE, "editors"),
    "patients:undo-import": ("ehr_import", WRITE, "editors"),
    "patients:read-sheet": ("ehr_import", WRITE, "editors"),
    "patients:import-columns": ("ehr_import", SAFE, "editors"),
    "patients:import-column": ("ehr_import 0", SAFE | WRITE, "editors"),
    "patients:decide-rest": ("ehr_import", WRITE, "editors"),
    "patients:use-template": ("ehr_import", WRITE, "editors"),
    "patients:check-import": ("ehr_import", WRITE, "editors"),
    "patients:import-problems": ("ehr_import", SAFE, "editors"),
    "patients:file-with-errors": ("ehr_import", SAFE, "editors"),
    "patients:commit-import": ("ehr_import", WRITE, "editors"),
    "patients:archived-cohorts": (None, SAFE, "users"),
    "patients:inputs": ("cohort", SAFE, "members"),
    "patients:distributions": ("cohort", SAFE, "members"),
    "patients:members": ("cohort", SAFE, "members"),
    "patients:add-member": ("cohort", WRITE, "owners"),
    "patients:change-role": ("membership", WRITE, "owners"),
    "patients:remove-member": ("membership", WRITE, "owners"),
    "patients:cohort-settings": ("cohort", SAFE | WRITE, "owners"),
    "patients:archive-cohort": ("cohort", WRITE, "owners"),
    "patients:restore-cohort": ("cohort", WRITE, "owners"),
    "patients:delete-cohort": ("cohort", SAFE | WRITE, "owners"),
    "patients:delete-patient": ("patient", SAFE | WRITE, "editors"),
    "patients:keep-heads": ("cohort", WRITE, "owners"),
    "patients:upload-scan": ("patient", SAFE | WRITE, "editors"),
    "patients:scan": ("scan", SAFE, "members"),
    "patients:cancel-scan": ("scan", WRITE, "editors"),
    "patients:retry-scan": ("scan", WRITE, "editors"),
    "patients:delete-scan": ("scan", WRITE, "editors"),
    "patients:scan-volume": ("scan", SAFE, "members"),
    "patients:scan-mosaic": ("scan", SAFE, "members"),
    "patients:scan-picture": ("scan", SAFE, "members"),
    "inference:mean-volume": ("bundle", SAFE, "users"),
    "inference:export": ("cohort", SAFE, "editors"),
    "inference:export-file": ("cohort", SAFE, "editors"),
    "inference:queue": (None, SAFE, "users"),
    "inference:cohort": ("cohort", SAFE | WRITE, "members"),
    "inference:request-cohort-run": ("cohort", WRITE, "editors"),
    "inference:patient": ("patient", SAFE, "members"),
    "inference:request-patient-run": ("patient", WRITE, "editors"),
    "inference:cohort-pseudo-mris": ("cohort", SAFE, "members"),
    "inference:request-cohort-pseudo-mris": ("cohort", WRITE, "editors"),
    "inference:cancel-cohort-pseudo-mris": ("cohort", WRITE, "editors"),
    "inference:request-pseudo-mri": ("patient", WRITE, "editors"),
    "inference:performance": ("cohort", SAFE, "members"),
    "inference:report": ("patient", SAFE, "members"),
    "inference:risk-assessment": ("patient", SAFE, "members"),
    "inference:request-explanation": ("patient", WRITE, "editors"),
    "inference:explanation": ("explanation", SAFE, "members"),
    "inference:cancel-explanation": ("explanation", WRITE, "editors"),
    "inference:retry-explanation": ("explanation", WRITE, "editors"),
    "inference:request-what-if": ("patient", WRITE, "editors"),
    "inference:what-if-field": ("patient", SAFE, "members"),
    "inference:what-if": ("what_if", SAFE, "members"),
    "inference:run": ("run", SAFE, "members"),
    "inference:cancel-run": ("run", WRITE, "editors"),
    "inference:retry-run": ("run", WRITE, "editors"),
    "inference:pseudo-mri": ("pseudo_mri", SAFE, "members"),
    "inference:cancel-pseudo-mri": ("pseudo_mri", WRITE, "editors"),
    "inference:retry-pseudo-mri": ("pseudo_mri", WRITE, "editors"),
    "inference:pseudo-mri-volume": ("pseudo_mri", SAFE, "members"),
    "inference:pseudo-mri-mosaic": ("pseudo_mri", SAFE, "members"),
}
DONE = {200, 302, 422, 503}  # 422: an empty form; 503: /readyz of an installation without workers


@pytest.fixture
def world(settings):
    made = make_world(settings.MEDIA_ROOT)
    made.scan = registered(made.patient, settings.MEDIA_ROOT)
    mean = mean_file(made.bundle)
    mean.parent.mkdir(parents=True)
    mean.write_bytes(b"voxels")
    return made


def all_names(resolver, namespace=""):
    for pattern in resolver.url_patterns:
        if hasattr(pattern, "url_patterns"):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from all_names(pattern, inner)
        else:
            yield f"{namespace}{pattern.name}"


def arguments(world, key):
    """Of "run": its key; of "ehr_import 0": its key and 0."""
    if key is None:
        return []
    thing, *more = key.split()
    return [getattr(world, thing).pk, *more]


def expected(audience, role, method, methods):
    """Status codes that are right for this role and method."""
    if audience != "everyone" and role == "anonymous":
        return {302}
    if method == "options" or method not in methods:
        return {405} | ({200} if method == "options" else set())
    if audience in {"everyone", "users"}:
        return DONE
    if role == "stranger":
        return {404}
    if role == "viewer" and audience in {"editors", "owners"}:
        return {403}
    if role == "clinician" and audience == "owners":
        return {403}
    return DONE


def test_every_url_is_in_the_table():
    of_studies = {f"review:{name}" for name in STUDY_URLS}  # tests/review/test_study_rights.py
    of_trainings = {f"registry:{name}" for name in TRAINING_URLS}
    assert (
        set(all_names(get_resolver())) == set(URLS) | of_studies | set(REGISTRY_URLS) | of_trainings
    )


@pytest.mark.parametrize("name", URLS)
def test_each_role_can_do_what_the_table_says_and_nothing_else(client, world, name):
    key, methods, audience = URLS[name]
    url = reverse(name, args=arguments(world, key))
    for role, method in product(ROLES, METHODS):
        client.logout()
        if role != "anonymous":
            client.force_login(world.users[role])
        response = getattr(client, method)(url)
        right = expected(audience, role, method, methods)
        assert response.status_code in right, f"{method} {name} as {role}"
        if role == "anonymous" and audience != "everyone":
            assert response.url.startswith(reverse("accounts:sign-in"))


@pytest.mark.parametrize("name", [n for n, (key, *_) in URLS.items() if key])
def test_a_made_up_identifier_answers_404(client, world, name):
    client.force_login(world.users["owner"])
    thing, *more = URLS[name][0].split()
    made_up = [
        0 if thing in {"membership", "bundle"} else "00000000-0000-4000-8000-000000000000",
        *more,
    ]
    url = reverse(name, args=made_up)
    method = "get" if "get" in URLS[name][1] else "post"

    assert getattr(client, method)(url).status_code == 404


@pytest.mark.parametrize("name", [n for n, (_, methods, _) in URLS.items() if "post" in methods])
def test_no_form_is_taken_from_another_site(world, name):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(world.users["owner"])
    url = reverse(name, args=arguments(world, URLS[name][0]))

    assert client.post(url).status_code == 403


@pytest.mark.parametrize("name", list(URLS))
def test_no_page_may_be_stored_and_none_allows_inline_code(client, world, name):
    client.force_login(world.users["owner"])
    key, methods, _ = URLS[name]
    url = reverse(name, args=arguments(world, key))

    response = client.get(url) if "get" in methods else client.post(url)

    policy = response["Content-Security-Policy"]
    assert "no-store" in response["Cache-Control"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response["X-Frame-Options"] == "DENY"
