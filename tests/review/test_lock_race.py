"""Locking a study while its readers submit: an answer is in before the lock, or refused after."""

import threading

import pytest
from django.db import close_old_connections, connection, transaction
from django.utils import timezone

from apps.accounts.signing import Signature
from apps.review.models import Reading, Slot
from apps.review.services import reading, results
from tests.review.factories import make_open_study

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def study(transactional_db):
    return make_open_study(readers=1, cases_per_arm=2, practice_cases=0, repeat_share=0.0)


def submit_while_locking(study):
    """Lock in one transaction; in the middle of it another thread submits the first case."""
    slot = Slot.objects.select_related("reader__study").get(reader__study=study, position=1)
    answers = {"realism": 1, "usability": 3, "interpretability": 3, "confidence": 3, "guess": 0}
    answers |= {q.name: 0 for q in study.plan.questions if q.kind == "sign"}
    now, outcome, tried = timezone.now(), [], threading.Event()

    def submit():
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_backend_pid()")
                    outcome.append(cursor.fetchone()[0])
                tried.set()
                reading.submit_reading(slot=slot, answers=answers, revision=0, active_ms=0, now=now)
            outcome.append("in")
        except reading.StudyClosedError:
            outcome.append("refused")
        finally:
            tried.set()
            connection.close()

    thread = threading.Thread(target=submit)
    with transaction.atomic():
        signature = Signature(user=study.manager, reason="Enough.", signed_at=now)
        results.lock_study(study=study, signature=signature, missing_accepted=4, now=now)
        thread.start()
        tried.wait(20)
        waits_or_ended(thread, outcome)
    thread.join(20)
    close_old_connections()
    return outcome[-1]


def waits_or_ended(thread, outcome):
    """Until the other thread waits for our lock, or has not needed to."""
    for _ in range(400):
        if not thread.is_alive():
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s))", [outcome[0]])
            if cursor.fetchone()[0]:
                return
        thread.join(0.02)
    pytest.fail("The other thread neither waits nor ends.")


def test_an_answer_that_comes_while_the_study_is_locked_is_refused(study):
    assert submit_while_locking(study) == "refused"
    assert not Reading.objects.exists()


def test_control_without_the_shared_lock_the_answer_slips_in(study, monkeypatch):
    monkeypatch.setattr(reading, "_state", lambda slot: type(study).objects.get(pk=study.pk).state)
    assert submit_while_locking(study) == "in"
    study.refresh_from_db()
    event = study.events.get(kind="locked")
    assert (study.state, event.details["missing"]) == ("locked", 4)
    assert Reading.objects.filter(submitted_at__isnull=False).count() == 1
