"""A reader at work: what is kept, what is refused and in which words, who sees what."""

import re
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from apps.review import blinding
from apps.review.models import Amendment, ReaderStudy, Reading, StudyEvent
from apps.review.progress import amended_answers
from apps.review.services import reading as services
from tests.factories import NOW
from tests.review.factories import make_open_study

pytestmark = pytest.mark.django_db
JSON = {"Accept": "application/json"}
COMPLETE = {
    "realism": 1,
    "usability": 3,
    "interpretability": 4,
    "confidence": 2,
    "guess": 1,
    "hippocampal_atrophy": "unsure",
    "ventricular_enlargement": 0,
    "cortical_thinning": 1,
    "cues": ["noise", "edges"],
    "comment": "Smooth.",
}


@pytest.fixture(scope="module")
def shared(django_db_setup, django_db_blocker, tmp_path_factory):
    """One study for the whole module, in a transaction that is rolled back after it."""
    media = tmp_path_factory.mktemp("media")
    with django_db_blocker.unblock(), override_settings(MEDIA_ROOT=media), transaction.atomic():
        made = make_open_study(readers=2, cases_per_arm=2, practice_cases=1, repeat_share=0.0)
        with django_db_blocker.block():
            yield made, media
        transaction.set_rollback(True)


@pytest.fixture
def study(shared, settings):
    made, settings.MEDIA_ROOT = shared
    return ReaderStudy.objects.get(pk=made.pk)


@pytest.fixture
def reader(study):
    return study.readers.order_by("number").first()


@pytest.fixture
def slot(reader):
    return blinding.next_slot(reader)


@pytest.fixture
def browser(client, reader):
    client.force_login(reader.user)
    return client


def form(answers=COMPLETE, *, revision=0, active_ms=0):
    fields = {f"answer-{name}": answer for name, answer in answers.items()}
    return {"revision": revision, "active_ms": active_ms, **fields}


def address(slot, what=""):
    return f"/reading/{slot.token}/{what}"


def post(browser, slot, what, fields=None):
    return browser.post(address(slot, what), fields or form(), headers=JSON)


def submit(slot, **changes):
    return services.submit_reading(
        **{"slot": slot, "answers": COMPLETE, "revision": 0, "active_ms": 0, "now": NOW, **changes}
    )


def save(slot, answers, *, revision, active_ms=0, now=NOW):
    return services.save_answers(
        slot=slot, answers=answers, revision=revision, active_ms=active_ms, now=now
    )


def test_answers_are_kept_while_they_are_given_and_found_again_on_the_page(browser, slot):
    browser.get(address(slot))
    told = post(browser, slot, "save/", form({"usability": 4, "cues": ["edges"]})).json()

    assert told["revision"] == 1
    page = browser.get(address(slot)).content.decode()
    assert re.search(r'name="answer-usability" value="4"[^>]* checked', page)
    assert re.search(r'name="answer-cues" value="edges"[^>]* checked', page)
    assert page.count(" checked>") == 2
    assert '<input type="hidden" name="revision" value="1"' in page


def test_submitting_locks_the_case_and_leads_to_the_next(browser, reader, slot):
    response = post(browser, slot, "submit/")

    upcoming = blinding.next_slot(reader)
    assert response.json()["next"] == address(upcoming)
    assert upcoming.position == slot.position + 1
    kept = Reading.objects.get(slot=slot)
    assert kept.answers == COMPLETE
    assert kept.submitted_at is not None


def test_a_form_sent_without_scripts_leads_to_the_next_case_too(browser, reader, slot):
    response = browser.post(address(slot, "submit/"), form())
    assert response.url == address(blinding.next_slot(reader))

    incomplete = browser.post(response.url + "submit/", form({"realism": 1}))
    assert incomplete.status_code == 422
    assert "“Clinical usability” has no answer yet, and 6 more." in incomplete.content.decode()


def test_a_missing_answer_is_named_and_what_was_given_is_kept(browser, slot):
    given = {name: answer for name, answer in COMPLETE.items() if name != "confidence"}
    response = post(browser, slot, "submit/", form(given))

    assert response.status_code == 422
    assert response.json()["field"] == "answer-confidence"
    assert "“Confidence in these answers” has no answer yet." in response.json()["problem"]
    assert Reading.objects.get(slot=slot).answers == given


def test_what_a_question_does_not_offer_is_refused_in_plain_words(browser, slot):
    wrong = [
        ("usability", "6", "Choose one of 1, 2, 3, 4, 5."),
        ("usability", "3; DROP", "is no answer"),
        ("usability", "9" * 5000, "is no answer"),
        ("hippocampal_atrophy", "perhaps", "Choose one of 0, 1, unsure."),
        ("cues", ["telepathy"], "what was ticked"),
        ("comment", "x" * 2001, "at most 2,000 characters. You wrote 2,001."),
        ("comment", "a\0b", "is no answer"),
    ]
    for name, value, said in wrong:
        response = post(browser, slot, "save/", form({name: value}))
        assert response.status_code == 422
        assert said in response.json()["problem"]
        assert response.json()["field"] == f"answer-{name}"
    assert not Reading.objects.filter(slot=slot, revision__gt=0).exists()


def test_a_double_click_is_one_submission(browser, slot):
    first = post(browser, slot, "submit/").json()
    again = post(browser, slot, "submit/")

    assert (again.status_code, again.json()["next"]) == (200, first["next"])
    assert Reading.objects.count() == 1


def test_a_second_tab_learns_that_the_case_moved_on_and_gets_the_newer_answers(browser, slot):
    browser.get(address(slot))
    post(browser, slot, "save/", form({"usability": 4}))
    behind = post(browser, slot, "save/", form({"usability": 2}))

    told = behind.json()
    assert behind.status_code == 409
    assert "changed in another tab" in told["problem"]
    assert told["answers"] == {"answer-usability": 4}
    kept = post(browser, slot, "save/", form({"usability": 2}, revision=told["revision"]))
    assert kept.json()["revision"] == 2
    assert Reading.objects.get(slot=slot).answers == {"usability": 2}


def test_a_save_whose_response_was_lost_can_be_sent_again(browser, slot):
    browser.get(address(slot))
    assert post(browser, slot, "save/", form({"usability": 4})).json()["revision"] == 1
    assert post(browser, slot, "save/", form({"usability": 4})).json()["revision"] == 1


def test_after_submission_nothing_is_saved_and_the_other_tab_is_told(browser, reader, slot):
    post(browser, slot, "submit/")

    for what in ("save/", "submit/"):
        late = post(browser, slot, what, form({**COMPLETE, "usability": 1}))
        assert late.status_code == 409
        assert "It is locked" in late.json()["problem"]
        assert late.json()["next"] == address(blinding.next_slot(reader))
    assert Reading.objects.get(slot=slot).answers == COMPLETE


def test_time_in_view_is_never_more_than_the_server_saw_pass(slot):
    services.begin_reading(slot=slot, now=NOW)
    after = [NOW + timedelta(seconds=s) for s in (10, 20, 15, 40)]

    assert save(slot, {}, revision=0, active_ms=4_000, now=after[0]).active_ms == 4_000
    assert save(slot, {}, revision=0, active_ms=900_000, now=after[1]).active_ms == 14_000
    set_back = save(slot, {}, revision=0, active_ms=900_000, now=after[2])
    assert set_back.active_ms == 14_000  # the server's clock was set back: no time passed
    assert save(slot, {}, revision=0, active_ms=1_000, now=after[3]).active_ms == 14_000


def test_a_case_cannot_be_submitted_before_it_was_looked_at_long_enough():
    study = make_open_study(
        readers=1, cases_per_arm=2, practice_cases=0, repeat_share=0.0, minimum_viewing_s=10
    )
    slot = blinding.next_slot(study.readers.get())
    services.begin_reading(slot=slot, now=NOW)

    with pytest.raises(services.NotYetError, match=r"asks for 10 s .* 4 s are to go") as refused:
        submit(slot, active_ms=6_500, now=NOW + timedelta(seconds=8))
    assert refused.value.wait_s == 4
    with pytest.raises(services.NotYetError):  # the page claims more than the server saw
        submit(slot, active_ms=60_000, revision=1, now=NOW + timedelta(seconds=9))
    assert submit(slot, active_ms=10_500, revision=1, now=NOW + timedelta(seconds=15)).submitted_at


def test_cases_are_read_in_their_frozen_order(browser, slot):
    ahead = blinding.slot_after(slot)

    assert browser.get(address(ahead)).url == address(slot)
    early = post(browser, ahead, "submit/")
    assert early.status_code == 409
    assert "earlier case" in early.json()["problem"]
    assert browser.get(address(ahead, "case.nii")).status_code == 200  # fetched ahead of time


def test_a_submitted_case_can_be_looked_at_and_amended_with_a_reason(browser, slot):
    post(browser, slot, "submit/")
    fields = {"question": "usability", "answer-usability": "5", "reason": " Saw the coronal. "}
    assert "amend=usability" in browser.get(address(slot)).content.decode()

    assert browser.post(address(slot, "amend/"), {**fields, "reason": " "}).status_code == 422
    assert browser.post(address(slot, "amend/"), fields).url == address(slot)

    page = browser.get(address(slot)).content.decode()
    assert "submitted as: 3, usable with limits" in page
    kept = Reading.objects.get(slot=slot)
    assert kept.answers == COMPLETE
    assert amended_answers(kept) == {**COMPLETE, "usability": 5}
    assert Amendment.objects.get().reason == "Saw the coronal."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": ""}, "needs a reason"),
        ({"reason": "x" * 1001}, "at most 1,000 characters. You wrote 1,001."),
        ({"question": "taste"}, "no question 'taste'"),
        ({"answer": 3}, "has this answer already"),
    ],
)
def test_an_amendment_that_says_nothing_new_or_not_why_is_refused(slot, changes, said):
    submit(slot)
    wanted = {"question": "usability", "answer": 5, "reason": "Looked again.", **changes}

    with pytest.raises(services.AmendmentError, match=said):
        services.amend_reading(slot=slot, now=NOW, **wanted)
    assert not Amendment.objects.exists()


def test_where_the_protocol_forbids_it_nothing_is_looked_at_again_or_amended(client):
    study = make_open_study(
        readers=1,
        cases_per_arm=2,
        practice_cases=0,
        repeat_share=0.0,
        may_go_back=False,
        may_amend=False,
    )
    reader = study.readers.get()
    slot = blinding.next_slot(reader)
    client.force_login(reader.user)
    post(client, slot, "submit/")

    again = client.get(address(slot))
    assert again.status_code == 403
    assert "does not let you look at a case again" in again.content.decode()
    assert address(slot) not in client.get(f"/reading/study/{study.pk}/").content.decode()
    with pytest.raises(services.AmendmentError, match="allows no amendments"):
        services.amend_reading(slot=slot, question="usability", answer=5, reason="x", now=NOW)


def test_a_closed_study_takes_nothing_more_and_says_so(browser, study, reader, slot):
    post(browser, slot, "submit/")
    upcoming = blinding.next_slot(reader)
    study.state, study.locked_at = "locked", timezone.now()
    study.save()

    for what in ("save/", "submit/"):
        late = post(browser, upcoming, what)
        assert late.status_code == 409
        assert "This study is closed" in late.json()["problem"]
    with pytest.raises(services.StudyClosedError):
        services.amend_reading(slot=slot, question="usability", answer=5, reason="x", now=NOW)
    page = browser.get(address(slot)).content.decode()
    assert "usable with limits" in page
    assert "case.nii" not in page
    assert browser.get(address(upcoming)).url == "/reading/"
    assert "Closed" in browser.get("/reading/").content.decode()
    assert not Reading.objects.filter(slot=upcoming).exists()


def test_nobody_but_the_reader_finds_a_case(client, study, slot):
    other = study.readers.order_by("number").last()
    pages = ["", "case.nii", "case.png"]
    for user in (other.user, study.manager):
        client.force_login(user)
        assert [client.get(address(slot, page)).status_code for page in pages] == [404] * 3
        sent = [post(client, slot, what).status_code for what in ("save/", "submit/", "amend/")]
        assert sent == [404] * 3
    client.force_login(study.manager)
    assert client.get(f"/reading/study/{study.pk}/").status_code == 404
    assert "No study to read" in client.get("/reading/").content.decode()
    assert not Reading.objects.exists()


def test_looking_at_a_case_is_noted_once_and_asking_for_its_voxels_is_not(browser, slot):
    browser.get(address(slot, "case.nii"))
    assert not Reading.objects.exists()
    browser.get(address(slot))
    seen = Reading.objects.get().first_seen_at
    browser.get(address(slot))
    assert Reading.objects.get().first_seen_at == seen


def test_the_worklist_tells_progress_practice_and_time_left(browser, study, reader):
    page = browser.get("/reading/").content.decode()
    assert "0 of 5 cases submitted" in page
    assert "1 practice case first" in page
    assert "known after 3 cases" in page

    for _ in range(3):
        slot = blinding.next_slot(reader)
        services.begin_reading(slot=slot, now=NOW)
        submit(slot, active_ms=90_000, now=NOW + timedelta(seconds=95))

    page = browser.get("/reading/").content.decode()
    assert "3 of 5 cases submitted" in page
    assert "about 3 min left at your pace" in page
    assert "practice case" not in page
    assert address(blinding.next_slot(reader)) in page


def test_after_a_session_a_pause_is_proposed_and_after_the_last_case_the_list_shown(client):
    study = make_open_study(
        readers=1, cases_per_arm=3, practice_cases=0, repeat_share=0.0, cases_per_session=5
    )
    reader = study.readers.get()
    client.force_login(reader.user)
    went = [post(client, blinding.next_slot(reader), "submit/").json()["next"] for _ in range(6)]

    pause = f"/reading/study/{study.pk}/pause/"
    assert went[4] == pause
    assert pause not in went[:4]
    assert went[5] == f"/reading/study/{study.pk}/"
    assert client.get(pause).url == went[5]  # nothing is left to pause from
    page = client.get(went[5]).content.decode()
    assert "You have submitted every case" in page
    assert page.count("Case ") == 6


def test_reading_writes_no_event_that_could_tell_the_manager_by_arm(browser, study, slot):
    before = StudyEvent.objects.count()
    post(browser, slot, "submit/")
    assert StudyEvent.objects.count() == before
