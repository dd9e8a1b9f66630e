"""The import wizard in a real browser: decisions by keyboard alone, problems, both themes."""

import csv
import re

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, Finding, Patient
from tests.factories import CohortFactory

ROWS = 60
FIRST_READING_MS = 240_000  # the worker computes the vectors of all names once an installation
# column: cell of row n
CLINIC = {
    "PatientID": lambda n: f"mc-{n:03d}",
    "Patient name": lambda n: f"Jane Doe {n}",
    "Sex": lambda n: "MF"[n % 2],
    "Age": lambda n: 60 + n % 28,
    "WT_LB": lambda n: 120 + n,
    "8480-6": lambda n: 110 + n,
    "MMSE": lambda n: 18 + n % 12,
    "GAIT_SPD": lambda n: f"{0.6 + n / 100:.2f}",
    "HxDepress": lambda n: ("Yes", "No")[n % 2],
    "zork": lambda n: n % 9,
}
SPOILED = {3: ("Age", "174"), 17: ("8480-6", "1420"), 20: ("WT_LB", "nan"), 41: ("Sex", "7")}


def clinic_file(folder, *, spoiled=()):
    path = folder / "clinic_export.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(CLINIC)
        for n in range(ROWS):
            row = {name: cell(n) for name, cell in CLINIC.items()}
            if n in spoiled:
                column, value = SPOILED[n]
                row[column] = value
            writer.writerow(row.values())
    return path


@pytest.fixture
def wizard(page, transactional_db, workers, sign_in, settings):
    """A signed-in clinician on the first page of the wizard, with a worker for imports."""
    settings.MIRAGE_DATA_DIR.mkdir(exist_ok=True)
    workers.start("import")
    cohort = CohortFactory(name="Memory clinic")
    sign_in(cohort.created_by)
    page.goto(reverse("patients:start-import", args=[cohort.pk]))
    return page


def give(page, path):
    """Choose a file in the field that has the focus; the dialog is the browser's own."""
    page.get_by_label("Choose a file or drop it here").set_input_files(path)
    page.get_by_role("button", name="Read the file").press("Enter")


def tab_to(page, target, *, most=80):
    for _ in range(most):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    expect(target).to_be_focused()


@pytest.mark.slow
def test_columns_are_decided_by_keyboard_alone(wizard, tmp_path):
    page = wizard
    give(page, clinic_file(tmp_path))
    page.wait_for_url(re.compile("/columns/"), timeout=FIRST_READING_MS)
    open_lines = page.locator("tr[data-undecided]")
    expect(open_lines).to_have_count(3)
    expect(page.locator("[data-left]")).to_have_text("3 columns are still to decide")

    # The first line is accepted with another concept, the second and third by single keys.
    choice = page.get_by_label("Concept for HxDepress", exact=True)
    tab_to(page, choice)
    page.keyboard.press("ArrowDown")
    chosen = choice.input_value()
    tab_to(page, page.get_by_role("button", name="Accept the concept for HxDepress"))
    page.keyboard.press("Enter")
    expect(open_lines).to_have_count(2)
    expect(open_lines.last.get_by_role("button").first).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("i")
    expect(open_lines).to_have_count(1)
    expect(open_lines.get_by_role("button").first).to_be_focused()
    page.keyboard.press("i")
    expect(open_lines).to_have_count(0)

    check = page.get_by_role("button", name="Check the rows")
    expect(check).to_be_focused()
    expect(page.locator("#said")).to_contain_text("Every column is decided")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/problems/"))
    button = page.get_by_role("button", name=f"Import {ROWS} rows")
    tab_to(page, button)
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"{ROWS} of {ROWS} rows stored")).to_be_visible()

    assert Patient.objects.count() == ROWS
    assert Finding.objects.filter(concept=chosen).count() == ROWS
    weight = Finding.objects.filter(concept="weight_kg", patient__number=1).get().value
    assert weight == pytest.approx(120 * 0.45359237, rel=1e-4)
    assert "Jane" not in page.content()


@pytest.mark.slow
def test_problems_are_found_filtered_handed_back_and_left_out(wizard, tmp_path):
    page = wizard
    give(page, clinic_file(tmp_path, spoiled=SPOILED))
    page.wait_for_url(re.compile("/columns/"), timeout=FIRST_READING_MS)
    page.get_by_role("button", name="Check the rows").click()
    expect(page.locator(".error-summary")).to_be_focused()
    expect(page.locator(".error-summary")).to_contain_text("3 columns are still to decide")
    page.get_by_role("button", name="Ignore the 3 still to decide").click()
    expect(page.locator("tr[data-undecided]")).to_have_count(0)
    page.get_by_role("button", name="Check the rows").click()
    page.wait_for_url(re.compile("/problems/"))

    expect(page.locator(".error-summary")).to_contain_text(f"4 problems in 4 of {ROWS} rows")
    expect(page.locator(".bad-value")).to_have_text(["174", "1420", "nan", "7"])
    page.locator(".facet").get_by_role("link", name="Out of range").click()
    expect(page.locator(".bad-value")).to_have_text(["174", "1420"])

    with page.expect_download() as download:
        page.get_by_role("link", name="The file with an error column").click()
    with open(download.value.path(), newline="", encoding="utf-8-sig") as file:  # noqa: PTH123
        rows = list(csv.DictReader(file))
    assert [n for n, row in enumerate(rows) if row["error"]] == list(SPOILED)

    page.get_by_role("button", name=f"Import {ROWS - 4} rows, leave 4 out").click()
    expect(page.get_by_text(f"{ROWS - 4} of {ROWS} rows stored")).to_be_visible()
    page.get_by_text("Undo this import").click()
    page.get_by_role("button", name=re.compile("^Remove .* findings and 56 patients")).click()
    expect(page.get_by_text("This import was taken back")).to_be_visible()
    assert not Patient.objects.exists()


@pytest.mark.slow
def test_no_page_of_the_wizard_breaks_a_rule_of_accessibility(wizard, axe, tmp_path):
    """The page fixture fails the test too if a page asks for what the policy forbids."""
    page, found = wizard, {}

    def look(name):
        found[name] = axe(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280, name

    look("file")
    page.get_by_role("button", name="Read the file").click()
    expect(page.locator(".error-summary")).to_be_focused()
    look("no file")
    give(page, clinic_file(tmp_path, spoiled=SPOILED))
    expect(page.locator("#import-line")).to_be_visible()
    look("reading")
    page.wait_for_url(re.compile("/columns/"), timeout=FIRST_READING_MS)
    look("columns")
    page.get_by_role("button", name="Check the rows").click()
    look("undecided")
    page.get_by_role("link", name="Other concept for HxDepress").click()
    look("column")
    page.get_by_label("Search by name").fill("blood")
    expect(page.get_by_role("button", name="Use this: Systolic blood pressure")).to_be_visible()
    look("concepts found")
    page.get_by_role("link", name="Back to the columns").click()
    page.get_by_role("button", name="Ignore the 3 still to decide").click()
    look("decided")
    page.get_by_label("Save this mapping as").check()
    page.get_by_role("button", name="Check the rows").click()
    page.wait_for_url(re.compile("/problems/"))
    look("problems")
    page.get_by_role("button", name=re.compile("^Import")).click()
    expect(page.get_by_text("What comes next")).to_be_visible()
    page.get_by_text("Undo this import").click()
    look("result")
    page.get_by_role("link", name="Import another file").click()
    look("file with earlier imports")
    give(page, clinic_file(tmp_path))
    expect(page.get_by_text("A saved mapping fits")).to_be_visible(timeout=FIRST_READING_MS)
    look("saved mapping")
    page.get_by_role("button", name="Cancel this import").click()
    look("cancelled")
    broken = tmp_path / "header.csv"
    broken.write_text("patient,age\n")
    page.get_by_role("link", name="Import a file").click()
    give(page, broken)
    expect(page.locator(".error-summary")).to_be_focused()
    look("failed")

    assert {name: problems for name, problems in found.items() if problems} == {}


def test_a_step_is_watched_without_reloading(page, transactional_db, sign_in, settings):
    """Without a worker the page waits, and goes on by itself when the step is over."""
    settings.MIRAGE_DATA_DIR.mkdir(exist_ok=True)
    cohort = CohortFactory()
    sign_in(cohort.created_by)
    page.goto(reverse("patients:start-import", args=[cohort.pk]))
    page.set_input_files(
        "#id_file", {"name": "a.csv", "mimeType": "text/csv", "buffer": b"patient,age\na,71\n"}
    )
    page.get_by_role("button", name="Read the file").click()
    expect(page.get_by_text(re.compile("starts (by itself )?when"))).to_be_visible()

    from apps.patients.importing import runner

    runner.carry_out_step(step_id=EhrImport.objects.get().step.pk)

    expect(page.get_by_role("heading", name="match the columns")).to_be_visible()
    assert EhrImport.objects.get().stage == Stage.MAPPING
