"""Real workers, killed, stopped, starved and told everything ten times.

The negative control of all this is at the end: without the lease, a killed worker's job is lost.
"""

import os
import signal
import time
from pathlib import Path

import pytest
from celery import current_app
from django.utils import timezone

from apps.inference import services
from apps.inference.models import InferenceRun, PseudoMRI
from apps.jobs import queue
from apps.jobs.models import LOST_REASON, MAX_TRIES, JobState, Worker
from apps.jobs.selectors import unserved_queues
from mirage_web import embedded
from tests.conftest import Workers

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.timeout(240, func_only=True),
]
LEASE_S = 2
QUICK = {"MIRAGE_JOB_LEASE_S": str(LEASE_S), "MIRAGE_SWEEP_EVERY_S": "0.5"}
READY_S, DONE_S = 60, 90
MANY = 3000  # patients: enough for a run to be met in its middle


def request(cohort):
    return services.request_run(cohort=cohort, requested_by=cohort.created_by, now=timezone.now())


@pytest.fixture
def ended(wait_until):
    """Wait until a job has ended, and give it back."""

    def wait(job):
        def final():
            job.refresh_from_db()
            return job.is_final

        wait_until(final, seconds=DONE_S)
        return job

    return wait


@pytest.fixture
def in_the_middle(wait_until):
    """Wait until some of a run's patients are done, and some are not."""

    def wait(run):
        def is_so():
            run.refresh_from_db()
            return run.state == JobState.RUNNING and 0 < run.done < run.total

        wait_until(is_so, seconds=READY_S, every=0.01)

    return wait


def assert_every_patient_has_one_prediction(run):
    assert (run.state, run.reason, run.done) == (JobState.SUCCEEDED, "", run.total)
    patients = list(run.predictions.values_list("patient", flat=True))
    assert len(patients) == len(set(patients)) == run.total


def test_an_uploaded_cohort_is_scored_and_a_pseudo_mri_drawn(
    bundle, people, workers, ended, wait_until, settings
):
    workers.start("surrogate")
    workers.start("decode")
    workers.start("import")
    workers.start("scan")
    workers.start("sweep")
    run = ended(request(people(20)))
    assert_every_patient_has_one_prediction(run)

    prediction = run.predictions.filter(probability__isnull=False).first()
    job = ended(
        services.request_pseudo_mri(
            prediction=prediction, requested_by=run.requested_by, now=timezone.now()
        )
    )

    assert (job.state, job.reason) == (JobState.SUCCEEDED, "")
    assert (Path(settings.MEDIA_ROOT) / job.file).stat().st_size == job.bytes
    wait_until(lambda: unserved_queues() == {"training"}, seconds=READY_S)


def test_a_worker_killed_in_the_middle_of_a_run_loses_nothing_and_doubles_nothing(
    bundle, people, workers, ended, in_the_middle
):
    run = request(people(MANY))
    workers.start("sweep", **QUICK)
    first = workers.start("surrogate", **QUICK)
    in_the_middle(run)
    workers.kill(first)
    killed_at = time.monotonic()
    workers.start("surrogate", **QUICK)

    ended(run)

    assert_every_patient_has_one_prediction(run)
    assert run.attempt == 2
    assert set(run.predictions.values_list("attempt", flat=True)) == {1, 2}
    assert time.monotonic() - killed_at < DONE_S


def test_without_the_lease_the_same_kill_loses_the_run(bundle, people, workers, in_the_middle):
    """The negative control: with a lease that never runs out, nobody takes the run over."""
    off = QUICK | {"MIRAGE_JOB_LEASE_S": "86400"}
    run = request(people(MANY))
    workers.start("sweep", **off)
    first = workers.start("surrogate", **off)
    in_the_middle(run)
    workers.kill(first)
    workers.start("surrogate", **off)

    time.sleep(10 * LEASE_S)

    run.refresh_from_db()
    assert run.state == JobState.RUNNING
    assert run.predictions.count() < run.total


def test_a_worker_told_to_stop_in_the_middle_of_a_run_leaves_it_to_the_next(
    bundle, people, workers, ended, in_the_middle
):
    run = request(people(MANY))
    workers.start("sweep", **QUICK)
    first = workers.start("surrogate", **QUICK)
    in_the_middle(run)
    first.send_signal(signal.SIGTERM)
    first.wait(30)
    workers.start("surrogate", **QUICK)

    assert_every_patient_has_one_prediction(ended(run))


def test_a_worker_that_slept_through_its_lease_doubles_nothing(
    bundle, people, workers, ended, in_the_middle, wait_until
):
    run = request(people(MANY))
    workers.start("sweep", **QUICK)
    sleeper = workers.start("surrogate", **QUICK)
    in_the_middle(run)
    os.killpg(sleeper.pid, signal.SIGSTOP)
    workers.start("surrogate", **QUICK)
    wait_until(lambda: InferenceRun.objects.get(pk=run.pk).attempt == 2, seconds=READY_S)
    os.killpg(sleeper.pid, signal.SIGCONT)

    assert_every_patient_has_one_prediction(ended(run))


def test_a_job_whose_worker_dies_at_every_try_fails_with_the_reason(
    bundle, people, workers, ended, wait_until
):
    run = request(people(MANY))
    workers.start("sweep", **QUICK)
    for attempt in range(1, MAX_TRIES + 1):
        worker = workers.start("surrogate", **QUICK)
        wait_until(
            lambda attempt=attempt: InferenceRun.objects.get(pk=run.pk).attempt == attempt,
            seconds=READY_S,
            every=0.005,
        )
        workers.kill(worker)

    ended(run)

    assert (run.state, run.reason) == (JobState.FAILED, LOST_REASON)


def test_the_same_message_ten_times_to_two_workers_gives_one_result(
    bundle, people, workers, ended, wait_until, broker
):
    run = request(people(300))
    for _ in range(9):
        queue.send(run)
    assert broker.llen(InferenceRun.QUEUE) == 10
    workers.start("surrogate")
    workers.start("surrogate")

    ended(run)
    wait_until(lambda: not broker.llen(InferenceRun.QUEUE), seconds=READY_S)

    assert_every_patient_has_one_prediction(run)
    assert run.attempt == 1


@pytest.fixture
def own_broker(tmp_path, settings):
    """A broker that this test may stop, and workers that use it."""
    before = current_app.conf.broker_url
    server = embedded.Valkey(tmp_path / "broker")
    url = embedded.broker_url(tmp_path / "broker")
    settings.CELERY_BROKER_URL = url
    settings.MIRAGE_BROKER_PROBE_URL = url.replace("redis+socket://", "unix://")
    _point_celery_at(url)
    yield server
    _point_celery_at(before)
    server.stop()


def _point_celery_at(url):
    """As if this process had just started with that broker."""
    current_app.conf.broker_url = url
    current_app._after_fork()


@pytest.fixture
def their_workers(own_broker, worker_environment, settings, tmp_path):
    """Workers of that broker."""
    environment = worker_environment | {"REDIS_URL": settings.CELERY_BROKER_URL}
    pool = Workers(environment, tmp_path / "workers")
    yield pool
    pool.stop_all()


def test_what_was_asked_for_while_the_broker_was_away_is_done_when_it_is_back(
    bundle, people, own_broker, their_workers, ended
):
    cohort = people(5)
    began = time.monotonic()
    run = request(cohort)
    assert time.monotonic() - began < 3

    own_broker.start()
    their_workers.start("sweep", **QUICK)
    their_workers.start("surrogate", **QUICK)

    assert_every_patient_has_one_prediction(ended(run))


def test_a_broker_killed_with_jobs_queued_loses_none_and_workers_go_on_without_a_restart(
    bundle, people, own_broker, their_workers, ended, wait_until
):
    own_broker.start()
    their_workers.start("sweep", **QUICK)
    their_workers.start("surrogate", **QUICK)
    wait_until(lambda: Worker.objects.count() == 2, seconds=READY_S)
    runs = [request(people(40, seed=seed)) for seed in range(10)]
    own_broker.kill()
    time.sleep(2)
    own_broker.start()
    runs.append(request(people(5, seed=99)))  # from a web process whose connections broke too

    for run in runs:
        assert_every_patient_has_one_prediction(ended(run))


def test_a_cancelled_run_stops_and_its_worker_takes_the_next(
    bundle, people, workers, ended, in_the_middle
):
    first, second = request(people(MANY)), people(5, seed=2)
    workers.start("surrogate", **QUICK)
    in_the_middle(first)
    services.cancel_run(run=first)

    assert_every_patient_has_one_prediction(ended(request(second)))
    first.refresh_from_db()
    assert first.state == JobState.CANCELLED
    assert first.predictions.count() < first.total
    assert not PseudoMRI.objects.exists()
