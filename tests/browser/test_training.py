"""A training in the browser: launched from the form, watched, cancelled, resumed, finished."""

import re

import pytest
from playwright.sync_api import expect

from apps.accounts.models import User
from apps.jobs.models import JobState
from apps.registry.models import TrainingRun
from tests.factories import UserFactory

pytestmark = pytest.mark.slow
TAKES_MS = 200_000  # all stages of a tiny training, while other tests run
QUICK = {"MIRAGE_JOB_LEASE_S": "5", "MIRAGE_SWEEP_EVERY_S": "0.5"}


@pytest.fixture
def training(page, transactional_db, sign_in, settings, tmp_path, workers):
    """The page of trainings, as an admin sees it, with a worker for them."""
    settings.MIRAGE_BUNDLES_DIR = tmp_path / "bundles"
    workers.environment |= {"MIRAGE_BUNDLES_DIR": str(settings.MIRAGE_BUNDLES_DIR), **QUICK}
    workers.start("sweep")
    workers.start("training")
    sign_in(UserFactory(role=User.Role.ADMIN))
    page.get_by_role("link", name="Training", exact=True).click()
    return page


def points(page):
    """How many points the curves of losses have."""
    return page.evaluate(
        "(document.querySelector('[data-losses]').data || []).reduce((n, t) => n + t.x.length, 0)"
    )


def test_a_training_is_launched_watched_cancelled_resumed_and_finished(training, axe, wait_until):
    page = training
    page.get_by_role("link", name="Choose people and a profile").click()
    page.get_by_label("Invented people (phantoms)").check()
    page.get_by_label("How many invented people").fill("5")
    expect(page.locator("#outlook")).to_contain_text("Mend the marked fields")
    page.get_by_label("How many invented people").fill("40")
    page.get_by_label("Profile").select_option("tiny")
    page.get_by_label("Pictures").uncheck()  # half the time
    expect(page.locator("#outlook")).to_contain_text("under a minute")
    assert axe(page) == []
    page.get_by_role("button", name="Queue the run").click()

    expect(page.get_by_role("heading", name="Training run 1")).to_be_visible()
    expect(page.locator("#training-line")).to_contain_text("Running", timeout=TAKES_MS)
    page.wait_for_selector("[data-losses] .main-svg", timeout=TAKES_MS)
    first = points(page)
    wait_until(lambda: points(page) > first, seconds=TAKES_MS / 1000)
    expect(page.locator("[data-log]")).to_contain_text("autoencoder begins")

    page.get_by_role("button", name="Cancel, keep the checkpoint").click()
    expect(page.locator("#training-line")).to_contain_text("It was cancelled")
    before = TrainingRun.objects.get().events.count()
    assert TrainingRun.objects.get().state == JobState.CANCELLED

    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#training-line")).to_contain_text("It made mirage", timeout=TAKES_MS)
    expect(page.locator("#training-line")).to_contain_text("Resumed. Attempt 2 went on")
    page.wait_for_selector("[data-training][data-drawn=final]")
    assert points(page) > 0
    expect(page.locator("[data-figures]")).to_contain_text(
        re.compile(r"AUC of the surrogate, \d+ test people")
    )
    expect(page.locator("[data-example]").last).to_contain_text("SYNTHETIC")
    assert axe(page) == []
    run = TrainingRun.objects.get()
    assert (run.state, run.attempt) == (JobState.SUCCEEDED, 2)
    assert run.events.count() > before

    page.get_by_role("link", name="New run with the same choices").click()
    expect(page.get_by_label("Profile")).to_have_value("tiny")
