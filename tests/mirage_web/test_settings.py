"""The settings of a hospital, the policy of every page, and what a log may say."""

import json
import logging
import os
import subprocess
import sys

import pytest
from django.db import IntegrityError
from django.urls import reverse

from apps.errors import MirageError
from mirage_web.logs import Formatter
from tests.conftest import ROOT
from tests.factories import NOW, BundleFactory, DeploymentFactory

PRODUCTION = {
    "DATABASE_URL": "postgresql://mirage:secret@127.0.0.1:1/mirage",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SECRET_KEY": "k9Zq-only-for-this-test-2fQ8s7Lw0aXcVbNmPoIuYtReWqAsDfGhJk",
    "MIRAGE_IDENTIFIER_KEY": "only-for-this-test",
    "ALLOWED_HOSTS": "mirage.example.org",
}


def manage(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_deploy_has_nothing_to_say_about_production_settings(tmp_path):
    done = manage(
        "check", "--deploy", "--tag=security", "--tag=urls", "--tag=models", "--fail-level=INFO",
        **PRODUCTION, MIRAGE_DATA_DIR=str(tmp_path),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    "missing", ["SECRET_KEY", "MIRAGE_IDENTIFIER_KEY", "ALLOWED_HOSTS", "REDIS_URL"]
)
def test_production_does_not_start_without(missing, tmp_path):
    given = {name: value for name, value in PRODUCTION.items() if name != missing}
    done = manage("check", **given, MIRAGE_DATA_DIR=str(tmp_path))

    assert done.returncode != 0
    assert missing in done.stderr


def test_with_servers_given_no_key_is_written_to_disk(tmp_path):
    manage("check", "--tag=security", **PRODUCTION, MIRAGE_DATA_DIR=str(tmp_path / "data"))

    assert not (tmp_path / "data").exists()


def test_no_page_allows_inline_code_or_foreign_origins(client, db):
    policy = client.get(reverse("accounts:sign-in")).headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    for forbidden in ("unsafe", "http:", "https:", "*", "blob:"):
        assert forbidden not in policy


def test_pages_are_not_stored_by_caches(client, db):
    for page in ("accounts:sign-in", "patients:cohorts"):
        assert "no-store" in client.get(reverse(page)).headers["Cache-Control"]


def test_a_stranger_is_sent_to_the_sign_in_page(client, db):
    response = client.get(reverse("patients:cohorts"))

    assert response.headers["Location"].startswith(reverse("accounts:sign-in"))


def test_the_session_ends_after_15_idle_minutes(settings):
    assert settings.SESSION_COOKIE_AGE == 15 * 60
    assert settings.SESSION_SAVE_EVERY_REQUEST


@pytest.fixture
def logged():
    """What the log says about an error."""

    def lines(error):
        try:
            raise error
        except type(error):
            record = logging.makeLogRecord({"msg": "Run 7 crashed", "exc_info": sys.exc_info()})
        return Formatter().format(record)

    return lines


@pytest.mark.parametrize(
    "error", [ValueError("could not convert string to float: 'Jane Doe'"), IntegrityError("Jane")]
)
def test_the_log_names_the_place_of_an_error_and_quotes_no_value(logged, error):
    line = logged(error)

    assert "Jane" not in line
    assert type(error).__name__ in line
    assert "test_settings.py" in line


def test_the_log_quotes_our_own_errors(logged):
    assert "the disk is full" in logged(MirageError("the disk is full"))


def test_health_is_told_without_signing_in(client, db):
    response = client.get(reverse("healthz"))

    assert (response.status_code, json.loads(response.content)) == (200, {"status": "alive"})


def test_not_ready_names_what_is_missing(client, db):
    response = client.get(reverse("readyz"))

    body = json.loads(response.content)
    assert response.status_code == 503
    assert "surrogate" in body["queues without a worker"]
    assert "register_bundle" in body["bundle"]


def test_a_deployed_bundle_whose_files_are_gone_is_not_ready(client, db):
    DeploymentFactory(bundle=BundleFactory(name="lost"), deployed_at=NOW)

    assert "lost" in client.get(reverse("readyz")).content.decode()


def test_a_web_process_loads_no_torch_and_stays_small():
    code = """
import sys
import psutil
from mirage_web.wsgi import application
from django.urls import get_resolver
get_resolver().url_patterns
import apps.inference.services, apps.inference.tasks, apps.inference.runner
heavy = {"torch", "numpy", "nibabel", "scipy", "transformers"} & set(sys.modules)
assert not heavy, heavy
print(psutil.Process().memory_info().rss / 2**20)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "mirage_web.settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 250
