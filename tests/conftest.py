"""Real servers for every test session: PostgreSQL and Valkey under a folder of its own.

Each pytest process (with pytest-xdist there are several) has its own, so they never meet.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import django
import pytest
import redis
from django.conf import settings
from django.utils import timezone

from mirage_web import embedded, processes

ROOT = Path(__file__).resolve().parent.parent
DATA_DIR = Path(tempfile.mkdtemp(prefix="mirage-tests-"))
(DATA_DIR / "static").mkdir()  # whitenoise warns where nothing was collected

# Before anything reads the settings: no test may touch the data of a demo.
os.environ["DJANGO_SETTINGS_MODULE"] = "mirage_web.settings"
os.environ["MIRAGE_DATA_DIR"] = str(DATA_DIR)
# Tests run side by side: threads that wait for each other would only take turns on the cores.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
django.setup()
# Nobody collects a manifest for tests. Set once: a request of a test's last page may still be
# answered when the next test begins, and would keep a storage that it met in between.
PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"
settings.STORAGES["staticfiles"]["BACKEND"] = PLAIN


def pytest_xdist_setupnodes():
    """Workers start without it, or pytest-django imports `ml` before jaxtyping can check it."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files with a slow test first: else one process would be left alone with one of them."""
    slow = {i.path for i in items if {"slow", "browser"} & {m.name for m in i.iter_markers()}}
    items.sort(key=lambda item: item.path not in slow)


def pytest_unconfigure():
    shutil.rmtree(DATA_DIR, ignore_errors=True)
    shutil.rmtree(embedded.socket_folder(DATA_DIR), ignore_errors=True)


@pytest.fixture(scope="session")
def servers():
    """PostgreSQL and Valkey, embedded unless the environment names others."""
    if not embedded.wanted():
        yield
        return
    with embedded.running(DATA_DIR, durable=False):
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(servers):
    """pytest-django makes its test database as soon as this is done."""


@pytest.fixture(autouse=True)
def _cheap_settings(settings, tmp_path):
    """Faster hashing, and media of each test's own."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def broker(servers, settings):
    """A client of the broker, whose queues are empty at first."""
    with redis.Redis.from_url(settings.MIRAGE_BROKER_PROBE_URL) as client:
        client.flushall()
        yield client


class Workers:
    """Real Celery workers on the test database."""

    def __init__(self, environment, folder):
        self.environment = environment
        self._folder = folder
        self._running = []

    def start(self, role, **environment):
        """A worker process in a session of its own, with what it forks."""
        worker = processes.spawn(
            [
                sys.executable,
                ROOT / "manage.py",
                "worker",
                role,
                "--name",
                f"{role}-{len(self._running)}",
            ],
            log=self._folder / f"{role}.log",
            env=self.environment | environment,
        )
        self._running.append(worker)
        return worker

    def kill(self, worker):
        """kill -9 of a worker and everything it forked, as the kernel's memory killer does."""
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def stop_all(self):
        for worker in self._running:
            with contextlib.suppress(ProcessLookupError):
                processes.stop(worker)
        self._running.clear()

    def log(self, role):
        return (self._folder / f"{role}.log").read_text()


@pytest.fixture
def worker_environment(transactional_db, settings):
    """Environment that leads another process to this test's database, broker and files."""
    database = settings.DATABASES["default"]
    return {
        "DATABASE_URL": embedded.url_of(database),
        "REDIS_URL": settings.CELERY_BROKER_URL,
        "SECRET_KEY": settings.SECRET_KEY,
        "MIRAGE_IDENTIFIER_KEY": settings.MIRAGE_IDENTIFIER_KEY,
        "ALLOWED_HOSTS": "127.0.0.1",
        "MIRAGE_DATA_DIR": str(settings.MIRAGE_DATA_DIR),
        "MEDIA_ROOT": str(settings.MEDIA_ROOT),
        "MIRAGE_BUNDLES_DIR": str(settings.MIRAGE_BUNDLES_DIR),
        "MIRAGE_HTTPS": "0",
    }


@pytest.fixture
def workers(worker_environment, broker, tmp_path):
    """Starts real Celery workers, and stops them after the test."""
    pool = Workers(worker_environment, tmp_path / "workers")
    yield pool
    pool.stop_all()


@pytest.fixture
def wait_until():
    """Wait for something to become true, or fail after some seconds."""

    def wait(condition, *, seconds=30.0, every=0.05):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(every)
        pytest.fail(f"not true within {seconds} s: {condition}")

    return wait


@pytest.fixture(scope="session")
def bundle_folder():
    """A tiny real bundle, trained on phantoms."""
    from tests.bundles import tiny_bundle

    return tiny_bundle(DATA_DIR / "tiny bundle")


@pytest.fixture
def bundle(bundle_folder, db, settings, tmp_path):
    """The tiny bundle, registered and deployed."""
    from apps.registry import services

    settings.MIRAGE_BUNDLES_DIR = tmp_path / "bundles"
    registered = services.register_bundle(folder=bundle_folder, now=timezone.now())
    services.deploy(
        bundle=registered, deployed_by=None, now=timezone.now(), reason="Deployed for a test."
    )
    return registered


@pytest.fixture
def people():
    """A cohort of invented people with findings: `people(50)`."""
    from tests.factories import CohortFactory
    from tests.people import ehr_file, imported

    def make(count, seed=1):
        cohort = CohortFactory()
        imported(cohort, ehr_file(count, seed=seed))
        return cohort

    return make
