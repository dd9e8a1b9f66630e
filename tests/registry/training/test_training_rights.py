"""Who may do what with trainings: every address, every role, every method."""

from itertools import product

import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.registry.models import TrainingEvent, TrainingRun
from tests.factories import NOW, UserFactory

pytestmark = pytest.mark.django_db

METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
SAFE, WRITE = {"get", "head"}, {"post"}
# name: (has a run, methods); all are for admins. Pages of one run do not exist for others.
URLS = {
    "trainings": (False, SAFE),
    "request-training": (False, SAFE | WRITE),
    "training-outlook": (False, SAFE),
    "training-run": (True, SAFE),
    "training-line": (True, SAFE),
    "training-events": (True, SAFE),
    "training-example": (True, SAFE),
    "cancel-training": (True, WRITE),
    "resume-training": (True, WRITE),
    "drop-training": (True, WRITE),
}


@pytest.fixture
def run(settings, tmp_path):
    settings.MIRAGE_DATA_DIR = tmp_path
    made = TrainingRun.objects.create(
        number=1, plan={"profile": "tiny", "seed": 1}, phantoms=40, requested_at=NOW,
        requested_by=UserFactory(role=User.Role.ADMIN),
    )  # fmt: skip
    TrainingEvent.objects.create(
        run=made, seq=1, attempt=1, told_at=NOW, kind="example", stage="autoencoder",
        file="examples/a.png",
    )  # fmt: skip
    picture = tmp_path / "trainings" / str(made.pk) / "work" / "examples" / "a.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"picture")
    return made


def address(name, key):
    has_run, _ = URLS[name]
    arguments = [key, 1] if name == "training-example" else [key] if has_run else []
    return reverse(f"registry:{name}", args=arguments)


@pytest.mark.parametrize("name", URLS)
def test_only_admins_can_do_anything_with_trainings(client, run, name):
    has_run, methods = URLS[name]
    other = UserFactory(role=User.Role.STUDY_MANAGER)  # who may most beside an admin
    for user, method in product([None, other, run.requested_by], METHODS):
        client.logout()
        if user is not None:
            client.force_login(user)
        response = getattr(client, method)(address(name, run.pk))
        if user is None:
            right = {302}
            assert response.url.startswith(reverse("accounts:sign-in"))
        elif method not in methods:
            right = {405}
        elif user != run.requested_by:
            right = {404 if has_run else 403}
        else:
            right = {200, 302, 422}
        assert response.status_code in right, f"{method} {name} as {user and user.role}"


@pytest.mark.parametrize("name", URLS)
def test_pages_of_trainings_are_kept_out_of_caches_and_allow_no_inline_code(client, run, name):
    client.force_login(run.requested_by)
    _, methods = URLS[name]
    response = getattr(client, "get" if "get" in methods else "post")(address(name, run.pk))
    assert "no-store" in response["Cache-Control"]
    assert "unsafe" not in response["Content-Security-Policy"]


@pytest.mark.parametrize("name", [name for name, (has_run, _) in URLS.items() if has_run])
def test_a_made_up_run_answers_404(client, run, name):
    client.force_login(run.requested_by)
    made_up = address(name, "00000000-0000-4000-8000-000000000000")
    assert getattr(client, "get" if "get" in URLS[name][1] else "post")(made_up).status_code == 404


@pytest.mark.parametrize("name", [name for name, (_, methods) in URLS.items() if "post" in methods])
def test_no_form_of_a_training_is_taken_from_another_site(run, name):
    client = Client(enforce_csrf_checks=True)
    client.force_login(run.requested_by)
    assert client.post(address(name, run.pk)).status_code == 403
