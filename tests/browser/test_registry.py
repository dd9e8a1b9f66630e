"""An administrator compares, evaluates, checks gates, promotes and rolls back; workers go on."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from apps.inference.models import InferenceRun
from apps.patients.models import Membership
from apps.registry import engine, selectors, services
from apps.registry.gates.holdouts import folder_of_holdout, hash_of
from apps.registry.models import Evaluation
from ml.evaluation.report import FILES
from tests.browser.conftest import PASSWORD
from tests.registry.cases import another, make_admin, make_holdout

PEOPLE = 40


@pytest.fixture
def admin(transactional_db):
    return make_admin(username="admin")


@pytest.fixture
def candidate(bundle, bundle_folder, tmp_path):
    """The same weights under another card: another version."""
    folder = another(bundle_folder, tmp_path / "candidate", version="candidate", seed=2)
    return services.register_bundle(folder=folder, now=timezone.now())


@pytest.fixture
def holdout(admin, tmp_path):
    """Invented people, frozen beforehand: the freezing has tests of its own."""
    engine.invent_holdout(
        out=tmp_path / "people", people=PEOPLE, spacing_mm=8.0, seed=1, mark="browser1"
    )
    made = make_holdout(
        name="People of May", phantoms=PEOPLE, people=PEOPLE, sha256=hash_of(tmp_path / "people"),
        requested_by=admin,
    )  # fmt: skip
    folder_of_holdout(made.pk).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(tmp_path / "people", folder_of_holdout(made.pk))
    return made


def test_from_comparing_and_evaluating_to_promoting_predicting_and_rolling_back(
    page, admin, candidate, bundle, holdout, people, workers, sign_in, axe
):
    cohort = people(6)
    Membership.objects.create(cohort=cohort, user=admin, role=Membership.Role.CLINICIAN)
    workers.start("surrogate")
    workers.start("training")
    sign_in(admin)

    page.goto(cohort.get_absolute_url())
    page.get_by_role("button", name="Run MIRAGE").click()
    expect(page.get_by_text("6 of 6 patients")).to_be_visible(timeout=60_000)

    page.get_by_role("link", name="Models", exact=True).click()
    expect(page.locator("[data-model-curves]")).to_have_attribute("data-drawn", "true")
    assert axe(page) == []
    for each in (bundle, candidate):
        page.get_by_label(f"Compare {each}").check()
    page.get_by_role("button", name="Compare two versions").click()
    expect(page.get_by_text("Different test people judged them.")).to_be_visible()
    assert axe(page) == []

    evaluate(page, candidate, axe)

    page.goto(f"/models/{candidate.pk}/")
    expect(page.get_by_role("link", name="People of May")).to_be_visible()
    page.get_by_label("Holdout").select_option(label="People of May")
    page.get_by_role("button", name="Check the gates").click()
    expect(page.get_by_role("heading", name="Gate by gate")).to_be_visible(timeout=90_000)
    expect(page.get_by_text("AUC, minus the champion's")).to_be_visible()
    assert axe(page) == []

    page.get_by_role("link", name="Promote candidate").click()
    expect(page.get_by_text(f"same {PEOPLE} people")).to_be_visible()
    assert axe(page) == []
    sign(page, "Promote candidate", "Newer people, and no worse.")
    expect(page.get_by_text("is the champion from now on.")).to_be_visible()
    assert selectors.champion() == candidate

    page.goto(cohort.get_absolute_url())
    expect(page.get_by_text(f"made by model {bundle.version}").first).to_be_visible()
    page.get_by_role("button", name="Run MIRAGE").click()
    expect(page.get_by_text("6 of 6 patients")).to_be_visible(timeout=60_000)
    expect(page.get_by_text(f"made by model {bundle.version}")).to_have_count(0, timeout=60_000)
    assert InferenceRun.objects.order_by("number").last().bundle == candidate

    page.goto("/models/deployments/")
    page.get_by_role("link", name="Roll back to this").click()
    sign(page, f"Roll back to {bundle.version}", "the slope is low.")
    expect(page.get_by_text("is the champion from now on.")).to_be_visible()
    assert selectors.champion() == bundle
    page.goto(cohort.get_absolute_url())
    expect(page.get_by_text("made by model candidate").first).to_be_visible()


def evaluate(page, version, axe):
    """Have a worker evaluate a version; what it found is on the page and in both files."""
    page.goto(f"/models/{version.pk}/")
    page.get_by_label("Evaluate on").select_option(label="People of May")
    page.get_by_label("Quick: beside logistic regression alone").check()
    page.get_by_role("button", name="Evaluate").click()
    expect(page.get_by_role("heading", name="In words")).to_be_visible(timeout=120_000)
    found = Evaluation.objects.get()
    assert found.headline["people"] == PEOPLE
    assert str(found.holdout_id) not in json.dumps(found.view)
    for each in found.view["sections"]:
        title = page.locator(f"#s-{each['id']}").get_by_role("heading", name=each["title"])
        expect(title).to_be_visible()
    expect(page.locator("[data-evaluation]")).to_have_attribute("data-drawn", "true")
    expect(page.locator("[data-figure='roc'] .scatterlayer .trace")).to_have_count(2)
    page.get_by_text("As a table").first.click()
    assert axe(page) == []
    with zipfile.ZipFile(downloaded(page, "Report")) as report:
        assert set(report.namelist()) == set(FILES)
        assert found.view["title"] in report.read("index.html").decode()
        numbers = json.loads(report.read("report.json"))
    assert numbers["bundle"]["auc"] == found.headline["auc"]
    assert set(numbers["others"]) == {"lr"}
    assert json.loads(downloaded(page, "All numbers as JSON").read_text()) == numbers


def downloaded(page, link):
    with page.expect_download() as started:
        page.get_by_role("link", name=link).click()
    assert started.value.suggested_filename.startswith("evaluation-mirage-candidate.")
    return Path(started.value.path())


def sign(page, button, reason):
    """Give the reasons that are asked for, and the password."""
    despite = page.get_by_label("Why it may answer although gates failed")
    if despite.count():
        despite.fill("It has the same weights; the tiny bundle fails its own gates.")
    page.get_by_label("Reason", exact=True).fill(reason)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name=button).click()
