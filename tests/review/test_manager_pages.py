"""The manager's pages: what they show, what they refuse, and how a freeze is watched."""

import pytest
from django.urls import reverse

from apps.review import runner
from apps.review.models import ReaderStudy, StudyFreeze
from apps.review.protocol import Protocol
from ml.data.mri import brain_mask, grid
from tests.factories import UserFactory
from tests.review.factories import make_cohort, make_draft, make_manager, make_radiologist

pytestmark = pytest.mark.django_db


@pytest.fixture
def draft(client):
    study = make_draft(readers=1, cases_per_arm=2, practice_cases=0, repeat_share=0.0)
    client.force_login(study.manager)
    return study


def address(name, study, *more):
    return reverse(f"review:{name}", args=[study.pk, *more])


def posted(protocol, **changes):
    """What a browser sends for a protocol."""
    data = {
        "questions": ",".join(str(n) for n in range(len(protocol.questions))),
        "cases_per_arm": protocol.cases_per_arm,
        "practice_cases": protocol.practice_cases,
        "repeat_percent": 100 * protocol.repeat_share,
        "minimum_viewing_s": protocol.minimum_viewing_s,
        "cases_per_session": protocol.cases_per_session,
        "alpha": protocol.alpha,
        "replicates": protocol.replicates,
        "seed": protocol.seed,
        "spacing_mm": str(protocol.spacing_mm),
        "may_go_back": "on",
        "may_amend": "on",
        "hypotheses": protocol.hypotheses,
        "exclusions": protocol.exclusions,
        "act": "save",
    }
    for n, question in enumerate(protocol.questions):
        data |= {
            f"question-{n}-name": question.name,
            f"question-{n}-text": question.text,
            f"question-{n}-kind": question.kind,
            f"question-{n}-words": "\r\n".join(question.anchors or question.choices),
            f"question-{n}-margin": "" if question.margin is None else question.margin,
            **({f"question-{n}-is_required": "on"} if question.is_required else {}),
        }
    return data | changes


def test_a_manager_without_a_study_is_told_how_to_begin(client):
    client.force_login(make_manager())

    assert "No study yet" in client.get(reverse("review:studies")).content.decode()


def test_a_new_study_starts_with_the_papers_protocol(client):
    client.force_login(make_manager())

    response = client.post(reverse("review:create-study"), {"title": "First"})

    study = ReaderStudy.objects.get()
    assert response.url == address("protocol", study)
    assert study.plan == Protocol()
    assert client.post(reverse("review:create-study"), {"title": " "}).status_code == 422


def test_a_form_that_nobody_touched_changes_nothing(client, draft):
    """What the page shows is what it saves, digit by digit."""
    client.post(address("protocol", draft), posted(draft.plan))

    draft.refresh_from_db()
    assert not draft.events.filter(kind="protocol_changed").exists()
    assert draft.cases.count() == 4


def test_questions_can_be_reworded_moved_removed_and_added(client, draft):
    def post(**changes):
        return client.post(address("protocol", draft), posted(draft.plan, **changes))

    assert post(act="up:1").context["form"].keys.startswith("1,0,2")
    assert post(act="remove:0").context["form"].keys.startswith("1,2")
    assert post(act="add").context["form"].keys.endswith(",10")
    assert "Not saved yet" in post(act="down:0").content.decode()

    post(questions="1,0,2", **{"question-1-text": "Of use?"})
    draft.refresh_from_db()
    assert [q.name for q in draft.plan.questions] == ["usability", "realism", "interpretability"]
    assert draft.plan.questions[0].text == "Of use?"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cases_per_arm": "1"}, "must be 2 to 500. You gave 1."),
        ({"cases_per_arm": ""}, "Cases in each arm is empty. Give a number."),
        ({"repeat_percent": "5"}, "Choose 10% to 20%, or 0"),
        ({"question-1-words": "bad\r\ngood"}, "describes 2 of 5 scale points"),
        ({"question-0-margin": "2"}, "margin of 2"),
        ({"question-0-name": "usability"}, "2 questions are named usability"),
        ({"questions": ""}, "Add at least one"),
    ],
)
def test_what_cannot_be_followed_is_said_at_its_field(client, draft, changes, words):
    response = client.post(address("protocol", draft), posted(draft.plan, **changes))

    assert response.status_code == 422
    assert words in response.content.decode()
    assert response.content.decode().count("<title>Error: ") == 1


def test_the_planner_answers_for_what_is_typed_not_for_what_is_saved(client, draft):
    typed = posted(
        draft.plan,
        cases_per_arm=429,
        **{
            "plan-readers": 1,
            "plan-case_share": 0,
            "plan-reader_by_arm_share": 0,
            "plan-reader_share": 0,
        },
    )

    page = client.post(address("power", draft), typed).content.decode()

    assert "429 ratings an arm" in page
    assert "Large enough" in page
    assert "429 independent ratings an arm are needed: 429 cases an arm for 1 reader." in page
    assert (
        "shares of variance"
        in client.post(address("power", draft), typed | {"plan-readers": 0}).content.decode()
    )


def test_cases_are_drawn_and_their_balance_is_shown(client, draft):
    cohort = make_cohort(draft.manager, real=2, pseudo=2, name="Second clinic")

    response = client.post(address("cases", draft), {"cohorts": [cohort.pk]}, follow=True)

    page = response.content.decode()
    assert {case.patient.cohort for case in draft.cases.all()} == {cohort}
    assert "Alzheimer disease" in page
    assert "4 cases are drawn" in page


def test_each_cohort_says_what_it_has_to_draw_from(client, draft):
    make_cohort(draft.manager, real=3, pseudo=1, name="Second clinic")

    page = client.get(address("cases", draft)).content.decode()

    assert "2 scans, 2 pseudo-MRIs" in page
    assert "3 scans, 1 pseudo-MRI<" in page
    assert page.count(" checked") == 1


def test_too_few_volumes_are_told_and_the_old_draw_stays(client, draft):
    cohort = make_cohort(draft.manager, real=1, pseudo=2, name="Small clinic")

    response = client.post(address("cases", draft), {"cohorts": [cohort.pk]})

    assert response.status_code == 422
    assert "needs 2 cases; 1 people" in response.content.decode()
    assert draft.cases.count() == 4


def test_a_cohort_of_others_is_no_choice(client, draft):
    foreign = make_cohort(make_manager(), real=2, pseudo=2, name="Elsewhere")

    assert client.post(address("cases", draft), {"cohorts": [foreign.pk]}).status_code == 422
    assert b"Elsewhere" not in client.get(address("cases", draft)).content


def test_readers_are_invited_by_name_and_removed(client, draft):
    friend = make_radiologist(username="weber")

    page = client.post(address("readers", draft), {"username": "weber"}, follow=True)
    assert "weber is reader 2" in page.content.decode()
    assert draft.readers.get(number=2).user == friend
    client.post(address("remove-reader", draft, 2))
    assert draft.readers.count() == 1
    for name, words in (("nobody", "There is no account nobody"), ("", "Give the user name")):
        response = client.post(address("readers", draft), {"username": name})
        assert response.status_code == 422
        assert words in response.content.decode()


def test_opening_is_watched_until_the_study_is_open(client, draft):
    assert client.post(address("open-study", draft)).url == address("study", draft)
    line = client.get(address("freeze", draft), headers={"HX-Request": "true"})
    assert 'hx-trigger="every 1s"' in line.content.decode()
    assert "Back to draft" in client.get(address("study", draft)).content.decode()

    StudyFreeze.objects.update(state="failed", reason="No room.", finished_at=draft.created_at)
    page = client.get(address("study", draft)).content.decode()
    assert "Failed. No room." in page
    client.post(address("retry-freeze", draft))
    brain_mask(grid(8.0))  # slow once: longer than a lease that nobody extends
    runner.freeze(freeze_id=StudyFreeze.objects.get().pk)

    ended = client.get(address("freeze", draft), headers={"HX-Request": "true"})
    assert ended["HX-Redirect"] == address("study", draft)
    assert "Lock the study" in client.get(address("study", draft)).content.decode()
    assert "SHA-256" in client.get(address("protocol", draft)).content.decode()


def test_what_is_missing_is_listed_before_the_opening(client, draft):
    draft.readers.all().delete()

    assert "Invite at least one" in client.get(address("open-study", draft)).content.decode()
    response = client.post(address("open-study", draft))
    assert response.status_code == 422
    assert "Invite at least one" in response.content.decode()


def test_a_freeze_and_a_draft_can_be_undone_from_their_page(client, draft):
    client.post(address("open-study", draft))
    client.post(address("return-to-draft", draft))
    draft.refresh_from_db()
    assert draft.state == "draft"

    client.post(address("delete-draft", draft))
    assert not ReaderStudy.objects.exists()


def test_the_entry_on_top_is_for_those_who_use_it(client):
    for role, entries in (
        ("study_manager", [True, False]),
        ("radiologist", [False, True]),
        ("clinician", [False, False]),
    ):
        client.force_login(UserFactory(role=role))
        page = client.get("/").content.decode()
        found = [f'href="{reverse(f"review:{name}")}"' in page for name in ("studies", "worklist")]
        assert found == entries, role
