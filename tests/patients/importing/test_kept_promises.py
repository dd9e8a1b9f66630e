"""What the first way of getting a file in promised, the wizard keeps."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.jobs.attempt import JobCrashedError
from apps.patients.importing import storing
from apps.patients.importing.stages import Stage
from apps.patients.importing.storing import Pseudonymiser
from apps.patients.models import Finding, Patient
from apps.patients.selectors import records_of
from tests.factories import NOW, CohortFactory, FindingFactory, PatientFactory, sha256
from tests.patients.importing.conftest import Importer

TWO = "patient,age,education_years,apoe4\nann,71,12,1\nbob,68,16,0\n"
BEFORE = ("patients", "0005_patients_know_age_sex_and_imports")
AFTER = ("patients", "0006_uploads_are_imports")


def test_rows_become_patients_under_pseudonyms_in_the_order_of_the_file(importer, values):
    done = importer.through(TWO)

    assert (done.patients_new, done.patients_updated, done.findings) == (2, 0, 6)
    assert list(Patient.objects.values_list("pseudonym", flat=True)) == ["P-0001", "P-0002"]
    assert values(1) == {"age": 71, "education_years": 12, "apoe4": 1}
    assert values(2) == {"age": 68, "education_years": 16, "apoe4": 0}


def test_values_carry_their_unit_and_the_moment_of_the_import(importer):
    importer.through(TWO)

    age = Finding.objects.filter(concept="age").first()
    assert age.unit == "a"
    assert age.recorded_at == importer.cohort.imports.get().committed_at


def test_the_same_file_can_go_into_another_cohort(importer):
    importer.through(TWO)
    other = CohortFactory()
    Importer(other).through(TWO)

    assert (other.patients.count(), importer.cohort.patients.count()) == (2, 2)


def test_what_was_known_at_a_time_can_be_read_later(importer):
    first = importer.through(TWO)
    later = importer.through("patient,age\nann,72\n", now=NOW + timedelta(days=30))
    ann = Patient.objects.get(number=1).pk

    def age_known_at(moment):
        return records_of([ann], concepts=["age"], as_known_at=moment)[ann].values["age"]

    assert age_known_at(first.committed_at) == 71
    assert age_known_at(later.committed_at) == 72


def test_a_failure_while_storing_stores_nothing(importer, monkeypatch):
    def fail(*args, **options):
        raise ZeroDivisionError

    ehr_import = importer.check(importer.start(TWO))
    monkeypatch.setattr(storing, "Stored", fail)

    with pytest.raises(JobCrashedError):
        importer.commit(ehr_import)

    ehr_import.refresh_from_db()
    assert ehr_import.stage == Stage.COMMITTING
    assert not Patient.objects.exists()
    assert not Finding.objects.exists()


def test_the_hash_of_an_identifier_needs_the_key_that_is_outside_the_database(cohort):
    with_ours, with_another = (
        Pseudonymiser(cohort, key=key, now=NOW).of("011_s_0002")[0] for key in ("ours", "another")
    )

    assert with_ours != with_another


@pytest.mark.django_db(transaction=True)
def test_an_upload_of_an_earlier_version_becomes_the_import_that_it_was(client):
    executor = MigrationExecutor(connection)
    executor.migrate([BEFORE])
    old = executor.loader.project_state([BEFORE]).apps
    user = old.get_model("accounts", "User").objects.create(username="old", role="clinician")
    cohort = old.get_model("patients", "Cohort").objects.create(
        name="Old", created_by=user, created_at=NOW
    )
    old.get_model("patients", "Membership").objects.create(cohort=cohort, user=user, role="owner")
    old.get_model("patients", "EhrUpload").objects.create(
        cohort=cohort, sha256=sha256("x"), uploaded_by=user, uploaded_at=NOW,
        patients_new=1, patients_updated=0, findings=1, notes=["1 age over 89 stored as 90."],
    )  # fmt: skip

    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())

    from apps.patients.models import Cohort

    kept = Cohort.objects.get(pk=cohort.pk)
    FindingFactory(patient=PatientFactory(cohort=kept, number=1, created_at=NOW), recorded_at=NOW)
    found = kept.imports.get()
    assert (found.stage, found.committed_at, found.findings) == (Stage.COMMITTED, NOW, 1)
    assert found.notes[0] == "1 age over 89 stored as 90."
    assert found.file_name == "Upload of 2026-01-01"
    client.force_login(kept.created_by)
    page = client.get(f"/imports/{found.pk}/").content.decode()
    assert "Upload of 2026-01-01" in page
    assert "Remove 1 finding and 1 patient" in page
