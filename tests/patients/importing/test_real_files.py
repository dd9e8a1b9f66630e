"""Real files through the pages, with real workers: matched, checked, stored, predicted for.

The files are not in the repository; without them the tests are skipped.
"""

import csv
import gzip
import io
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from apps.inference.models import Prediction
from apps.jobs.models import JobState
from apps.patients.importing import services
from apps.patients.importing.plan import Role
from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, Finding
from tests.factories import CohortFactory
from tests.patients.importing.test_giving_back import SHARED

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
READY_S = 120
BUSY = {Stage.ANALYSING, Stage.CHECKING, Stage.COMMITTING}

# What each column is, written down by reading the publishers' descriptions.
ALZHEIMERS = {
    "Age": "age",
    "Gender": "female",
    "Ethnicity": "racial_group",
    "EducationLevel": "education_level",
    "BMI": "bmi",
    "Smoking": "history_smoking",
    "AlcoholConsumption": "alcohol_per_week",
    "PhysicalActivity": "physical_activity",
    "DietQuality": "diet_quality",
    "SleepQuality": "sleep_quality",
    "FamilyHistoryAlzheimers": "family_history_ad",
    "CardiovascularDisease": "history_cardiovascular",
    "Diabetes": "diabetes",
    "Depression": "depressed_mood",
    "HeadInjury": "traumatic_brain_injury",
    "Hypertension": "hypertension",
    "SystolicBP": "systolic_mmhg",
    "DiastolicBP": "diastolic_mmhg",
    "CholesterolTotal": "cholesterol_total",
    "CholesterolLDL": "cholesterol_ldl",
    "CholesterolHDL": "cholesterol_hdl",
    "CholesterolTriglycerides": "triglycerides",
    "MMSE": "mmse",
    "FunctionalAssessment": "functional_assessment",
    "MemoryComplaints": "memory_complaints",
    "BehavioralProblems": "behavioral_problems",
    "ADL": "adl",
    "Confusion": "confusion",
    "Disorientation": "disorientation",
    "PersonalityChanges": "personality_changes",
    "DifficultyCompletingTasks": "difficulty_completing_tasks",
    "Forgetfulness": "forgetfulness",
    "Diagnosis": "diagnosis",
    "PatientID": Role.PATIENT,
    "DoctorInCharge": Role.DROPPED,
}
OASIS = {
    "ID": Role.PATIENT,
    "M/F": "female",
    "Hand": "handedness",
    "Age": "age",
    "Educ": "education_level",
    "SES": "socioeconomic_status",
    "MMSE": "mmse",
    "CDR": "cdr",
    "eTIV": "icv_mm3",
    "nWBV": "brain_fraction",
    "ASF": "atlas_scaling",
    "Delay": Role.DAYS,
}
NEAR_THE_LABEL = {"MMSE", "CDR", "Diagnosis", "FunctionalAssessment", "ADL", "Forgetfulness"}
# column: what somebody typed in place of its value, and the kind of problem that this is
SPOILED = {
    "Age": ("174", "out_of_range"),
    "BMI": ("nan", "not_finite"),
    "SystolicBP": ("140 sitting", "text_in_number"),
    "DiastolicBP": ("-80", "out_of_range"),
    "CholesterolTotal": ("<5", "bound"),
    "CholesterolHDL": ("1e309", "not_finite"),
    "Gender": ("2", "code"),
    "Diabetes": ("maybe", "word"),
    "MMSE": ("31", "out_of_range"),
    "SleepQuality": ("=1+1", "formula"),
}


def file_of(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip("the sample files are not on this machine")
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


class Clinic:
    """A clinician at the pages of a cohort; workers do the rest."""

    def __init__(self, client, wait_until):
        self.client, self.wait_until = client, wait_until
        self.cohort = CohortFactory()
        client.force_login(self.cohort.created_by)

    def upload(self, content, name):
        address = reverse("patients:start-import", args=[self.cohort.pk])
        response = self.client.post(address, {"file": SimpleUploadedFile(name, content)})
        assert response.status_code == 302, response.content.decode()
        return self.settled(EhrImport.objects.get(pk=response.url.split("/")[2]))

    def press(self, name, ehr_import, **fields):
        response = self.client.post(reverse(f"patients:{name}", args=[ehr_import.pk]), fields)
        assert response.status_code == 302, response.content.decode()
        return self.settled(ehr_import)

    def settled(self, ehr_import):
        """The import once no worker is at it."""

        def is_there():
            ehr_import.refresh_from_db()
            status = services.status_of(ehr_import=ehr_import)
            assert not status.has_failed, status.reason
            return ehr_import.stage not in BUSY

        self.wait_until(is_there, seconds=READY_S)
        return ehr_import

    def through(self, content, name):
        found = self.upload(content, name)
        undecided = services.mapping_of(ehr_import=found).to_decide
        if undecided:
            self.press("decide-rest", found, action="ignore")
        self.press("check-import", found)
        assert found.stage == Stage.CHECKED
        self.press("commit-import", found, leave_out_refused="1")
        assert found.stage == Stage.COMMITTED
        return found

    def predict(self):
        self.client.post(reverse("inference:request-cohort-run", args=[self.cohort.pk]))
        run = self.cohort.runs.get()

        def has_ended():
            run.refresh_from_db()
            return run.is_final

        self.wait_until(has_ended, seconds=READY_S)
        assert run.state == JobState.SUCCEEDED, run.reason
        return Prediction.objects.filter(run=run)


@pytest.fixture
def clinic(client, wait_until, bundle, workers):
    workers.start("import")
    workers.start("surrogate")
    return Clinic(client, wait_until)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tabular/alzheimers_disease_data.csv", ALZHEIMERS),
        ("oasis1/oasis_cross-sectional.csv", OASIS),
    ],
    ids=["alzheimers", "oasis"],
)
def test_a_table_goes_in_with_every_column_matched_right_and_is_predicted_for(clinic, name, meant):
    content = file_of(name)
    found = clinic.through(content, name)
    columns = {c.header: c for c in services.mapping_of(ehr_import=found).columns}
    found_out = {
        header: column.concept if column.role is Role.FINDING else column.role
        for header, column in columns.items()
    }
    predictions = clinic.predict()

    assert found_out == meant
    near = {header for header, column in columns.items() if column.label_proximal}
    assert meant.keys() & NEAR_THE_LABEL <= near
    assert not any(columns[header].for_prediction for header in near)
    assert predictions.count() == clinic.cohort.patients.count() > 200
    assert all(prediction.answer for prediction in predictions)


def test_every_error_of_a_spoiled_copy_is_found_and_handed_back(clinic):
    name = "tabular/alzheimers_disease_data.csv"
    rows = list(csv.DictReader(io.StringIO(file_of(name).decode("utf-8-sig"))))
    clean = clinic.upload(file_of(name), "clean.csv")
    clinic.press("check-import", clean)
    refused_before = clean.rows_refused
    wrong_before = rows_with_errors(clinic, clean)
    sound = [n for n in range(len(rows)) if n not in wrong_before][:: len(SPOILED)]
    planted = {}
    for n, (column, (value, code)) in zip(sound, 5 * list(SPOILED.items()), strict=False):
        rows[n][column] = value
        planted[n] = (column, code)

    found = clinic.upload(as_csv(rows), "spoiled.csv")
    clinic.press("check-import", found)

    page = services.page_of_problems(ehr_import=found, per_page=10_000)
    seen = {(p.row - 2, p.column, p.code) for p in page.problems if p.severity == "error"}
    assert len(planted) == 50
    assert {(n, *what) for n, what in planted.items()} <= seen
    assert found.rows_refused == refused_before + len(planted)
    assert rows_with_errors(clinic, found) == wrong_before | planted.keys()
    assert not clinic.cohort.patients.exists()


def rows_with_errors(clinic, ehr_import):
    """Places of the rows that the file handed back marks, from 0."""
    response = clinic.client.get(reverse("patients:file-with-errors", args=[ehr_import.pk]))
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return {n for n, row in enumerate(csv.DictReader(io.StringIO(text))) if row["error"]}


def as_csv(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def test_fhir_bundles_go_in_by_their_codes_and_are_predicted_for(clinic):
    bundles = sorted((SHARED / "fhir").glob("*.json.gz"))
    if not bundles:
        pytest.skip("the sample bundles are not on this machine")
    columns = decided = 0
    for path in bundles:
        content = file_of(f"fhir/{path.name}")
        found = clinic.upload(content, path.name.removesuffix(".gz"))
        view = services.mapping_of(ehr_import=found)
        columns += len(view.columns)
        decided += len(view.columns) - view.to_decide
        if view.to_decide:
            clinic.press("decide-rest", found, action="ignore")
        clinic.press("check-import", found)
        clinic.press("commit-import", found, leave_out_refused="1")
        assert found.stage == Stage.COMMITTED
        born = [e["resource"] for e in json.loads(content)["entry"]]
        [patient] = [r for r in born if r["resourceType"] == "Patient"]
        female = Finding.objects.get(
            patient__cohort=clinic.cohort, concept="female", recorded_at=found.committed_at
        )
        assert female.value == (patient["gender"] == "female")
        page = clinic.client.get(reverse("patients:import", args=[found.pk])).content.decode()
        assert patient["name"][0]["family"] not in page

    assert decided >= 0.99 * columns
    assert clinic.cohort.patients.count() == len(bundles)
    assert clinic.predict().count() == len(bundles)
