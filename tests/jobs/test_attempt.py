"""One worker's attempt at a job, and every way in which it can end."""

import threading
import time
from datetime import timedelta

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import OperationalError
from django.db.models.functions import Now

from apps.errors import MirageError
from apps.inference.models import InferenceRun
from apps.jobs.attempt import JobCrashedError, carry_out
from apps.jobs.models import JobState
from tests.factories import InferenceRunFactory

pytestmark = pytest.mark.django_db(transaction=True)
runs = InferenceRun.objects


@pytest.fixture
def run():
    return InferenceRunFactory()


def ending_with(error):
    def work(attempt):
        raise error

    return work


def test_work_that_finishes_makes_the_job_a_success(run):
    carry_out(InferenceRun, run.pk, lambda attempt: attempt.finish(done=1))

    run.refresh_from_db()
    assert (run.state, run.done, run.attempt) == (JobState.SUCCEEDED, 1, 1)


def test_the_same_message_ten_times_does_the_work_once(run):
    done = []

    def work(attempt):
        done.append(attempt.number)
        attempt.finish()

    for _ in range(10):
        carry_out(InferenceRun, run.pk, work)

    assert done == [1]


def test_an_error_of_ours_is_the_reason_as_written(run):
    carry_out(InferenceRun, run.pk, ending_with(MirageError("The bundle is gone. Bring it back.")))

    run.refresh_from_db()
    assert (run.state, run.reason) == (JobState.FAILED, "The bundle is gone. Bring it back.")


def test_a_time_limit_is_named_in_the_reason(run):
    carry_out(InferenceRun, run.pk, ending_with(SoftTimeLimitExceeded()))

    run.refresh_from_db()
    assert run.state == JobState.FAILED
    assert str(InferenceRun.SOFT_LIMIT_S) in run.reason


def test_a_bug_fails_the_job_and_quotes_nothing_of_what_it_met(run, caplog):
    with pytest.raises(JobCrashedError) as raised:
        carry_out(InferenceRun, run.pk, ending_with(ValueError("could not read 'Jane Doe'")))

    run.refresh_from_db()
    assert run.state == JobState.FAILED
    assert str(run.pk) in run.reason
    assert str(run.pk) in str(raised.value)
    assert raised.value.__suppress_context__
    assert "Jane" not in f"{run.reason} {raised.value} {caplog.messages}"


def test_a_database_that_went_away_gives_the_job_back(run):
    carry_out(InferenceRun, run.pk, ending_with(OperationalError("server closed the connection")))

    run.refresh_from_db()
    assert (run.state, run.tries) == (JobState.QUEUED, 1)


def test_the_lease_is_kept_alive_for_as_long_as_the_work_takes(run, settings):
    settings.MIRAGE_JOB_LEASE_S = 0.6

    def work(attempt):
        time.sleep(1.5)
        attempt.finish()

    carry_out(InferenceRun, run.pk, work)

    assert runs.get(pk=run.pk).state == JobState.SUCCEEDED


def test_without_the_heartbeat_the_same_work_would_lose_its_lease(run, settings, monkeypatch):
    settings.MIRAGE_JOB_LEASE_S = 0.6
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    monkeypatch.setattr(threading.Thread, "join", lambda self: None)

    def work(attempt):
        time.sleep(1.5)
        attempt.finish()

    carry_out(InferenceRun, run.pk, work)

    assert runs.get(pk=run.pk).state == JobState.RUNNING
    assert runs.requeue_lost() == 1


def test_a_cancelled_job_stops_at_the_next_write_and_nothing_is_written(run):
    def work(attempt):
        runs.cancel(run.pk)
        with attempt.writing() as job:
            job.done = 1
            job.save()
        pytest.fail("a cancelled job was written to")

    carry_out(InferenceRun, run.pk, work)

    run.refresh_from_db()
    assert (run.state, run.done) == (JobState.CANCELLED, 0)


def test_a_worker_that_slept_through_its_lease_writes_nothing(run):
    def slow(attempt):
        runs.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
        carry_out(InferenceRun, run.pk, lambda other: other.finish(done=1))
        attempt.finish(done=0)

    carry_out(InferenceRun, run.pk, slow)

    run.refresh_from_db()
    assert (run.state, run.attempt, run.done) == (JobState.SUCCEEDED, 2, 1)
