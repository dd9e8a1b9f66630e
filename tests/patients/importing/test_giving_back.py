"""Problems are found, counted, paged, and handed back in the file; the command says the same."""

import csv
import io
import json
from pathlib import Path

import openpyxl
import pytest
from django.core.management import call_command

from apps.inference.models import InferenceRun
from apps.patients.importing import error_file, services
from apps.patients.importing.deciding import ImportRefusedError
from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, Finding, Patient
from tests.factories import InferenceRunFactory, PredictionFactory
from tests.patients.importing.test_readers import workbook

pytestmark = pytest.mark.django_db
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
SPOILED = (
    "patient,age,SBP,Sex\n"
    "a1,70,120,F\n"
    "a2,230,1420,M\n"
    "a3,abc,130,X\n"
    "=cmd|' /C calc'!A0,71,120,F\n"
    "A1,72,121,F\n"
)


def whole(ehr_import):
    return b"".join(services.file_with_errors(ehr_import=ehr_import).chunks)


def test_every_spoiled_cell_is_found_counted_and_filtered(importer):
    ehr_import = importer.check(importer.start(SPOILED))
    page = importer.problems(ehr_import)

    assert [(p.row, p.column, p.code) for p in page.problems] == [
        (3, "age", "out_of_range"),
        (3, "SBP", "out_of_range"),
        (4, "age", "not_a_number"),
        (4, "Sex", "word"),
        (5, "patient", "formula"),
        (6, "patient", "contradictory_rows"),
    ]
    assert (page.rows, page.rows_refused, page.rows_in_order) == (5, 4, 1)
    assert {c.code: c.count for c in page.counts}["out_of_range"] == 2
    only = importer.problems(ehr_import, code="out_of_range")
    assert [p.row for p in only.problems] == [3, 3]
    assert all(p.message and p.remedy for p in page.problems)


def test_problems_come_in_pages(importer):
    rows = "".join(f"p{n},900\n" for n in range(25))
    ehr_import = importer.check(importer.start("patient,age\n" + rows))
    page = services.page_of_problems(ehr_import=ehr_import, page=3, per_page=10)

    assert (page.first, page.last, page.pages, page.total) == (21, 25, 3, 25)
    assert page.problems[0].row == 22


def test_the_file_comes_back_with_an_error_column_that_runs_nothing(importer):
    ehr_import = importer.check(importer.start(SPOILED, "clinic.csv"))
    found = services.file_with_errors(ehr_import=ehr_import)
    rows = list(csv.reader(io.StringIO(b"".join(found.chunks).decode("utf-8-sig"))))

    assert found.file_name == "clinic-errors.csv"
    assert rows[0] == ["patient", "age", "SBP", "Sex", "error"]
    assert [bool(row[-1]) for row in rows[1:]] == [False, True, True, True, True]
    assert "age: It is out of range." in rows[2][-1]
    assert rows[4][0].startswith("'=cmd")
    assert [row[1] for row in rows[1:]] == ["70", "230", "abc", "71", "72"]


def test_a_workbook_comes_back_as_a_workbook(importer):
    content = workbook([["patient", "age"], ["a1", 70], ["a2", 700], ["a3", "=1+1"]])
    ehr_import = importer.check(importer.start(content, "clinic.xlsx"))
    sheet = openpyxl.load_workbook(io.BytesIO(whole(ehr_import))).active
    rows = [[cell.value for cell in row] for row in sheet.iter_rows()]

    assert rows[0] == ["patient", "age", "error"]
    assert rows[1][:2] == ["a1", 70]
    assert "out of range" in rows[2][2]
    assert rows[3][1] == "'=1+1"


def test_a_bundle_comes_back_as_outcomes_of_its_entries(importer):
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"resource": {"resourceType": "Patient", "id": "a", "gender": "female"}},
            {
                "resource": {
                    "resourceType": "Condition",
                    "subject": {"reference": "Patient/b"},
                    "code": {"text": "x"},
                }
            },
        ],
    }
    ehr_import = importer.check(importer.start(json.dumps(bundle), "b.json"))
    [entry] = json.loads(whole(ehr_import))["entry"]

    [issue] = entry["resource"]["issue"]
    assert entry["resource"]["resourceType"] == "OperationOutcome"
    assert issue["expression"] == ["Bundle.entry[1]"]


@pytest.mark.parametrize(
    ("cell", "given_back"),
    [("=1", "'=1"), ("+a", "'+a"), ("-a", "'-a"), ("@a", "'@a"), ("\ta", "'\ta"), ("-4", "-4")],
)
def test_cells_that_a_spreadsheet_would_run_are_disarmed(cell, given_back):
    assert error_file.safe(cell) == given_back


def test_an_import_that_predictions_were_made_from_cannot_be_undone(importer, cohort):
    done = importer.through("patient,age\na1,70\n")
    run = InferenceRunFactory(
        cohort=cohort, requested_at=done.committed_at, requested_by=importer.user
    )
    with pytest.raises(ImportRefusedError, match="under way"):
        importer.undo(done)
    InferenceRun.objects.cancel(run.pk)
    PredictionFactory(run=run, patient=Patient.objects.get())

    with pytest.raises(ImportRefusedError, match="Predictions"):
        importer.undo(done)


@pytest.fixture
def command(cohort, tmp_path, capsys):
    """manage.py import_ehr --json: its exit status and its report."""

    def run(content, *options, name="file.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        status = 0
        try:
            call_command("import_ehr", str(path), "--cohort", cohort.name, "--json", *options)
        except SystemExit as end:
            status = end.code
        return status, json.loads(capsys.readouterr().out)

    return run


def test_the_command_stores_a_good_file_and_exits_with_zero(command):
    status, report = command("patient,age,Sex\na1,70,F\na2,71,M\n")

    assert status == 0
    assert {k: report[k] for k in ("rows", "patients", "accepted", "refused")} == {
        "rows": 2,
        "patients": 2,
        "accepted": 2,
        "refused": 0,
    }
    assert [(c["name"], c["concept"], c["decided_by"]) for c in report["columns"]] == [
        ("patient", None, "name"),
        ("age", "age", "name"),
        ("Sex", "female", "name"),
    ]
    assert report["problems"] == []
    assert Patient.objects.count() == 2


def test_the_command_says_what_did_not_go_in_and_exits_with_one(command):
    status, report = command(SPOILED)

    assert status == 1
    assert (report["accepted"], report["refused"]) == (1, 4)
    assert set(report["problems"][0]) >= {"row", "column", "code", "message"}
    assert Patient.objects.count() == 1


def test_the_command_takes_a_mapping(command, tmp_path):
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({"X1": {"concept": "weight_kg", "unit": "[lb_av]"}, "X2": None}))
    status, report = command("patient,X1,X2\na1,150,7\n", "--mapping", str(mapping))

    assert status == 0
    assert report["columns"][1]["decided_by"] == "person"
    assert Finding.objects.get().value == pytest.approx(68.04, abs=0.01)


def test_a_dry_run_stores_nothing(command):
    status, report = command("patient,age\na1,70\n", "--dry-run")

    assert (status, report["accepted"], report["stored"]) == (0, 1, False)
    assert not Patient.objects.exists()
    assert EhrImport.objects.get().stage == Stage.CANCELLED


def test_the_command_refuses_a_hostile_file_with_a_reason(command):
    status, report = command(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))

    assert status == 1
    assert "PNG" in report["problems"][0]["message"]
    assert not Patient.objects.exists()


REAL = {
    "tabular/alzheimers_disease_data.csv": (35, 1963, 186),
    "oasis1/oasis_cross-sectional.csv": (12, 308, 0),
}


@pytest.mark.parametrize("name", REAL)
def test_real_tables_go_in_with_every_column_understood(command, name):
    path = SHARED / name
    if not path.exists():
        pytest.skip("the sample tables are not on this machine")
    columns, accepted, refused = REAL[name]
    _, report = command(path.read_bytes())

    assert (len(report["columns"]), report["undecided"]) == (columns, 0)
    assert (report["accepted"], report["refused"]) == (accepted, refused)
    assert {p["code"] for p in report["problems"]} <= {"contradiction", "critical"}
    assert report["stored"]


def test_a_dry_run_counts_the_patients_that_would_go_in(command):
    _, report = command(
        "patient,visit_date,age\na1,2020-01-01,70\na1,2021-01-01,71\nb,,70\n", "--dry-run"
    )

    assert (report["rows"], report["patients"], report["stored"]) == (3, 2, False)


def test_the_command_leaves_an_import_of_the_same_file_alone_that_somebody_works_on(
    command, importer
):
    theirs = importer.start("patient,age\na1,70\n")
    status, report = command("patient,age\na1,70\n", "--dry-run")

    theirs.refresh_from_db()
    assert (status, theirs.stage) == (1, Stage.MAPPING)
    assert "under way" in report["problems"][0]["message"]
