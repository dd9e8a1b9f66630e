"""Messages to workers: nudges that may be lost, late or doubled without harm."""

import json
import socket
import threading
import time
from datetime import timedelta

import pytest
from celery import current_app
from django.db import transaction
from django.db.models.functions import Now

from apps.inference.models import InferenceRun
from apps.jobs import queue, runner
from apps.jobs.models import JobState
from tests.factories import InferenceRunFactory

pytestmark = pytest.mark.django_db(transaction=True)
MOST_SECONDS = 3


@pytest.fixture
def run():
    return InferenceRunFactory()


def point_celery_at(url, settings, monkeypatch):
    settings.MIRAGE_BROKER_PROBE_URL = url
    monkeypatch.setattr(current_app.conf, "broker_url", url)


@pytest.fixture
def stopped_broker(settings, monkeypatch, tmp_path):
    point_celery_at(f"unix://{tmp_path}/nobody.sock", settings, monkeypatch)


@pytest.fixture
def hanging_broker(settings, monkeypatch):
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        point_celery_at(f"redis://127.0.0.1:{server.getsockname()[1]}/0", settings, monkeypatch)
        yield


def sent(broker):
    return [json.loads(message) for message in broker.lrange(InferenceRun.QUEUE, 0, -1)]


def test_a_job_is_sent_only_once_its_row_is_committed(run, broker):
    with transaction.atomic():
        queue.send_on_commit(run)
        assert not sent(broker)

    [message] = sent(broker)
    assert message["headers"]["task"] == InferenceRun.TASK
    assert message["headers"]["kwargsrepr"] == str({"job_id": str(run.pk)})


def test_a_rolled_back_job_is_never_sent(run, broker):
    with transaction.atomic():
        queue.send_on_commit(run)
        transaction.set_rollback(True)

    assert not sent(broker)


@pytest.mark.parametrize("broker_is", ["stopped", "hanging"])
def test_with_the_broker_away_the_job_is_kept_and_the_user_is_answered_soon(
    run, request, broker_is
):
    request.getfixturevalue(f"{broker_is}_broker")
    began = time.monotonic()

    with transaction.atomic():
        queue.send_on_commit(run)

    assert time.monotonic() - began < MOST_SECONDS
    run.refresh_from_db()
    assert (run.state, run.sent_at) == (JobState.QUEUED, None)


def test_the_sweep_sends_what_the_broker_did_not_get(run, broker):
    runner.sweep()

    assert len(sent(broker)) == 1
    run.refresh_from_db()
    assert run.sent_at is not None


def test_the_sweep_sends_again_only_after_a_while(run, broker, settings):
    runner.sweep()
    runner.sweep()
    assert len(sent(broker)) == 1

    long_ago = Now() - timedelta(seconds=settings.MIRAGE_JOB_RESEND_S + 1)
    InferenceRun.objects.update(sent_at=long_ago)
    runner.sweep()

    assert len(sent(broker)) == 2


def test_the_sweep_brings_back_the_job_of_a_lost_worker(run, broker):
    InferenceRun.objects.claim(run.pk, worker="lost", lease=timedelta(seconds=-1))

    runner.sweep()

    run.refresh_from_db()
    assert run.state == JobState.QUEUED
    assert len(sent(broker)) == 1


def test_the_sweep_leaves_a_living_worker_its_job(run, broker):
    InferenceRun.objects.claim(run.pk, worker="alive", lease=timedelta(seconds=60))

    runner.sweep()

    run.refresh_from_db()
    assert run.state == JobState.RUNNING
    assert not sent(broker)


def test_two_sweeps_at_once_bring_a_job_back_once(run, broker):
    InferenceRun.objects.claim(run.pk, worker="lost", lease=timedelta(seconds=-1))
    together = threading.Barrier(2)
    brought_back = []

    def sweep():
        from django.db import connection

        together.wait()
        brought_back.append(InferenceRun.objects.requeue_lost())
        connection.close()

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(brought_back) == [0, 1]
