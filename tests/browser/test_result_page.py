"""The result page in Chromium: paths are drawn, keys suffice for a what-if, no rule is broken."""

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from apps.inference.models import Explanation, PseudoMRI, WhatIf
from tests.inference.world import EXPLAINED, make_world


@pytest.fixture
def world(transactional_db, settings):
    """Everything that a result page can show at once."""
    world = make_world(settings.MEDIA_ROOT)
    WhatIf.objects.all().delete()
    PseudoMRI.objects.update(
        cnn_probability=0.64, fused_probability=0.69,
        volumes_ml={"lateral ventricles": 42.0, "brain": 1100.0, "frontal_csf": 60.0},
        donors={"n": 5, "of": 16, "largest_weight": 0.31, "nearness": 0.5},
    )  # fmt: skip
    return world


@pytest.fixture
def without_picture(world):
    """Nothing for the viewer to draw, which takes most of a page's time."""
    PseudoMRI.objects.all().delete()


def test_a_full_result_page_breaks_no_rule_and_draws_its_paths(page, world, sign_in, axe):
    sign_in(world.users["owner"])
    page.goto(world.patient.get_absolute_url())
    expect(page.locator("[data-paths][data-drawn=true]")).to_contain_text("APOE gene")

    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.goto(reverse("inference:performance", args=[world.cohort.pk]))
    assert axe(page) == []


@pytest.mark.usefixtures("without_picture")
def test_a_what_if_is_asked_by_keys_alone_and_its_answer_comes_by_itself(page, world, sign_in, axe):
    sign_in(world.users["owner"])
    page.goto(world.patient.get_absolute_url())
    page.locator("#what-if-concept").focus()
    page.locator("#what-if-concept").select_option("apoe4")
    expect(page.get_by_label("Value")).to_contain_text("Two e4 alleles")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Value")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#what-if-result")).to_contain_text("APOE e4")
    expect(page.locator("#what-if-try")).to_be_focused()

    WhatIf.objects.update(
        state="succeeded", finished_at=timezone.now(), answer="uncertain",
        probability=0.5, low=0.3, high=0.7,
    )  # fmt: skip

    expect(page.locator("#what-if-result")).to_contain_text("0.71 → 0.50")
    assert WhatIf.objects.get().changes == {"apoe4": 2.0}
    assert axe(page) == []


@pytest.mark.usefixtures("without_picture")
def test_a_value_that_cannot_be_is_refused_in_the_panel(page, world, sign_in):
    sign_in(world.users["owner"])
    page.goto(world.patient.get_absolute_url())
    page.get_by_label("Value, years").fill("174")
    page.keyboard.press("Enter")

    expect(page.locator("#what-if [role=alert]")).to_contain_text("You gave 174.")


@pytest.mark.usefixtures("without_picture")
def test_an_explanation_appears_by_itself_when_it_is_there(page, world, sign_in):
    Explanation.objects.update(state="queued", content=None, finished_at=None)
    sign_in(world.users["owner"])
    page.goto(world.patient.get_absolute_url())
    expect(page.get_by_text("Waiting for a worker")).to_be_visible()

    Explanation.objects.update(state="succeeded", content=EXPLAINED, finished_at=timezone.now())

    expect(page.get_by_text("Deletion check passed.")).to_be_visible()
    expect(page.locator("[data-paths][data-drawn=true]")).to_be_visible()
