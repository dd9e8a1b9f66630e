"""Signing in and out, as a person meets it."""

import pytest
from django.urls import reverse

from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

SIGN_IN = reverse("accounts:sign-in")
PASSWORD = "correct horse battery"


@pytest.fixture
def user():
    user = UserFactory(username="clinician")
    user.set_password(PASSWORD)
    user.save()
    return user


def sign_in(client, password=PASSWORD, **fields):
    return client.post(SIGN_IN, {"username": "clinician", "password": password, **fields})


def test_the_right_password_leads_to_the_cohorts(client, user):
    assert sign_in(client).url == reverse("patients:cohorts")


def test_a_wrong_password_is_named_without_saying_which_half_was_wrong(client, user):
    wrong = sign_in(client, password="no").content.decode()
    unknown = client.post(SIGN_IN, {"username": "nobody", "password": "no"}).content.decode()

    assert "do not match an account" in wrong
    assert "do not match an account" in unknown


def test_after_five_failures_the_page_says_how_long_to_wait(client, user):
    for _ in range(5):
        sign_in(client, password="no")

    page = sign_in(client).content.decode()

    assert "too many failed attempts. Wait 15 minutes" in page
    assert "_auth_user_id" not in client.session


def test_the_page_asked_for_comes_after_signing_in(client, user):
    asked = reverse("inference:queue")

    response = client.get(asked)

    assert response.url == f"{SIGN_IN}?next={asked}"
    assert sign_in(client, next=asked).url == asked


@pytest.mark.parametrize("elsewhere", ["https://example.org/", "//example.org/", "javascript:1"])
def test_signing_in_never_leads_to_another_site(client, user, elsewhere):
    assert sign_in(client, next=elsewhere).url == reverse("patients:cohorts")


def test_signing_out_ends_the_session(client, user):
    sign_in(client)

    client.post(reverse("accounts:sign-out"))

    assert client.get(reverse("patients:cohorts")).status_code == 302


def test_a_link_cannot_sign_anybody_out(client, user):
    sign_in(client)

    assert client.get(reverse("accounts:sign-out")).status_code == 405
    assert client.get(reverse("patients:cohorts")).status_code == 200
