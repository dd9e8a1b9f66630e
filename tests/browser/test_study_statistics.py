"""From the lock to Table 3 in Chromium: signed by keys alone, drawn, and no rule broken."""

import re

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from apps.review import analysing
from tests.browser.conftest import PASSWORD
from tests.review.factories import make_open_study
from tests.review.readings import read_study

WORDS = re.compile(r"Difference [+−]?0\.\d\d, 95 % interval .* margin 0\.10")


@pytest.fixture
def study(transactional_db):
    """Two readers, six cases an arm, all read."""
    made = make_open_study(readers=2, cases_per_arm=6, replicates=100)
    return read_study(made, gap=0.3, skill=1.0)


def sign_by_keys(page, password):
    page.get_by_label("Reason").focus()
    page.keyboard.type("All readings are in.")
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def test_a_finished_study_is_locked_unblinded_and_shows_table_3(page, study, sign_in, axe):
    sign_in(study.manager)
    page.goto(reverse("review:statistics", args=[study.pk]))
    page.get_by_role("link", name="Lock the study").click()
    sign_by_keys(page, "a guess")
    expect(page.get_by_role("alert").filter(has_text="Nothing was locked")).to_be_focused()
    assert axe(page) == []
    page.get_by_label("Reason").fill("")
    sign_by_keys(page, PASSWORD)
    expect(page.get_by_text("Locked, and still blind")).to_be_visible()

    page.get_by_role("link", name="Unblind the study").click()
    sign_by_keys(page, PASSWORD)
    expect(page.locator("#analysis-line")).to_contain_text("queued")
    analysing.analyse_study(analysis_id=study.analyses.get().pk)  # as a worker does

    expect(page.get_by_role("heading", name="Ratings by arm")).to_be_visible()  # by itself
    row = page.get_by_role("row").filter(has_text="Realism").first
    expect(row).to_contain_text(".54 / .42")
    expect(row.get_by_role("img")).to_have_attribute("aria-label", WORDS)
    expect(page.locator("[data-study-figures][data-drawn=true]")).to_be_visible()
    assert page.locator(".js-plotly-plot .main-svg").count() >= 5
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280

    page.get_by_role("link", name="Tidy CSV").click()
    with page.expect_download() as download:
        sign_by_keys(page, PASSWORD)
    assert download.value.suggested_filename == f"mirage-study-{study.pk}-ratings.csv"
    page.goto(reverse("review:log", args=[study.pk]))
    expect(page.get_by_role("row").filter(has_text="Exported")).to_contain_text("signed")
    assert axe(page) == []
