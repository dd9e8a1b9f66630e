"""The viewer: which side is which, its keys, its mark, and what stands in for it."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import expect

from tests.browser.conftest import drawn, launch
from tests.browser.test_main_job import share_of_magenta
from tests.inference.world import make_world


@pytest.fixture
def world(transactional_db, settings):
    return make_world(settings.MEDIA_ROOT)


@pytest.fixture
def viewer(page, world, sign_in):
    """The page of a patient whose volume is bright on the right side of the person."""
    sign_in(world.users["owner"])
    page.goto(world.patient.get_absolute_url())
    ready(page)
    return page


def ready(page):
    expect(page.locator("[data-stage]")).to_have_attribute("data-ready", "true")
    drawn(page)


def picture(page):
    return Image.open(BytesIO(page.locator("canvas").screenshot())).convert("RGB")


def press(page, *keys):
    page.locator("canvas").focus()
    for key in keys:
        page.keyboard.press(key)
    drawn(page)


@pytest.mark.parametrize("key", ["a", "c"], ids=["axial", "coronal"])
def test_the_right_of_the_person_is_drawn_on_the_left(viewer, key):
    press(viewer, key, "x")

    grey = picture(viewer).convert("L")
    middle, row = grey.width // 2, grey.height // 2

    assert grey.getpixel((middle - 100, row)) > grey.getpixel((middle + 100, row)) + 40
    assert grey.getpixel((middle + 100, row)) > 40


def test_each_view_is_reached_by_its_key_and_its_button(viewer):
    for key, name in {"a": "Axial", "c": "Coronal", "s": "Sagittal", "3": "3D"}.items():
        press(viewer, key)
        by_key = picture(viewer)
        expect(viewer.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
        press(viewer, "f")
        viewer.get_by_role("button", name=name).click()
        drawn(viewer)
        assert similar(by_key, picture(viewer))


def similar(one, other):
    """Whether two pictures differ in less than one pixel of fifty: the focus ring may."""
    difference = ImageChops.difference(one.convert("L"), other.convert("L"))
    return sum(difference.histogram()[25:]) < one.width * one.height / 50


def test_arrows_move_the_slice_and_the_read_out_says_where(viewer):
    place = viewer.locator("[data-place]")
    expect(place).to_have_text("MNI \u221226, \u221218, \u221214 mm")

    press(viewer, "a", "ArrowUp")
    above = place.text_content()
    press(viewer, "ArrowDown", "ArrowDown")
    below = place.text_content()
    press(viewer, "r")

    assert height_mm(above) > height_mm(below)
    assert height_mm(place.text_content()) == pytest.approx(-14, abs=4)
    expect(viewer.locator("[data-value]")).to_contain_text("value")


def height_mm(words):
    return int(words.replace("\u2212", "-").removesuffix(" mm").split(",")[2])


def test_window_crosshair_zoom_and_reset_by_key(viewer):
    press(viewer, "c")
    before = picture(viewer)
    press(viewer, "w")
    expect(viewer.get_by_label("Window")).to_have_value("wide")
    press(viewer, "x")
    expect(viewer.get_by_role("button", name="Crosshair")).to_have_attribute(
        "aria-pressed", "false"
    )
    press(viewer, "+", "+")
    assert not similar(before, picture(viewer))

    press(viewer, "r")

    assert similar(before, picture(viewer))
    expect(viewer.get_by_label("Window")).to_have_value("brain")


def test_the_keys_are_listed_and_can_be_switched_off(viewer):
    press(viewer, "?")
    dialog = viewer.get_by_role("dialog", name="Keys of the viewer")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Single keys act").uncheck()
    viewer.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    press(viewer, "c")

    expect(viewer.get_by_role("button", name="Coronal")).to_have_attribute("aria-pressed", "false")


def test_single_keys_act_only_while_the_viewer_has_the_focus(viewer):
    viewer.get_by_role("button", name="Run again").focus()
    viewer.keyboard.press("c")

    expect(viewer.get_by_role("button", name="Coronal")).to_have_attribute("aria-pressed", "false")


def test_the_saved_picture_carries_the_mark(viewer):
    with viewer.expect_download() as download:
        viewer.get_by_role("button", name="PNG").click()

    assert download.value.suggested_filename == "pseudo-mri-SYNTHETIC.png"
    saved = Image.open(Path(download.value.path())).convert("RGB")
    assert share_of_magenta(saved.crop((0, 0, saved.width, 18))) > 0.2


def test_the_mark_stays_in_every_view(viewer):
    for key in ("a", "c", "s", "3", "f", "+", "w"):
        press(viewer, key)
        shown = picture(viewer)
        assert share_of_magenta(shown.crop((0, 3, shown.width, 16))) > 0.2, key


def test_leaving_the_page_frees_the_graphics_context(viewer):
    viewer.evaluate("window.gl = document.querySelector('canvas').getContext('webgl2')")

    viewer.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")

    assert viewer.evaluate("window.gl.isContextLost()")


def test_many_visits_in_a_row_all_draw(viewer, world):
    for _ in range(3):
        viewer.goto(world.cohort.get_absolute_url())
        viewer.goto(world.patient.get_absolute_url())
        ready(viewer)

    shown = picture(viewer)
    assert shown.convert("L").getextrema()[1] > 150


def test_without_webgl2_fixed_slices_are_shown_and_the_page_says_why(
    playwright, new_page, sign_in, world
):
    browser = launch(playwright, "--disable-3d-apis")
    page = sign_in(world.users["owner"], page=new_page(browser))

    page.goto(world.patient.get_absolute_url())

    slices = page.get_by_alt_text("slices of the pseudo-MRI, marked SYNTHETIC")
    expect(slices).to_be_visible()
    expect(page.get_by_text("offers no WebGL2")).to_be_visible()
    expect(page.get_by_role("button", name="Axial")).to_be_hidden()
    shown = Image.open(BytesIO(slices.screenshot())).convert("RGB")
    assert share_of_magenta(shown.crop((0, 0, shown.width, 20))) > 0.2
    assert shown.convert("L").getextrema()[1] > 150


def test_a_volume_that_cannot_be_fetched_is_explained(page, world, sign_in, settings):
    (settings.MEDIA_ROOT / world.pseudo_mri.file).unlink()
    sign_in(world.users["owner"])

    page.goto(world.patient.get_absolute_url())

    expect(page.get_by_text("could not be fetched (answer 404)")).to_be_visible()
