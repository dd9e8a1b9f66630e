"""The pages of an import through HTTP: every stage and every button, without JavaScript."""

import csv
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from apps.jobs.models import JobState
from apps.patients.importing import services
from apps.patients.importing.plan import Role
from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, Finding, Patient
from tests.patients.importing.wizard import GOOD

TO_DECIDE = "patient,age,HxDepress,zork\na-1,71,Yes,91\na-2,80,No,104\n"
BAD = "patient,age,weight_kg\na-1,174,61\na-2,80,nan\na-3,71,70\n"


def test_a_file_whose_columns_are_known_needs_three_clicks(wizard):
    wizard.upload(GOOD)
    wizard.work()
    wizard.press("check-import")
    wizard.work()
    wizard.press("commit-import")
    wizard.work()

    page = wizard.see()
    assert wizard.found.stage == Stage.COMMITTED
    assert (Patient.objects.count(), Finding.objects.count()) == (2, 4)
    assert "2 of 2 rows stored" in page
    assert reverse("inference:request-cohort-run", args=[wizard.found.cohort_id]) in page
    assert "a-1" not in page


def test_each_stage_has_its_page_and_the_way_to_it(wizard):
    wizard.upload(GOOD)
    assert "Reading the file" in wizard.see()
    wizard.work()
    assert "match the columns" in wizard.see()
    wizard.press("check-import")
    assert "Checking the rows" in wizard.see()
    wizard.work()
    assert "No problem in the rows" in wizard.see()
    wizard.press("commit-import")
    assert "Importing" in wizard.see()
    wizard.work()
    assert "Findings stored" in wizard.see()
    wizard.press("undo-import")
    assert "Undoing" in wizard.see()
    wizard.work()
    assert "was taken back" in wizard.see()
    assert not Patient.objects.exists()


def test_a_page_of_another_stage_leads_to_the_page_of_this_one(wizard):
    wizard.reach(Stage.MAPPING)
    assert "match the columns" in wizard.see("import-problems")
    wizard.press("check-import")
    wizard.work()
    wizard.press("commit-import")
    assert "Importing" in wizard.see("import-columns")
    assert "Importing" in wizard.see("import-column", 1)


def test_progress_is_polled_until_the_step_is_over(wizard):
    wizard.upload(GOOD)
    poll = {"HTTP_HX_REQUEST": "true"}

    under_way = wizard.client.get(wizard.address("import-status"), **poll)
    wizard.work()
    over = wizard.client.get(wizard.address("import-status"), **poll)

    assert under_way.status_code == 200
    assert 'hx-trigger="every 1s"' in under_way.content.decode()
    assert over.status_code == 286
    assert over["HX-Redirect"] == wizard.address("import")
    assert "hx-trigger" not in over.content.decode()
    assert wizard.client.get(wizard.address("import-status")).status_code == 302


def test_a_column_is_accepted_changed_and_ignored(wizard):
    wizard.reach(Stage.MAPPING, TO_DECIDE)
    number, suggested = wizard.line("HxDepress")
    wizard.press("import-column", number, action="accept", concept=suggested.concept)
    assert wizard.line("HxDepress")[1].decided_by == "person"

    other, _ = wizard.line("zork")
    wizard.press("import-column", other, action="map", concept="glucose")
    wizard.press("import-column", other, action="accept", unit="mmol/L")
    assert wizard.line("zork")[1].concept == "glucose"
    assert wizard.line("zork")[1].unit == "mmol/L"

    response = wizard.press("import-column", number, action="ignore")
    assert response.url == f"{wizard.address('import-columns')}#c-{number}"
    assert wizard.line("HxDepress")[1].role is Role.IGNORED
    assert "Every column is decided" in wizard.see()


def test_a_decision_that_cannot_be_had_is_refused_in_the_line_of_the_column(wizard):
    wizard.reach(Stage.MAPPING, TO_DECIDE)
    number, _ = wizard.line("zork")

    refused = wizard.press("import-column", number, action="map", concept="age")
    nothing = wizard.press("import-column", number, action="map", concept="no-such-concept")

    assert (refused.status_code, nothing.status_code) == (422, 422)
    assert "The column age has this concept already." in refused.content.decode()
    assert "There is no such concept." in nothing.content.decode()
    assert wizard.line("zork")[1].needs_decision


def test_for_htmx_a_refused_decision_is_an_answer_that_can_be_swapped_in(wizard):
    wizard.reach(Stage.MAPPING, TO_DECIDE)
    number, _ = wizard.line("zork")

    response = wizard.client.post(
        wizard.address("import-column", number),
        {"action": "map", "concept": "age"},
        HTTP_HX_REQUEST="true",
    )

    assert response.status_code == 200
    assert "has this concept already" in response.content.decode()


def test_the_rows_are_not_checked_while_a_column_is_undecided(wizard):
    wizard.reach(Stage.MAPPING, TO_DECIDE)

    response = wizard.press("check-import")

    page = response.content.decode()
    number, _ = wizard.line("zork")
    assert response.status_code == 422
    assert "<title>Error:" in page
    assert f'<a href="#c-{number}">zork</a>' in page
    assert wizard.found.stage == Stage.MAPPING


def test_all_suggestions_from_a_score_up_are_accepted_at_once_and_the_rest_ignored(wizard):
    wizard.reach(Stage.MAPPING, TO_DECIDE)
    scores = {c.header: c.score for c in services.mapping_of(ehr_import=wizard.found).columns}
    least = max(scores[header] for header in ("HxDepress", "zork"))

    wizard.press("decide-rest", action="accept", least=str(least))
    left = services.mapping_of(ehr_import=wizard.found).group("to_decide")
    wizard.press("decide-rest", action="ignore")

    assert len(left) == 1
    assert left[0].score < least
    assert not services.mapping_of(ehr_import=wizard.found).to_decide


def test_a_threshold_that_is_no_number_accepts_nothing(wizard):
    wizard.reach(Stage.MAPPING, TO_DECIDE)

    wizard.press("decide-rest", action="accept", least="everything")

    assert services.mapping_of(ehr_import=wizard.found).to_decide == 2


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("blood", "Systolic blood pressure"),
        ("8480-6", "Systolic blood pressure (LOINC 8480-6)"),
        ("ICD10 A00.0", "Cholera due to Vibrio cholerae 01"),
        ("<script>", "&lt;script&gt;"),
        ("nothing of this name", "No concept is called"),
    ],
)
def test_concepts_are_found_by_name_and_code(wizard, query, shown):
    wizard.reach(Stage.MAPPING, TO_DECIDE)
    number, _ = wizard.line("zork")

    assert shown in wizard.see("import-column", number, q=query)


def test_a_column_can_be_given_a_code_that_the_dictionary_does_not_have(wizard):
    wizard.reach(Stage.MAPPING, TO_DECIDE)
    number, _ = wizard.line("zork")

    wizard.press("import-column", number, action="map", concept="icd10cm:A00.0")

    assert wizard.line("zork")[1].concept == "icd10cm:A00.0"
    assert "Cholera due to Vibrio cholerae 01" in wizard.see()


def test_a_column_that_is_not_there_is_not_found(wizard):
    wizard.reach(Stage.MAPPING)

    for number in (3, 10**30):
        assert wizard.client.get(wizard.address("import-column", number)).status_code == 404


def test_what_says_who_a_row_is_about_cannot_be_changed(wizard):
    wizard.reach(Stage.MAPPING)
    number, _ = wizard.line("patient")

    response = wizard.press("import-column", number, action="ignore")

    assert response.status_code == 422
    assert "cannot be changed" in response.content.decode()
    assert 'aria-label="Change patient"' not in wizard.see()
    assert 'aria-label="Change age"' in wizard.see()


def test_a_mapping_is_saved_and_offered_for_the_next_file_of_its_shape(wizard):
    wizard.reach(Stage.MAPPING, TO_DECIDE)
    wizard.press("decide-rest", action="ignore")
    wizard.press("check-import", save="1", save_as="Clinic export")
    wizard.work()
    wizard.press("commit-import")
    wizard.work()

    wizard.reach(Stage.MAPPING, TO_DECIDE.replace("a-", "b-"))
    page = wizard.see()
    assert "A saved mapping fits 4 of the 4 columns." in page
    assert "“Clinic export”, version 1" in page
    assert "Every column is decided" in page

    wizard.press("use-template", template="")
    assert "This cohort has saved mappings" in wizard.see()
    assert services.mapping_of(ehr_import=wizard.found).to_decide

    [template] = services.saved_templates(cohort=wizard.found.cohort)
    wizard.press("use-template", template=template.id)
    assert not services.mapping_of(ehr_import=wizard.found).to_decide


@pytest.mark.parametrize("template", ["no-such", "00000000-0000-4000-8000-000000000000"])
def test_a_saved_mapping_that_is_not_there_is_said(wizard, template):
    wizard.reach(Stage.MAPPING)

    wizard.press("use-template", template=template)

    assert "There is no such saved mapping." in wizard.see()


def test_another_sheet_of_a_workbook_is_read_in_place_of_the_first(wizard):
    from openpyxl import Workbook

    book, out = Workbook(), io.BytesIO()
    book.active.append(["patient", "age"])
    book.active.append(["a-1", 71])
    other = book.create_sheet("Spring")
    other.append(["patient", "age", "sex"])
    other.append(["a-1", 72, "F"])
    book.save(out)
    wizard.reach(Stage.MAPPING, out.getvalue(), "clinic.xlsx")
    assert "The workbook has 2 sheets" in wizard.see()
    first = wizard.found

    response = wizard.press("read-sheet", sheet="Spring")
    wizard.found = EhrImport.objects.get(pk=response.url.split("/")[2])
    wizard.work()

    first.refresh_from_db()
    assert first.stage == Stage.CANCELLED
    assert len(services.mapping_of(ehr_import=wizard.found).columns) == 3


def test_problems_are_shown_with_row_column_value_and_remedy_and_can_be_filtered(wizard):
    wizard.reach(Stage.CHECKED, BAD)
    page = wizard.see()

    assert "There are 2 problems in 2 of 3 rows" in page
    assert '<span class="bad-value">174</span>' in page
    assert '<td class="n">2</td>' in page
    assert "Age lies between 18 and 110 years." in page
    assert "Import 1 row, leave 2 out" in page
    only = wizard.see("import-problems", code="not_finite")
    assert '<span class="bad-value">nan</span>' in only
    assert '<span class="bad-value">174</span>' not in only
    assert "No problem of this kind." in wizard.see("import-problems", code="no_such_kind")


def test_many_problems_are_paged(wizard):
    rows = "".join(f"a-{n},174\n" for n in range(130))
    wizard.reach(Stage.CHECKED, f"patient,age\n{rows}b,70\n")

    second = wizard.see("import-problems", page=2)
    assert second.count('class="bad-value"') == 50
    assert "51 to 100 of 130" in second
    for beyond in ("4", "999999999", "99999999999999999999", "-1", "x", "²"):
        page = wizard.see("import-problems", page=beyond)
        assert 'class="bad-value"' in page


def test_the_file_comes_back_with_its_errors(wizard):
    wizard.reach(Stage.CHECKED, BAD)

    response = wizard.client.get(wizard.address("file-with-errors"))

    table = list(
        csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig")))
    )
    assert response["Content-Disposition"] == 'attachment; filename="clinic-errors.csv"'
    assert "174" in table[0]["error"] or "age" in table[0]["error"]
    assert [bool(row["error"]) for row in table] == [True, True, False]


def test_before_the_check_there_is_no_file_with_errors(wizard):
    wizard.reach(Stage.MAPPING, BAD)

    response = wizard.client.get(wizard.address("file-with-errors"), follow=True)

    assert "its rows were not checked yet" in response.content.decode()


def test_refused_rows_are_left_out_only_if_that_is_asked_for(wizard):
    wizard.reach(Stage.CHECKED, BAD)
    wizard.press("commit-import")
    assert wizard.found.stage == Stage.CHECKED
    assert "2 of 3 rows have errors" in wizard.see()

    wizard.press("commit-import", leave_out_refused="1")
    wizard.work()

    assert Patient.objects.count() == 1
    assert "1 of 3 rows stored" in wizard.see()


def test_if_no_row_is_in_order_nothing_can_be_imported(wizard):
    wizard.reach(Stage.CHECKED, "patient,age\na-1,174\n")

    page = wizard.see()
    wizard.press("commit-import", leave_out_refused="1")

    assert "No row is in order" in page
    assert wizard.address("commit-import") not in page
    assert wizard.found.stage == Stage.CHECKED


def test_after_the_check_columns_can_still_be_changed_and_are_checked_again(wizard):
    wizard.reach(Stage.CHECKED, BAD)
    assert "Back to the problems" in wizard.see("import-columns")
    assert wizard.press("check-import").url == wizard.address("import-problems")

    number, _ = wizard.line("age")
    wizard.press("import-column", number, action="ignore")
    assert wizard.found.stage == Stage.MAPPING
    wizard.press("check-import")
    wizard.work()

    assert "There is 1 problem in 1 of 3 rows" in wizard.see()


@pytest.mark.parametrize("stage", [Stage.ANALYSING, Stage.MAPPING, Stage.CHECKED])
def test_an_import_can_be_cancelled_and_the_file_is_gone(wizard, settings, stage):
    if stage is Stage.ANALYSING:
        wizard.upload(GOOD)
    else:
        wizard.reach(stage)

    wizard.press("cancel-import")

    assert "was cancelled" in wizard.see()
    assert "Nothing of it was stored" in wizard.see()
    assert wizard.found.stage == Stage.CANCELLED


def test_what_is_stored_cannot_be_cancelled(wizard):
    wizard.reach(Stage.COMMITTED)

    wizard.press("cancel-import")

    assert "One that is stored can be undone." in wizard.see()
    assert wizard.found.stage == Stage.COMMITTED


@pytest.mark.parametrize(
    ("press", "title", "lost"),
    [
        (None, "Reading the file has failed", "Nothing has been stored."),
        ("check-import", "Checking the rows has failed", "Nothing has been stored."),
        ("commit-import", "Importing has failed", "Nothing has been stored."),
        ("undo-import", "Undoing has failed", "Nothing has been removed."),
    ],
)
def test_a_failed_step_says_why_and_can_be_tried_again(wizard, press, title, lost):
    before = {
        None: None,
        "check-import": Stage.MAPPING,
        "commit-import": Stage.CHECKED,
        "undo-import": Stage.COMMITTED,
    }[press]
    if before is None:
        wizard.upload(GOOD)
    else:
        wizard.reach(before)
        wizard.press(press)
    wizard.fail()

    page = wizard.see()
    assert "<title>Error:" in page
    assert title in page
    assert "The disk is full." in page
    assert lost in page

    wizard.press("retry-import")
    assert wizard.found.step.state == JobState.QUEUED
    assert 'hx-trigger="every 1s"' in wizard.see()
    wizard.work()
    assert wizard.found.step.state == JobState.SUCCEEDED


def test_after_a_failed_check_the_columns_can_be_changed(wizard):
    wizard.reach(Stage.MAPPING)
    wizard.press("check-import")
    wizard.fail("Reading stopped after 200,000 errors.")
    assert wizard.address("import-columns") in wizard.see()

    page = wizard.see("import-columns")
    assert "Reading stopped after 200,000 errors." in page
    number, _ = wizard.line("age")
    wizard.press("import-column", number, action="ignore")

    assert wizard.found.stage == Stage.MAPPING


def test_nothing_is_retried_that_has_not_failed(wizard):
    wizard.reach(Stage.MAPPING)

    wizard.press("retry-import")

    assert "No step of this import has failed." in wizard.see()


def test_what_depends_on_an_import_keeps_it_from_being_undone(wizard):
    wizard.reach(Stage.COMMITTED)
    first = wizard.found
    wizard.reach(Stage.COMMITTED, "patient,apoe4\na-1,1\n")

    wizard.found = first
    page = wizard.see()
    wizard.press("undo-import")

    assert "It cannot be undone now. A later file added findings" in page
    assert "A later file added findings" in wizard.see()
    assert Patient.objects.count() == 2


def test_a_corrected_file_takes_the_place_of_the_one_with_errors(wizard):
    wizard.reach(Stage.CHECKED, BAD)
    bad = wizard.found
    page = wizard.client.get(
        reverse("patients:start-import", args=[bad.cohort_id]), {"instead_of": bad.pk}
    ).content.decode()
    assert "takes the place of <strong>clinic.csv</strong>" in page

    wizard.upload(GOOD, instead_of=str(bad.pk))

    bad.refresh_from_db()
    assert bad.stage == Stage.CANCELLED
    assert wizard.found != bad


@pytest.mark.parametrize("value", ["", "x", "00000000-0000-4000-8000-000000000000"])
def test_a_made_up_predecessor_is_none(wizard, value):
    assert wizard.upload(GOOD, instead_of=value).status_code == 302


def test_without_a_broker_the_file_is_kept_and_the_page_says_that_it_waits(
    wizard, settings, django_capture_on_commit_callbacks
):
    settings.MIRAGE_BROKER_PROBE_URL = "redis://127.0.0.1:1/0"

    with django_capture_on_commit_callbacks(execute=True):
        wizard.upload(GOOD)

    assert wizard.found.step.sent_at is None
    assert "starts by itself when it is back" in wizard.see()


def test_without_a_worker_the_page_says_that_it_waits(
    wizard, broker, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        wizard.upload(GOOD)

    assert wizard.found.step.sent_at is not None
    assert "No worker for imports is alive." in wizard.see()


def test_a_column_of_many_is_found_on_the_page_of_its_group(wizard):
    codes = [f"ICD10: {letter}{n:02d}" for letter in "EIJK" for n in range(0, 90, 5)]
    header = ",".join(["patient", "age", *codes])
    wizard.reach(Stage.MAPPING, f"{header}\na-1,71,{','.join('1' for _ in codes)}\n")
    view = services.mapping_of(ehr_import=wizard.found)
    name = max(("matched", "to_decide"), key=lambda group: len(view.group(group)))
    count = len(view.group(name))

    page = wizard.see("import-columns")
    whole = wizard.see("import-columns", group=name)

    assert count > 50
    assert f"Show all {count} columns" in page
    assert whole.count('<tr id="c-') == count
    assert "Show all groups" in whole
    assert "Show all groups" not in wizard.see("import-columns", group="no-such")


def test_a_program_gets_the_reason_of_a_refusal_as_json(wizard):
    file = SimpleUploadedFile("x.csv", b"")
    response = wizard.client.post(
        reverse("patients:start-import", args=[wizard.importer.cohort.pk]),
        {"file": file},
        HTTP_ACCEPT="application/json",
    )

    assert response.status_code == 422
    assert response.json()["code"] == "empty"
    assert "Export it again" in response.json()["message"]
