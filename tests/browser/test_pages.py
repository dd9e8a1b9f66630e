"""Every page in both themes: no accessibility violation, nothing wider than the window."""

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from apps.inference.models import InferenceRun, PseudoMRI
from apps.jobs.models import JobState
from tests.factories import (
    InferenceRunFactory,
    PatientFactory,
    PredictionFactory,
    ScanFactory,
    UserFactory,
)
from tests.inference.world import make_world
from tests.patients.scans.cases import registered


@pytest.fixture
def world(transactional_db, settings):
    """A cohort with an answer of every kind."""
    world = make_world(settings.MEDIA_ROOT)
    kinds = ["cn", "uncertain", "outside", "too_few"]
    for number, answer in enumerate(kinds, start=2):
        patient = PatientFactory(cohort=world.cohort, number=number)
        numbers = {} if number < 4 else {"probability": None, "low": None, "high": None}
        PredictionFactory(run=world.run, patient=patient, answer=answer, **numbers)
    registered(world.patient, settings.MEDIA_ROOT, age_years=77)
    ScanFactory(patient=world.patient, number=2)
    ScanFactory(
        patient=world.patient, number=3, state=JobState.FAILED, reason="Its brain overlaps 0.51.",
        finished_at=timezone.now(), head_kept=False, qc={"overlap": 0.51},
    )  # fmt: skip
    PatientFactory(cohort=world.cohort, number=9)
    InferenceRunFactory(
        cohort=world.cohort, bundle=world.bundle, number=2, total=6, state=JobState.FAILED,
        reason="The worker was lost 3 times.", finished_at=timezone.now(), attempt=3, tries=3,
    )  # fmt: skip
    return world


def addresses(world):
    patients = world.cohort.patients.order_by("number")
    return {
        "cohorts": "/",
        "new cohort": reverse("patients:create-cohort"),
        "cohort": world.cohort.get_absolute_url(),
        "import": reverse("patients:start-import", args=[world.cohort.pk]),
        "imported": reverse("patients:import", args=[world.ehr_import.pk]),
        "settings": reverse("patients:cohort-settings", args=[world.cohort.pk]),
        "add a scan": reverse("patients:upload-scan", args=[world.patient.pk]),
        "queue": reverse("inference:queue"),
        "models": reverse("registry:models"),
        "no such page": "/nothing/",
        **{f"patient {patient}": patient.get_absolute_url() for patient in patients},
    }


def test_no_page_breaks_a_rule_of_accessibility(page, world, sign_in, axe):
    page.goto("/sign-in/")
    found = {"sign-in": axe(page)}
    sign_in(world.users["owner"])
    for name, address in addresses(world).items():
        page.goto(address)
        found[name] = axe(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280, name

    assert {name: problems for name, problems in found.items() if problems} == {}


def test_the_first_page_of_a_newcomer_breaks_no_rule(page, transactional_db, sign_in, axe):
    sign_in(UserFactory())

    assert axe(page) == []


def test_the_theme_is_kept_in_this_browser_and_there_before_the_first_paint(page, transactional_db):
    page.goto("/sign-in/")
    theme = page.get_by_role("button", name="Theme")
    theme.click()
    theme.click()
    expect(theme).to_have_text("Theme: dark")

    page.reload(wait_until="commit")
    page.wait_for_selector("body", state="attached")

    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    expect(page.get_by_role("button", name="Theme")).to_have_text("Theme: dark")


def test_a_run_is_watched_without_reloading(page, world, sign_in):
    InferenceRun.objects.filter(number=2).update(state=JobState.QUEUED, reason="", finished_at=None)
    run = InferenceRun.objects.get(number=2)
    sign_in(world.users["owner"])
    page.goto(world.cohort.get_absolute_url())
    expect(page.get_by_text("5 of 6 patients")).to_be_visible()

    PredictionFactory(run=run, patient=world.cohort.patients.get(number=9))
    InferenceRun.objects.filter(pk=run.pk).update(done=1)
    expect(page.locator("#run-line")).to_contain_text("1 of 6")
    expect(page.get_by_text("6 of 6 patients")).to_be_visible()

    InferenceRun.objects.filter(pk=run.pk).update(
        state=JobState.SUCCEEDED, done=6, finished_at=timezone.now()
    )
    expect(page.locator("#run-line")).to_contain_text("Done")
    expect(page.locator("#run-line[hx-get]")).to_have_count(0)


def test_polling_leaves_the_focus_where_it_is(page, world, sign_in):
    InferenceRun.objects.filter(number=2).update(state=JobState.QUEUED, reason="", finished_at=None)
    sign_in(world.users["owner"])
    page.goto(world.cohort.get_absolute_url())
    cancel = page.get_by_role("button", name="Cancel")
    cancel.focus()

    with page.expect_response(lambda response: "/runs/" in response.url):
        pass
    page.wait_for_timeout(200)

    expect(cancel).to_be_focused()


def test_a_decoding_is_watched_until_its_picture_is_drawn(page, world, sign_in):
    job = world.pseudo_mri
    done = {"file": job.file, "sha256": job.sha256, "bytes": job.bytes}
    PseudoMRI.objects.update(
        state=JobState.QUEUED, file="", sha256="", bytes=None, finished_at=None
    )
    sign_in(world.users["owner"])
    page.goto(world.patient.get_absolute_url())
    expect(page.locator("#decode")).to_contain_text("Waiting for a worker")
    drawn_first = page.locator("[data-port=main] [data-port-name]")
    expect(drawn_first).to_have_text("Scan 1")

    PseudoMRI.objects.update(state=JobState.SUCCEEDED, finished_at=timezone.now(), **done)

    expect(drawn_first).to_have_text("Pseudo-MRI")
    expect(page.locator("#decode")).to_be_hidden()
    expect(page.locator("[data-stage]")).to_have_attribute("data-ready", "true")
