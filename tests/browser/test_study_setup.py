"""Setting a study up in a real browser: pages in both themes, and the planner while one types."""

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from apps.review.models import ReaderStudy
from tests.review.factories import make_draft


@pytest.fixture
def draft(transactional_db):
    return make_draft(cases_per_arm=2, practice_cases=0, repeat_share=0.2)


@pytest.mark.timeout(180)
def test_a_manager_edits_the_protocol_and_sees_what_the_design_can_show(draft, sign_in, page, axe):
    sign_in(draft.manager)
    for name in ("studies", "study", "protocol", "cases", "readers", "open-study"):
        page.goto(reverse(f"review:{name}", args=[] if name == "studies" else [draft.pk]))
        assert axe(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name

    page.goto(reverse("review:protocol", args=[draft.pk]))
    planner = page.locator("#power")
    expect(planner).to_contain_text("4 ratings an arm")
    page.get_by_label("Cases in each arm").fill("215")
    page.get_by_label("Cases in each arm").press("Tab")
    expect(planner).to_contain_text("430 ratings an arm")

    page.get_by_role("button", name="Add a question").click()
    expect(page.get_by_text("Not saved yet.")).to_be_visible()
    new = page.locator("li.question").last
    new.get_by_label("Question", exact=True).fill("Sharp enough?")
    new.get_by_label("Answer", exact=True).select_option("yes_no")
    new.get_by_label("Name in tables").fill("sharp")
    page.get_by_label("Seed").press("Enter")
    expect(page.get_by_text("The protocol is saved.")).to_be_visible()
    plan = ReaderStudy.objects.get(pk=draft.pk).plan
    assert plan.questions[-1].name == "sharp"
    assert plan.cases_per_arm == 215
