"""Guessing passwords is slow, and tells nothing about which accounts exist."""

from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.test import RequestFactory
from django.utils import timezone

from apps.accounts import selectors, services
from apps.accounts.models import FailedSignIn, User
from apps.accounts.selectors import LIMITS, WINDOW

pytestmark = pytest.mark.django_db
RIGHT = "correct horse battery"


@pytest.fixture
def ann():
    return services.create_user(username="ann", password=RIGHT, role=User.Role.CLINICIAN)


def sign_in(username, password, address="10.0.0.1"):
    request = RequestFactory(REMOTE_ADDR=address).post("/sign-in/")
    return authenticate(request, username=username, password=password)


def fail(times, username="ann", address="10.0.0.1"):
    for _ in range(times):
        assert sign_in(username, "wrong", address) is None


def test_the_right_password_signs_in(ann):
    assert sign_in("ann", RIGHT) == ann


def test_after_too_many_failures_even_the_right_password_must_wait(ann):
    fail(LIMITS["name and address"])

    assert sign_in("ann", RIGHT) is None


def test_one_failure_fewer_still_lets_the_right_password_in(ann):
    fail(LIMITS["name and address"] - 1)

    assert sign_in("ann", RIGHT) == ann


def test_a_success_starts_the_count_afresh(ann):
    fail(LIMITS["name and address"] - 1)
    sign_in("ann", RIGHT)
    fail(LIMITS["name and address"] - 1)

    assert sign_in("ann", RIGHT) == ann


def test_the_wait_ends_with_the_window(ann):
    fail(LIMITS["name and address"])
    FailedSignIn.objects.update(failed_at=timezone.now() - WINDOW)

    assert sign_in("ann", RIGHT) == ann


def test_someone_elses_guessing_does_not_lock_the_owner_out(ann):
    fail(LIMITS["name and address"], address="6.6.6.6")

    assert sign_in("ann", RIGHT, "10.0.0.1") == ann


def test_guessing_one_name_from_many_addresses_is_stopped(ann):
    for n in range(LIMITS["name"]):
        fail(1, address=f"6.6.6.{n}")

    assert sign_in("ann", RIGHT, "10.0.0.1") is None


def test_guessing_many_names_from_one_address_is_stopped(ann):
    for n in range(LIMITS["address"]):
        fail(1, username=f"guess-{n}")

    assert sign_in("ann", RIGHT) is None


@pytest.mark.parametrize("username", ["ann", "nobody"])
def test_known_and_unknown_names_wait_alike(ann, username):
    fail(LIMITS["name and address"], username=username)

    now = timezone.now()
    wait = selectors.sign_in_wait(username=username, address="10.0.0.1", now=now)
    assert WINDOW - timedelta(seconds=30) < wait <= WINDOW


def test_an_unknown_name_costs_as_many_password_hashes_as_a_known_one(ann, monkeypatch):
    from django.contrib.auth.hashers import MD5PasswordHasher

    hashes = []
    encode = MD5PasswordHasher.encode

    def counted(self, password, salt):
        hashes.append(salt)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    sign_in("ann", "wrong")
    known = len(hashes)
    sign_in("nobody", "wrong")

    assert known == len(hashes) - known == 1


def test_neither_names_nor_addresses_can_be_read_from_the_counts(ann):
    fail(1)

    assert not FailedSignIn.objects.exclude(key__regex=r"^[0-9a-f]{64}$").exists()
