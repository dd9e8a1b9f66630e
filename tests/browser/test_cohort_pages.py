"""Pages of a cohort and a patient in Chromium: both themes, the keyboard, the policy, the plots."""

from datetime import timedelta

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from apps.inference.models import InferenceRun
from apps.patients.models import Cohort, Membership, Patient
from tests.browser.conftest import drawn
from tests.factories import (
    NOW,
    CohortFactory,
    FindingFactory,
    InferenceRunFactory,
    PatientFactory,
    PredictionFactory,
    UserFactory,
)
from tests.inference.world import make_world


@pytest.fixture
def world(transactional_db, settings):
    """A cohort of 40 with values to draw, repeated visits and answers."""
    world = make_world(settings.MEDIA_ROOT)
    for number in range(2, 41):
        patient = PatientFactory(cohort=world.cohort, number=number)
        FindingFactory(patient=patient, concept="weight_kg", value=50.0 + number, unit="kg")
        FindingFactory(patient=patient, concept="female", value=float(number % 2), unit="")
        FindingFactory(patient=patient, value=60.0 + number / 2)
        if number % 3:
            PredictionFactory(run=world.run, patient=patient)
    for visit, weight in enumerate((81.0, 78.5, 77.0)):
        FindingFactory(
            patient=world.patient, concept="weight_kg", value=weight, unit="kg",
            observed_at=NOW + visit * timedelta(days=180),
        )  # fmt: skip
    CohortFactory(name="Old intake", created_by=world.users["owner"], archived_at=NOW)
    return world


def addresses(world):
    cohort = world.cohort
    return {
        "archived": reverse("patients:archived-cohorts"),
        "nobody matches": f"{cohort.get_absolute_url()}?pseudonym=P-9999",
        "filtered": f"{cohort.get_absolute_url()}?sex=f&order=-age",
        "inputs": reverse("patients:inputs", args=[cohort.pk]),
        "vitals": reverse("patients:inputs", args=[cohort.pk]) + "?group=vitals",
        "members": reverse("patients:members", args=[cohort.pk]),
        "settings": reverse("patients:cohort-settings", args=[cohort.pk]),
        "export": reverse("inference:export", args=[cohort.pk]),
        "delete cohort": reverse("patients:delete-cohort", args=[cohort.pk]),
        "delete patient": reverse("patients:delete-patient", args=[world.patient.pk]),
        "patient": world.patient.get_absolute_url(),
    }


def test_no_page_of_a_cohort_breaks_a_rule_of_accessibility(page, world, sign_in, axe):
    sign_in(world.users["owner"])
    found = {}
    for name, address in addresses(world).items():
        page.goto(address)
        if "inputs" in address:
            page.wait_for_selector("[data-drawn=true]")
        found[name] = axe(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280, name

    page.goto(addresses(world)["delete patient"])
    page.get_by_role("button", name="Delete P-0001").click()
    expect(page.locator(".error-summary")).to_be_focused()
    found["not confirmed"] = axe(page)

    assert {name: problems for name, problems in found.items() if problems} == {}


def test_a_name_typed_into_the_filter_reaches_no_address(page, world, sign_in):
    sign_in(world.users["owner"])
    page.goto(world.cohort.get_absolute_url())
    requested = []
    page.on("request", lambda request: requested.append(request.url))

    page.get_by_label("Pseudonym").fill("Jane Doe")
    page.keyboard.press("Enter")

    expect(page.locator(".error-summary")).to_contain_text("found by pseudonym alone")
    assert not [url for url in [*requested, page.url] if "Jane" in url]


def test_a_filter_stays_in_the_address_and_with_the_sorting(page, world, sign_in):
    sign_in(world.users["owner"])
    page.goto(world.cohort.get_absolute_url())

    page.get_by_label("Sex").select_option("F")
    page.get_by_label("Age from").fill("70")
    page.keyboard.press("Enter")
    page.wait_for_url("**age_from=70**")
    page.get_by_role("link", name="Age, years").click()
    page.wait_for_url("**order=age**")

    assert "sex=f" in page.url
    ages = page.locator("#patients tbody tr td:nth-child(2)").all_text_contents()
    assert len(ages) > 3
    assert ages == sorted(ages)
    assert int(ages[0]) >= 70


def test_what_is_typed_into_the_filter_survives_the_progress_of_a_run(page, world, sign_in):
    run = InferenceRunFactory(cohort=world.cohort, bundle=world.bundle, number=2, total=40)
    sign_in(world.users["owner"])
    page.goto(world.cohort.get_absolute_url())
    page.get_by_label("Age from").fill("70")
    expect(page.get_by_text("27 of 40 patients")).to_be_visible()

    PredictionFactory(run=run, patient=world.cohort.patients.get(number=3))
    InferenceRun.objects.filter(pk=run.pk).update(done=1)

    expect(page.get_by_text("28 of 40 patients")).to_be_visible()
    expect(page.get_by_label("Age from")).to_have_value("70")
    page.keyboard.press("Enter")
    page.wait_for_url("**age_from=70**")


def test_the_bars_of_a_plot_are_those_of_its_table_and_follow_the_theme(page, world, sign_in):
    sign_in(world.users["owner"])
    page.goto(addresses(world)["vitals"])
    page.wait_for_selector("[data-drawn=true]")
    drawn(page)
    plot = page.locator('[data-distribution="weight_kg"]')
    rows = page.locator("figure:has([data-distribution=weight_kg]) tbody tr").count()

    bars = plot.locator(".bars .point path")
    assert bars.count() == rows > 3
    before = bars.nth(2).evaluate("bar => getComputedStyle(bar).fill")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        """before => getComputedStyle(document.querySelectorAll(
            '[data-distribution="weight_kg"] .bars .point path')[2]).fill !== before""",
        arg=before,
    )


def test_a_member_is_added_and_a_patient_deleted_by_keyboard_alone(page, world, sign_in):
    UserFactory(username="erin")
    sign_in(world.users["owner"])
    page.goto(addresses(world)["members"])
    page.get_by_label("User name").focus()
    page.keyboard.type("erin")
    page.keyboard.press("Enter")
    expect(page.get_by_text("erin is a member now")).to_be_visible()
    assert Membership.objects.filter(user__username="erin", cohort=world.cohort).exists()

    page.goto(addresses(world)["delete patient"])
    page.get_by_label("Type P-0001 to confirm").focus()
    page.keyboard.type("P-0001")
    page.keyboard.press("Enter")
    expect(page.get_by_text("P-0001 is deleted.")).to_be_visible()
    assert not Patient.objects.filter(pk=world.patient.pk).exists()
    assert Cohort.objects.filter(pk=world.cohort.pk).exists()


def test_the_course_of_a_repeated_finding_is_drawn_and_written(page, world, sign_in):
    sign_in(world.users["owner"])
    page.goto(world.patient.get_absolute_url())

    row = page.locator("#over-time tbody tr", has_text="Weight")
    expect(row).to_contain_text("81 kg")
    expect(row).to_contain_text("77 kg")
    assert row.locator("svg .p-line").get_attribute("d").count("L") == 2


def test_the_export_is_downloaded_with_the_answers(page, world, sign_in):
    sign_in(world.users["owner"])
    page.goto(addresses(world)["export"])
    page.get_by_label("newest answer").check()

    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()

    text = download.value.path().read_text(encoding="utf-8-sig")
    assert download.value.suggested_filename.endswith("research-only.csv")
    assert "not a diagnosis: probability of AD" in text.splitlines()[0]
    assert len(text.splitlines()) == 41
