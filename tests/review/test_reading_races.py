"""Readers and tabs that save and submit in the same moment."""

from threading import Barrier, Thread

import pytest
from django.db import connection
from django.utils import timezone

from apps.review import blinding
from apps.review.models import Reading
from apps.review.services import reading as services
from tests.factories import NOW
from tests.review.factories import make_open_study
from tests.review.test_reading import COMPLETE

pytestmark = pytest.mark.django_db(transaction=True)


def submit(slot, usability):
    services.submit_reading(
        slot=slot,
        answers={**COMPLETE, "usability": usability},
        revision=0,
        active_ms=0,
        now=timezone.now(),
    )


def test_of_two_tabs_that_submit_at_once_one_is_taken_and_the_other_told():
    study = make_open_study(readers=1, cases_per_arm=2, practice_cases=0, repeat_share=0.0)
    slot = blinding.next_slot(study.readers.get())
    services.begin_reading(slot=slot, now=NOW)
    start, outcomes = Barrier(2), []

    def tab(usability):
        try:
            start.wait()
            submit(slot, usability)
            outcomes.append(usability)
        except services.AlreadySubmittedError:
            outcomes.append("told")
        finally:
            connection.close()

    threads = [Thread(target=tab, args=(usability,)) for usability in (1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    [taken] = [outcome for outcome in outcomes if outcome != "told"]
    assert len(outcomes) == 2
    assert Reading.objects.get(slot=slot).answers["usability"] == taken


def test_readers_of_one_study_save_at_once_without_waiting_for_each_other():
    """With the study or its readers locked by each save, some of these end in a deadlock."""
    study = make_open_study(readers=6, cases_per_arm=2, practice_cases=0, repeat_share=0.0)
    slots = [blinding.next_slot(reader) for reader in study.readers.all()]
    start, problems = Barrier(len(slots)), []

    def read(slot):
        try:
            start.wait()
            for revision in range(8):
                answers = {"comment": f"Look {revision}."}
                services.save_answers(
                    slot=slot, answers=answers, revision=revision, active_ms=0, now=timezone.now()
                )
        except Exception as problem:
            problems.append(str(problem))
        finally:
            connection.close()

    threads = [Thread(target=read, args=(slot,)) for slot in slots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    assert [reading.revision for reading in Reading.objects.all()] == [8] * len(slots)
