"""A reader at the reading page: two cases by keys alone, a reload, a line that breaks, two tabs."""

from io import BytesIO

import pytest
from PIL import Image, ImageStat
from playwright.sync_api import expect

from apps.review import blinding
from apps.review.models import Amendment, Reading
from tests.browser.conftest import drawn
from tests.review.factories import make_open_study

FIRST = ["2", "j", "4", "j", "2", "j", "3", "j", "1", "j", "3", "j", "2"]  # all but one question
NO_WEBGL2 = """
    const ask = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
        return kind === "webgl2" ? null : ask.call(this, kind, ...more);
    };
"""


@pytest.fixture
def reader(transactional_db):
    study = make_open_study(readers=1, cases_per_arm=2, practice_cases=1, repeat_share=0.0)
    return study.readers.get()


@pytest.fixture
def reading(page, reader, sign_in):
    """The page of the first case, opened from the worklist."""
    sign_in(reader.user)
    page.goto("/reading/")
    page.get_by_role("link", name="Start").press("Enter")
    ready(page)
    yield page
    leave(page)


def leave(page):
    """The page saves once more when it is left; that is over before the tables are emptied."""
    page.goto("/reading/")
    page.wait_for_load_state("networkidle")


def ready(page):
    expect(page.locator("[data-stage]")).to_have_attribute("data-ready", "true")
    drawn(page)


def picture(page):
    return Image.open(BytesIO(page.locator("canvas").screenshot())).convert("L")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def saved(page):
    expect(page.locator("[data-saved]")).to_contain_text("Saved")


def test_two_cases_are_read_by_keys_alone_and_one_is_amended(reading, reader, axe):
    page, asked = reading, []
    expect(page.locator("canvas")).to_be_focused()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert axe(page) == []
    before = picture(page)
    quarter = before.crop((0, 0, before.width // 2, before.height // 2))
    assert quarter.getpixel((3, quarter.height - 3)) == 0
    assert 60 < quarter.getpixel((quarter.width // 2 - 20, quarter.height // 2)) < 255
    press(page, "w")
    drawn(page)
    assert ImageStat.Stat(picture(page)).mean != ImageStat.Stat(before).mean

    press(page, "c", "?")
    assert axe(page) == []
    press(page, "Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    press(page, "g", *FIRST)
    saved(page)
    page.wait_for_timeout(400)  # the place is noted when the reader rests
    page.reload()
    ready(page)
    expect(page.get_by_role("button", name="Coronal")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[name=answer-usability][value='4']")).to_be_checked()
    expect(page.locator("[name=answer-ventricular_enlargement][value='1']")).to_be_focused()
    page.get_by_role("button", name="Theme: dark").click()
    assert axe(page) == []

    page.evaluate("window.sameDocument = true")
    expect(page.locator("[data-stage]")).to_have_attribute("data-ahead", "true")
    page.on("request", lambda request: asked.append(request.url))
    press(page, "Control+Enter")
    expect(page.get_by_text("“Cortical thinning” has no answer yet.")).to_be_visible()
    expect(page.locator("[name=answer-cortical_thinning][value='0']")).to_be_focused()
    press(page, "3", "Control+Enter")
    expect(page.get_by_text("Case 2 of 5")).to_be_visible()
    ready(page)
    assert page.evaluate("window.sameDocument")
    assert Reading.objects.get(submitted_at__isnull=False).answers["usability"] == 4
    assert f"{page.url}case.nii" not in asked

    press(page, "g", *FIRST, "j", "1", "Control+Enter")
    expect(page.get_by_text("Case 3 of 5")).to_be_visible()
    page.go_back()  # to the case that is locked now
    expect(page.get_by_text("This case is locked.")).to_be_visible()
    ready(page)
    assert axe(page) == []
    page.get_by_role("link", name="Amend Clinical usability").press("Enter")
    expect(page.locator("#amend [value='4']")).to_be_focused()
    press(page, "ArrowRight", "Tab")
    page.keyboard.type("The coronal slices say otherwise.")
    press(page, "Tab", "Enter")
    expect(page.get_by_text("submitted as: 4, usable with small limits")).to_be_visible()
    assert Amendment.objects.get().answer == 5


def test_nothing_is_lost_when_the_line_breaks_or_a_second_tab_answers(reading, reader, new_page):
    page = reading
    context = page.context
    context.set_offline(True)
    press(page, "g", "1")
    expect(page.locator("[data-saved]")).to_contain_text("Not saved: no connection")
    context.set_offline(False)
    saved(page)
    slot = blinding.next_slot(reader)
    assert Reading.objects.get(slot=slot).answers == {"realism": 1}

    second = context.new_page()
    second.goto(page.url)
    ready(second)
    press(second, "g", "2")
    saved(second)
    press(page, "j", "5")
    expect(page.get_by_text("This case was changed in another tab")).to_be_visible()
    press(page, "Enter")  # the first offer has the focus: take the answers given there
    expect(page.locator("[name=answer-realism][value='0']")).to_be_checked()
    expect(page.locator("[name=answer-usability][value='5']")).not_to_be_checked()
    saved(page)
    assert Reading.objects.get(slot=slot).answers == {"realism": 0}
    second.close()
    page.problems[:] = [line for line in page.problems if "ERR_INTERNET_DISCONNECTED" not in line]


def test_without_webgl2_the_same_voxels_are_shown_as_slices(page, reader, sign_in, axe):
    page.add_init_script(NO_WEBGL2)
    sign_in(reader.user)
    page.goto(f"/reading/{blinding.next_slot(reader).token}/")
    slices = page.get_by_alt_text("Axial, coronal and sagittal slices of the volume")
    expect(slices).to_be_visible()
    expect(page.get_by_text("This browser offers no WebGL2")).to_be_visible()
    expect(slices).to_have_js_property("complete", True)
    shown = Image.open(BytesIO(slices.screenshot())).convert("L")
    assert ImageStat.Stat(shown).stddev[0] > 20
    assert axe(page) == []
    page.get_by_role("radio", name="Yes").check()
    saved(page)
    leave(page)
