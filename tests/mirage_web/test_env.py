"""A wrong environment stops the program with a sentence that names the variable."""

import stat
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured

from mirage_web import embedded, env


def test_a_variable_that_must_be_set_is_named(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "  ")

    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY must be set"):
        env.text("SECRET_KEY")


@pytest.mark.parametrize(("written", "meant"), [("1", True), ("no", False), ("", False)])
def test_yes_and_no_are_understood(monkeypatch, written, meant):
    monkeypatch.setenv("MIRAGE_HTTPS", written)

    assert env.boolean("MIRAGE_HTTPS", default=not meant) is meant


def test_neither_yes_nor_no_is_refused(monkeypatch):
    monkeypatch.setenv("MIRAGE_HTTPS", "maybe")

    with pytest.raises(ImproperlyConfigured, match="'maybe'"):
        env.boolean("MIRAGE_HTTPS", default=True)


def test_a_choice_is_one_of_those_there_are(monkeypatch):
    monkeypatch.setenv("MIRAGE_TRAINING_DEVICE", "gpu")

    with pytest.raises(ImproperlyConfigured, match="'gpu'; it must be cpu or cuda"):
        env.choice("MIRAGE_TRAINING_DEVICE", default="cpu", of=("cpu", "cuda"))


@pytest.mark.parametrize("written", ["many", "0", "1e9", "nan"])
def test_a_number_out_of_range_is_refused(monkeypatch, written):
    monkeypatch.setenv("MIRAGE_JOB_LEASE_S", written)

    with pytest.raises(ImproperlyConfigured, match="MIRAGE_JOB_LEASE_S"):
        env.number("MIRAGE_JOB_LEASE_S", default=15, low=1, high=86_400)


@pytest.mark.parametrize(
    ("url", "part", "value"),
    [
        ("postgresql://ann:p%40ss@db.example:5433/mirage", "PASSWORD", "p@ss"),
        ("postgresql://ann:p%40ss@db.example:5433/mirage", "PORT", "5433"),
        ("postgresql://ann@/mirage?host=/run/postgres", "HOST", "/run/postgres"),
        ("postgresql://db/mirage?sslmode=require", "OPTIONS", {"sslmode": "require"}),
    ],
)
def test_a_database_url_becomes_settings(monkeypatch, url, part, value):
    monkeypatch.setenv("DATABASE_URL", url)

    assert env.database("DATABASE_URL")[part] == value


def test_settings_of_a_database_and_its_url_say_the_same(monkeypatch):
    database = {
        "NAME": "mirage", "USER": "ann", "PASSWORD": "p@ss:w", "HOST": "/a b/run", "PORT": "",
        "OPTIONS": {},
    }  # fmt: skip
    monkeypatch.setenv("DATABASE_URL", embedded.url_of(database))

    assert env.database("DATABASE_URL") == database


def test_another_database_engine_is_refused(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "sqlite:///db.sqlite3")

    with pytest.raises(ImproperlyConfigured, match="PostgreSQL alone"):
        env.database("DATABASE_URL")


def test_one_server_given_and_the_other_not_is_refused(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/mirage")
    monkeypatch.delenv("REDIS_URL", raising=False)

    with pytest.raises(ImproperlyConfigured, match="REDIS_URL is not"):
        embedded.wanted()


def test_in_production_a_secret_must_be_given(monkeypatch):
    monkeypatch.delenv("SECRET_KEY", raising=False)

    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
        env.secret("SECRET_KEY", kept_in=None)


def test_a_secret_made_by_several_processes_at_once_is_one_and_private(monkeypatch, tmp_path):
    monkeypatch.delenv("SECRET_KEY", raising=False)
    path, found = tmp_path / "keys" / "secret", []
    threads = [
        threading.Thread(target=lambda: found.append(env.secret("SECRET_KEY", kept_in=path)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) >= 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
