"""A web server and a worker of their own for the hostile list, started once a module."""

import shutil

import pytest

from mirage_web import embedded
from tests.factories import CohortFactory


@pytest.fixture(scope="module")
def programs(django_db_setup, tmp_path_factory):
    """Both programs, on the test's database."""
    from django.conf import settings

    from tests.patients.hostile.installation import Installation

    environment = {
        "DATABASE_URL": embedded.url_of(settings.DATABASES["default"]),
        "REDIS_URL": settings.CELERY_BROKER_URL,
        "SECRET_KEY": settings.SECRET_KEY,
        "MIRAGE_IDENTIFIER_KEY": settings.MIRAGE_IDENTIFIER_KEY,
        "ALLOWED_HOSTS": "127.0.0.1",
        "MIRAGE_DATA_DIR": str(settings.MIRAGE_DATA_DIR),
        "MIRAGE_HTTPS": "0",
        "MIRAGE_DEBUG": "1",  # static files without a manifest
    }
    running = Installation(environment, tmp_path_factory.mktemp("installation"))
    yield running
    running.stop()


@pytest.fixture
def installation(programs, transactional_db, settings):
    """A clinician signed in at both programs, with an empty cohort."""
    shutil.rmtree(settings.MIRAGE_DATA_DIR / "imports", ignore_errors=True)
    programs.sign_in(CohortFactory())
    return programs
