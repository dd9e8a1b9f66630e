"""The whole job as a clinician does it: sign in, cohort, import, answers, pseudo-MRI."""

import re
from io import BytesIO

import pytest
from PIL import Image
from playwright.sync_api import expect

from apps.inference.models import Prediction, PseudoMRI
from tests.browser.conftest import PASSWORD, ROOT, drawn
from tests.factories import UserFactory

SAMPLE = ROOT / "static/samples/sample-50-patients.csv"


@pytest.fixture
def clinician(transactional_db):
    user = UserFactory(username="clinician")
    user.set_password(PASSWORD)
    user.save()
    return user


def test_from_the_sign_in_to_the_pseudo_mri(page, clinician, bundle, workers):
    for role in ("import", "surrogate", "decode"):
        workers.start(role)

    sign_in_by_keyboard(page)
    page.get_by_role("link", name="Create a cohort").first.click()
    page.get_by_label("Name").fill("Memory clinic")
    page.get_by_role("button", name="Create the cohort").click()
    page.get_by_role("link", name="Import EHR").first.click()
    import_by_keyboard(page)

    expect(page.get_by_text("50 of 50 rows stored")).to_be_visible()
    page.get_by_role("button", name="Predict for this cohort").click()
    expect(page.get_by_text("50 of 50 patients")).to_be_visible(timeout=60_000)
    assert Prediction.objects.count() == 50

    answered = Prediction.objects.filter(probability__isnull=False, patient__number__lte=25)
    prediction = answered.order_by("patient__number").first()
    page.get_by_role("link", name=prediction.patient.pseudonym, exact=True).click()
    number = page.locator(".answer-number")
    expect(number).to_have_text(re.compile(r"0\.\d\d|under 0\.01|over 0\.99"))
    expect(page.locator(".answer-interval")).to_have_text(re.compile("95 % interval .+ to .+"))

    page.get_by_role("button", name="Decode pseudo-MRI").click()
    expect(page.locator("[data-stage]")).to_have_attribute("data-ready", "true", timeout=60_000)
    assert PseudoMRI.objects.get().state == "succeeded"
    assert_a_brain_is_drawn(page)


def sign_in_by_keyboard(page):
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type("clinician")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()


def import_by_keyboard(page):
    """Three decisions, because every column of the sample is known: read, check, import."""
    file = page.get_by_label("Choose a file or drop it here")
    for _ in range(20):
        page.keyboard.press("Tab")
        if file.evaluate("element => element === document.activeElement"):
            break
    expect(file).to_be_focused()
    file.set_input_files(SAMPLE)  # the dialog that Enter opens is the browser's, not the page's
    expect(page.locator("output")).to_contain_text("sample-50-patients.csv")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for button in ("Check the rows", "Import 50 rows"):
        page.get_by_role("button", name=button).focus(timeout=60_000)
        page.keyboard.press("Enter")


def assert_a_brain_is_drawn(page):
    """Pixels, not the absence of errors."""
    page.get_by_role("button", name="Axial").click()
    drawn(page)
    picture = Image.open(BytesIO(page.locator("[data-port=main] canvas").screenshot())).convert(
        "RGB"
    )
    width, height = picture.size
    middle = picture.crop((width // 2 - 60, height // 2 - 60, width // 2 + 60, height // 2 + 60))
    greys = list(middle.convert("L").get_flattened_data())
    assert sum(grey > 60 for grey in greys) > 0.7 * len(greys)
    for corner in ((5, height - 5), (width - 5, height - 5), (5, 60), (width - 5, 60)):
        assert max(picture.getpixel(corner)) < 30
    strip = picture.crop((0, 0, width, 18))
    assert share_of_magenta(strip) > 0.2
    assert share_of_magenta(picture.crop((0, 30, width, height))) < 0.001


def share_of_magenta(picture):
    pixels = list(picture.get_flattened_data())
    return sum(r > 180 and b > 150 and r - g > 40 for r, g, b in pixels) / len(pixels)
