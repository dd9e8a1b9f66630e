"""The viewer: which side is which, its keys, its marks, and what stands beside what."""

import re
from io import BytesIO
from pathlib import Path

import nibabel
import numpy
import pytest
from PIL import Image, ImageChops
from playwright.sync_api import expect
from scipy import ndimage

from apps.inference.means import mean_file
from tests.browser.conftest import drawn, launch
from tests.browser.test_main_job import share_of_magenta
from tests.inference.world import make_world, write_volume
from tests.patients.scans.cases import registered

COUNT_CONTEXTS = """
    window.contexts = new Set();
    const ask = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
        const context = ask.call(this, kind, ...more);
        if (kind === "webgl2" && context) window.contexts.add(context);
        return context;
    };
    window.living = () => [...window.contexts].filter((one) => !one.isContextLost()).length;
"""


@pytest.fixture
def world(transactional_db, settings):
    return make_world(settings.MEDIA_ROOT)


@pytest.fixture
def viewer(page, world, sign_in):
    """The page of a patient whose volume is bright on the right side of the person, by itself."""
    sign_in(world.users["owner"])
    page.set_viewport_size({"width": 1000, "height": 900})  # narrow: nothing stands beside it
    page.goto(world.patient.get_absolute_url())
    ready(page)
    return page


@pytest.fixture
def compared(page, world, sign_in, settings):
    """The same, beside the template, a scan and the model's mean."""
    registered(world.patient, settings.MEDIA_ROOT, age_years=77)
    mean = mean_file(world.bundle)
    mean.parent.mkdir(parents=True)
    write_volume(mean)
    page.add_init_script(COUNT_CONTEXTS)
    sign_in(world.users["owner"])
    page.goto(world.patient.get_absolute_url())
    ready(page)
    expect(page.locator("[data-stage]")).to_have_attribute("data-compared", "true")
    return page


def ready(page):
    expect(page.locator("[data-stage]")).to_have_attribute("data-ready", "true")
    drawn(page)


def canvas(page, port="main"):
    return page.locator(f"[data-port={port}] canvas")


def picture(page, port="main"):
    return Image.open(BytesIO(canvas(page, port).screenshot())).convert("RGB")


def press(page, *keys, port="main"):
    canvas(page, port).focus()
    for key in keys:
        page.keyboard.press(key)
    drawn(page)


def greys(page, port="main"):
    """How bright it is on the left and on the right of the middle."""
    grey = picture(page, port).convert("L")
    middle, row = grey.width // 2, grey.height // 2
    return grey.getpixel((middle - 90, row)), grey.getpixel((middle + 90, row))


def test_the_right_of_the_person_is_drawn_on_the_left_until_sides_are_changed(viewer):
    for key in ("a", "c"):
        press(viewer, key)
        left, right = greys(viewer)
        assert left > right + 40
        assert right > 40

    press(viewer, "n")

    left, right = greys(viewer)
    assert right > left + 40
    expect(viewer.get_by_text("Neurological: the right side")).to_be_visible()
    press(viewer, "r")
    expect(viewer.get_by_text("Radiological: the right side")).to_be_visible()


def test_each_view_is_reached_by_its_key_and_its_button_and_keeps_the_mark(viewer):
    for key, name in {"a": "Axial", "c": "Coronal", "s": "Sagittal", "3": "3D"}.items():
        press(viewer, key)
        by_key = picture(viewer)
        assert share_of_magenta(by_key.crop((0, 3, by_key.width, 16))) > 0.2, name
        button = viewer.get_by_role("button", name=name, exact=True)
        expect(button).to_have_attribute("aria-pressed", "true")
        press(viewer, "f")
        button.click()
        drawn(viewer)
        assert similar(by_key, picture(viewer))


def similar(one, other):
    """Whether two pictures differ in less than one pixel of fifty: the focus ring may."""
    difference = ImageChops.difference(one.convert("L"), other.convert("L"))
    return sum(difference.histogram()[25:]) < one.width * one.height / 50


def test_arrows_move_slice_and_crosshair_and_the_read_out_says_where(viewer):
    place = viewer.locator("[data-place]")
    expect(place).to_have_text("MNI \u221226, \u221218, \u221214 mm")
    expect(viewer.locator("[data-voxel]")).to_have_text(re.compile(r"voxel 1[45], 14, 7"))
    expect(viewer.locator("[data-value]")).to_have_text("Pseudo-MRI 0.50")

    press(viewer, "a", "ArrowUp")
    assert placed(place)[2] > -14
    press(viewer, "ArrowDown", "ArrowDown")
    assert placed(place)[2] < -14
    press(viewer, "Shift+ArrowLeft")
    assert placed(place)[0] > -26, "the left of the screen is the right of the person"
    press(viewer, "Shift+ArrowUp")
    assert placed(place)[1] > -18
    press(viewer, "r")
    assert placed(place) == pytest.approx([-26, -18, -14], abs=4)


def placed(place):
    words = place.text_content().replace("\u2212", "-")
    return [int(part) for part in words.removeprefix("MNI ").removesuffix(" mm").split(",")]


def test_window_crosshair_zoom_and_reset_by_key_and_by_drag(viewer):
    press(viewer, "c")
    before = picture(viewer)
    press(viewer, "w")
    expect(viewer.get_by_label("Window")).to_have_value("wide")
    press(viewer, "]", "}")
    expect(viewer.get_by_label("Window")).to_have_value("own")
    shown = viewer.locator("[data-window-range]").text_content()
    box = canvas(viewer).bounding_box()
    viewer.mouse.move(box["x"] + 200, box["y"] + 200)
    viewer.mouse.down(button="right")
    viewer.mouse.move(box["x"] + 300, box["y"] + 260, steps=3)
    viewer.mouse.up(button="right")
    assert viewer.locator("[data-window-range]").text_content() != shown
    press(viewer, "x")
    expect(viewer.get_by_role("button", name="Crosshair")).to_have_attribute(
        "aria-pressed", "false"
    )
    press(viewer, "+", "+")
    assert not similar(before, picture(viewer))

    press(viewer, "r")

    assert similar(before, picture(viewer))
    expect(viewer.get_by_label("Window")).to_have_value("brain")


def test_the_keys_are_listed_can_be_switched_off_and_act_only_in_the_viewer(viewer):
    viewer.get_by_role("button", name="Run again").focus()
    viewer.keyboard.press("c")
    coronal = viewer.get_by_role("button", name="Coronal")
    expect(coronal).to_have_attribute("aria-pressed", "false")

    press(viewer, "?")
    dialog = viewer.get_by_role("dialog", name="Keys of the viewer")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Single keys act").uncheck()
    viewer.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    press(viewer, "c")
    expect(coronal).to_have_attribute("aria-pressed", "false")


def test_ports_look_at_the_same_place_and_only_what_was_generated_is_marked(compared):
    names = compared.locator("[data-port-name]")
    expect(names).to_have_text(["Scan 1", "Model\u2019s mean", "Pseudo-MRI"])
    for port, marked in {"left": False, "mean": True, "main": True}.items():
        shown = picture(compared, port)
        assert (share_of_magenta(shown.crop((0, 3, shown.width, 16))) > 0.2) is marked, port
        assert shown.convert("L").getextrema()[1] > 150, port

    press(compared, "c")
    before = {port: picture(compared, port) for port in ("left", "mean", "main")}
    press(compared, *["ArrowUp"] * 6, "+", "+")
    for port, old in before.items():
        assert not similar(old, picture(compared, port)), port
    below = (0, 30, 400, 500)  # the mark
    assert similar(picture(compared, "mean").crop(below), picture(compared, "main").crop(below))
    expect(compared.locator("[data-value]")).to_contain_text("difference 0.00")


def test_a_difference_is_laid_over_the_pseudo_mri_and_the_reference_can_be_changed(compared):
    press(compared, "c")
    plain = picture(compared)
    press(compared, "d")  # to a scan that is the same: nothing to see
    assert similar(plain, picture(compared))

    compared.get_by_label("with").select_option("Template")
    expect(compared.locator("[data-port=left] [data-port-name]")).to_have_text("Template")
    drawn(compared)
    coloured = picture(compared)
    crosshair = share_of_colour(plain)
    assert share_of_colour(coloured) > crosshair + 0.05
    assert_difference_is_right(compared)
    press(compared, "i", "i", "i", "i", "i", "i")
    assert share_of_colour(picture(compared)) < share_of_colour(coloured)
    press(compared, "d")
    assert share_of_colour(picture(compared)) < crosshair + 0.01


def assert_difference_is_right(page):
    """The page's own arithmetic on two grids, beside scipy's."""
    addresses = page.evaluate(
        """() => [document.querySelector("#decode").dataset.volume,
                  document.querySelector("[data-left]").value]"""
    )
    found = page.evaluate(
        """async (addresses) => {
            const read = async (url) => new MirageVolume(await (await fetch(url)).arrayBuffer());
            const [own, other] = await Promise.all(addresses.map(read));
            return Array.from(new MirageVolume(own.minus(other)).raw);
        }""",
        addresses,
    )
    own, other = (
        nibabel.Nifti1Image.from_bytes(page.request.get(address).body()) for address in addresses
    )
    places = numpy.linalg.inv(other.affine) @ own.affine
    there = ndimage.affine_transform(
        other.get_fdata(), places[:3, :3], places[:3, 3], own.shape, order=1, mode="nearest"
    )
    expected = (own.get_fdata() - there).flatten(order="F")
    assert numpy.abs(expected - found).max() < 1e-3


def share_of_colour(shown):
    """Pixels below the mark that are blue or orange."""
    pixels = list(shown.crop((0, 30, shown.width, shown.height)).get_flattened_data())
    return sum(abs(r - b) > 60 for r, g, b in pixels) / len(pixels)


def test_the_saved_picture_shows_every_port_with_its_name_and_mark(compared):
    with compared.expect_download() as download:
        compared.get_by_role("button", name="PNG").click()

    assert download.value.suggested_filename == "pseudo-mri-SYNTHETIC.png"
    saved = Image.open(Path(download.value.path())).convert("RGB")
    third = saved.width // 3
    strips = [saved.crop((n * third + 20, 30, (n + 1) * third - 20, 44)) for n in range(3)]
    assert [share_of_magenta(strip) > 0.2 for strip in strips] == [False, True, True]
    assert saved.crop((0, 60, third, saved.height)).convert("L").getextrema()[1] > 150


def test_ten_volumes_one_after_another_and_a_page_left_leak_no_context(compared):
    for n in range(10):
        compared.get_by_label("with").select_option(["Template", "Scan 1"][n % 2])
        expect(compared.locator("[data-port=left] [data-port-name]")).to_have_text(
            ["Template", "Scan 1"][n % 2]
        )
    expect(compared.locator("[data-value]")).to_have_text(re.compile("^Scan 1 0.50, "))
    drawn(compared)
    assert picture(compared, "left").convert("L").getextrema()[1] > 150
    assert compared.evaluate("window.living()") == 3

    compared.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")

    assert compared.evaluate("window.living()") == 0


def test_a_scan_is_shown_where_there_is_no_pseudo_mri(page, world, sign_in, settings):
    world.pseudo_mri.delete()
    registered(world.patient, settings.MEDIA_ROOT)
    sign_in(world.users["owner"])
    page.goto(world.patient.get_absolute_url())
    ready(page)

    expect(page.locator("[data-port=main] [data-port-name]")).to_have_text("Scan 1")
    expect(page.get_by_role("button", name="Decode pseudo-MRI")).to_be_visible()
    shown = picture(page)
    assert share_of_magenta(shown) < 0.001
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
