"""How trainings are taken, written down and ended, without the time that a whole one takes."""

import threading
import time
from datetime import timedelta

import psutil
import pytest
from django.db import connection
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.attempt import Attempt, LeaseLostError
from apps.jobs.models import MAX_TRIES, JobState
from apps.registry.models import TrainingEvent, TrainingRun
from apps.registry.training import runner
from apps.registry.training.folder import RunFolder
from apps.registry.training.recorder import MOST_STEPS_A_WRITE, Recorder
from tests.factories import NOW, CohortFactory, FindingFactory, PatientFactory, UserFactory

pytestmark = pytest.mark.django_db
LEASE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _own_folders(settings, tmp_path):
    settings.MIRAGE_DATA_DIR = tmp_path / "data"


@pytest.fixture
def ask():
    """Queue runs on invented people, one after another."""
    admin = UserFactory(role=User.Role.ADMIN)

    def do(phantoms=40, device="cpu"):
        plan = {"profile": "tiny", "seed": 1, "name": "mirage", "pictures": False, "device": "cpu"}
        return TrainingRun.objects.create(
            number=TrainingRun.objects.count() + 1, plan=plan, phantoms=phantoms, device=device,
            requested_by=admin, requested_at=NOW,
        )  # fmt: skip

    return do


def claimed(run):
    return TrainingRun.objects.claim(run.pk, worker="w", lease=LEASE)


def lose(run):
    """Its worker is gone, and the sweep has seen it."""
    past = timezone.now() - timedelta(seconds=1)
    TrainingRun.objects.filter(pk=run.pk).update(lease_until=past)
    TrainingRun.objects.all().requeue_lost()
    TrainingRun.objects.all().fail_lost()
    run.refresh_from_db()


def training_processes():
    children = psutil.Process().children()
    return [each for each in children if "apps.registry.training.child" in each.cmdline()]


def event(kind, step=0, **more):
    return {
        "kind": kind, "stage": "graph", "step": step, "steps": 100, "values": {}, "text": "",
        "file": "",
    } | more  # fmt: skip


def test_a_device_has_one_run_at_a_time_and_the_one_asked_for_first_goes_first(ask):
    first, second, elsewhere = ask(), ask(), ask(device="cuda")
    assert claimed(second) is None
    assert claimed(first) == 1
    assert claimed(second) is None
    assert claimed(elsewhere) == 1
    TrainingRun.objects.fail(first.pk, attempt=1, reason="For a test.")
    assert claimed(second) == 1


def test_the_sweep_sends_only_the_run_whose_turn_it_is(ask):
    first, second = ask(), ask()
    due = TrainingRun.objects.all().unsent(resend_after=timedelta(0))
    assert [run.pk for run in due] == [first.pk]
    claimed(first)
    assert not TrainingRun.objects.all().unsent(resend_after=timedelta(0))
    TrainingRun.objects.cancel(first.pk)
    assert TrainingRun.objects.all().unsent(resend_after=timedelta(0)).get() == second


def test_losses_without_a_new_checkpoint_end_a_run_and_losses_with_one_do_not(ask):
    run = ask()
    for number in range(1, MAX_TRIES + 3):
        attempt = Attempt(TrainingRun.objects.all(), run.pk, number=claimed(run))
        recorder = Recorder(attempt)
        recorder.tell(event("step", step=number))
        recorder.tell(event("saved"))
        recorder.write()
        lose(run)
        assert (run.state, run.tries) == (JobState.QUEUED, 1)
    assert (run.saved_stage, run.saved_step) == ("graph", MAX_TRIES + 2)
    for _ in range(MAX_TRIES - 1):
        claimed(run)
        lose(run)
    assert run.state == JobState.FAILED
    assert "The worker was lost" in run.reason
    assert run.may_be_resumed


def test_of_many_steps_between_two_writes_some_are_kept_and_always_the_last(ask):
    run = ask()
    recorder = Recorder(Attempt(TrainingRun.objects.all(), run.pk, number=claimed(run)))
    recorder.tell(event("stage"))
    for step in range(1, 101):
        recorder.tell(event("step", step=step, values={"loss": float("nan"), "other": 1 / step}))
    recorder.write()
    steps = list(run.events.filter(kind="step").values_list("step", flat=True))
    assert len(steps) == MOST_STEPS_A_WRITE
    assert steps == sorted(steps)
    assert steps[-1] == 100
    assert run.events.filter(kind="stage").exists()
    assert set(run.events.filter(kind="step").last().values) == {"other"}
    run.refresh_from_db()
    assert (run.stage, run.done, run.total) == ("graph", 100, 100)


def test_events_are_written_at_most_twice_a_second(ask, django_assert_num_queries):
    run = ask()
    recorder = Recorder(Attempt(TrainingRun.objects.all(), run.pk, number=claimed(run)))
    recorder.tell(event("step", step=1))
    recorder.write_if_due()
    with django_assert_num_queries(0):
        for step in range(2, 50):
            recorder.tell(event("step", step=step))
            recorder.write_if_due()
    time.sleep(0.55)
    recorder.write_if_due()
    assert run.events.last().step == 49


def test_a_worker_that_was_thought_dead_writes_nothing_more(ask):
    run = ask()
    recorder = Recorder(Attempt(TrainingRun.objects.all(), run.pk, number=claimed(run)))
    lose(run)
    recorder.tell(event("step", step=1))
    with pytest.raises(LeaseLostError):
        recorder.write()
    assert not run.events.exists()


def test_only_the_folder_of_pictures_outlives_what_a_run_needs(ask):
    folder = RunFolder(ask().pk)
    folder.make()
    (folder.work / "examples").mkdir()
    (folder.work / "examples" / "a.png").write_bytes(b"picture")
    (folder.work / "checkpoints").mkdir()
    (folder.work / "checkpoints" / "graph.json").write_text("{}")
    (folder.path / "job.json").write_text("{}")
    assert folder.kept_bytes() == 4
    folder.drop()
    assert folder.kept_bytes() == 0
    assert (folder.work / "examples" / "a.png").exists()


@pytest.mark.django_db(transaction=True)
def test_the_engine_reads_the_snapshot_and_what_it_refuses_ends_the_run_in_its_words(broker, ask):
    cohort = CohortFactory()
    for diagnosis in (0.0, 0.0, 2.0):
        patient = PatientFactory(cohort=cohort)
        for concept, value in (("diagnosis", diagnosis), ("age", 70.0), ("female", 1.0)):
            FindingFactory(patient=patient, concept=concept, value=value)
    run = ask(phantoms=None)
    run.cohorts.add(cohort)
    runner.train(run_id=run.pk)
    run.refresh_from_db()
    assert run.state == JobState.FAILED
    assert "None of the 3 people of the cohort has a T1 scan" in run.reason
    assert (run.snapshot["people"], run.snapshot["ad"], run.snapshot["cn"]) == (3, 1, 2)
    begun = TrainingEvent.objects.filter(run=run, kind="stage").values_list("stage", flat=True)
    assert begun.order_by("seq").first() == "snapshot"


@pytest.mark.django_db(transaction=True)
def test_a_training_that_holds_more_memory_than_it_may_is_stopped_with_the_figure(
    broker, ask, settings
):
    settings.MIRAGE_TRAINING_MEMORY_GB = 0.03
    run = ask()
    runner.train(run_id=run.pk)
    run.refresh_from_db()
    assert "the limit is 0.03 GB" in run.reason
    assert not training_processes()


@pytest.mark.django_db(transaction=True)
def test_a_training_whose_process_is_killed_fails_and_can_be_resumed(broker, ask):
    run = ask()

    def kill():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for child in training_processes():
                child.kill()
                return
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    runner.train(run_id=run.pk)
    killer.join()
    connection.close()
    run.refresh_from_db()
    assert "was killed, most likely because the machine ran out of memory" in run.reason
    assert run.may_be_resumed
