"""The states of a job, shown on inference runs."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from apps.inference.models import InferenceRun
from apps.jobs.diagram import mermaid
from apps.jobs.models import FINAL_STATES, LOST_REASON, MAX_TRIES, TRANSITIONS, JobState
from tests.factories import InferenceRunFactory

pytestmark = pytest.mark.django_db
LEASE = timedelta(seconds=30)
runs = InferenceRun.objects


def claim(run, worker="a", lease=LEASE):
    return runs.claim(run.pk, worker=worker, lease=lease)


def expire(run):
    runs.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))


def test_only_one_worker_can_claim_a_job():
    run = InferenceRunFactory()

    assert claim(run, "a") == 1
    assert claim(run, "b") is None


def test_a_job_whose_worker_was_lost_can_be_claimed_again():
    run = InferenceRunFactory()
    claim(run, "a")
    expire(run)

    assert claim(run, "b") == 2
    run.refresh_from_db()
    assert run.worker == "b"


def test_a_worker_that_was_thought_dead_can_no_longer_write():
    run = InferenceRunFactory()
    claim(run, "a")
    expire(run)
    claim(run, "b")

    assert not runs.extend_lease(run.pk, attempt=1, lease=LEASE)
    assert not runs.finish(run.pk, attempt=1)
    assert not runs.fail(run.pk, attempt=1, reason="too late")
    assert runs.finish(run.pk, attempt=2)


def test_a_worker_whose_lease_ran_out_cannot_write_even_if_nobody_took_over():
    run = InferenceRunFactory()
    claim(run)
    expire(run)

    assert not runs.finish(run.pk, attempt=1)


def test_a_lease_is_extended_by_its_holder():
    run = InferenceRunFactory()
    claim(run, lease=timedelta(seconds=5))
    before = runs.get(pk=run.pk).lease_until

    assert runs.extend_lease(run.pk, attempt=1, lease=LEASE)
    assert runs.get(pk=run.pk).lease_until > before


def test_a_job_is_tried_three_times_and_then_fails_with_a_reason():
    run = InferenceRunFactory()
    for _ in range(MAX_TRIES):
        assert claim(run)
        expire(run)
        runs.requeue_lost()

    assert claim(run) is None
    assert runs.fail_lost() == 1
    run.refresh_from_db()
    assert (run.state, run.reason) == (JobState.FAILED, LOST_REASON)


def test_a_retried_job_has_all_its_tries_again_and_a_new_attempt_number():
    run = InferenceRunFactory()
    claim(run)
    runs.fail(run.pk, attempt=1, reason="no luck")

    assert runs.retry(run.pk)
    run.refresh_from_db()
    assert (run.state, run.tries, run.attempt, run.reason) == (JobState.QUEUED, 0, 1, "")
    assert claim(run) == 2


def test_a_running_job_can_be_cancelled_and_its_worker_then_writes_nothing():
    run = InferenceRunFactory()
    claim(run)

    assert runs.cancel(run.pk)
    assert not runs.finish(run.pk, attempt=1)
    assert runs.get(pk=run.pk).state == JobState.CANCELLED


def do(step, run):
    """Try one step on a job in whatever state it is."""
    steps = {
        "claim": lambda: claim(run) is not None,
        "finish": lambda: runs.finish(run.pk, attempt=run.attempt),
        "fail": lambda: runs.fail(run.pk, attempt=run.attempt, reason="no luck"),
        "give back": lambda: runs.give_back(run.pk, attempt=run.attempt),
        "cancel": lambda: runs.cancel(run.pk),
        "retry": lambda: runs.retry(run.pk),
    }
    return steps[step]()


def run_in(state):
    run = InferenceRunFactory()
    if state != JobState.QUEUED:
        claim(run)
    if state in FINAL_STATES:
        {
            JobState.SUCCEEDED: lambda: runs.finish(run.pk, attempt=1),
            JobState.FAILED: lambda: runs.fail(run.pk, attempt=1, reason="no luck"),
            JobState.CANCELLED: lambda: runs.cancel(run.pk),
        }[state]()
    run.refresh_from_db()
    assert run.state == state
    return run


@pytest.mark.parametrize("step", ["claim", "finish", "fail", "give back", "cancel", "retry"])
@pytest.mark.parametrize("state", JobState)
def test_every_step_is_a_transition_of_the_table_or_is_refused(state, step):
    run = run_in(state)

    happened = do(step, run)

    after = runs.get(pk=run.pk).state
    assert ((state, after) in TRANSITIONS) if happened else (after == state)


def test_every_transition_of_the_table_is_in_the_diagram():
    assert all(
        f"{before.label} --> {after.label}: {why}" in mermaid()
        for (before, after), why in TRANSITIONS.items()
    )


@pytest.mark.parametrize(
    "impossible",
    [
        {"state": "paused"},
        {"state": "running"},  # without a lease
        {"state": "running", "lease_until": Now(), "started_at": Now()},  # without a worker
        {"state": "running", "worker": "a", "started_at": Now(), "lease_until": None},
        {"state": "queued", "lease_until": Now()},
        {"state": "succeeded"},  # without an end
        {"state": "queued", "finished_at": Now()},
        {"state": "failed", "finished_at": Now()},  # without a reason
        {"state": "cancelled", "finished_at": Now(), "reason": "no luck"},
        {"tries": MAX_TRIES + 1, "attempt": MAX_TRIES + 1},
        {"tries": 1, "attempt": 0},
    ],
    ids=str,
)
def test_the_database_refuses_an_impossible_job(impossible):
    run = InferenceRunFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        runs.filter(pk=run.pk).update(**impossible)
