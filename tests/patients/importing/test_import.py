"""An import stores all accepted rows or none, once, and can be taken back."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from psycopg import sql

from apps.patients.importing import services
from apps.patients.importing.deciding import ImportRefusedError
from apps.patients.importing.folder import ImportFolder
from apps.patients.importing.source import FileRefusedError
from apps.patients.importing.stages import STAGES, Stage
from apps.patients.models import EhrImport, Finding, Patient
from tests.factories import NOW, CohortFactory, FindingFactory, PatientFactory, UserFactory

pytestmark = pytest.mark.django_db
TWO = "PatientID,Age,Sex,Weight (lb),I10,MMSE\nann,71,F,150,1,24\nbob,68,M,180,0,29\n"
VISITS = (
    "PTID,EXAMDATE,VSBPSYS,VSBPDIA\n"
    "ann,2020-01-10,130,80\nann,2021-01-12,140,82\nbob,2020-05-01,120,70\n"
)


def test_a_clinics_file_goes_in_with_its_columns_matched(importer, values):
    done = importer.through(TWO)

    assert (done.stage, done.patients_new, done.findings) == (Stage.COMMITTED, 2, 12)
    assert values() == pytest.approx(
        {
            "age": 71,
            "female": 1,
            "weight_kg": 150 * 0.45359237,
            "hypertension": 1,
            "icd10cm:I10": 1,
            "mmse": 24,
        }
    )


def test_the_file_is_deleted_once_its_rows_are_stored(importer):
    done = importer.through(TWO)

    assert not ImportFolder(done.pk).path.exists()


def test_the_file_is_readable_by_nobody_else(importer):
    started = importer.start(TWO)
    folder = ImportFolder(started.pk)

    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.path.iterdir())


def test_one_wrong_cell_keeps_every_row_out_until_it_is_left_out(importer):
    ehr_import = importer.check(importer.start(TWO.replace("180", "1800")))
    with pytest.raises(ImportRefusedError, match="1 of 2 rows"):
        importer.commit(ehr_import)
    assert not Patient.objects.exists()

    done = importer.commit(ehr_import, leave_out=True)

    assert (done.patients_new, done.rows_refused) == (1, 1)


def test_the_same_file_again_leads_to_the_import_that_has_it(importer):
    first = importer.through(TWO)
    again = importer.start(TWO, now=NOW + timedelta(days=1))

    assert again == first
    assert EhrImport.objects.count() == 1


def test_a_file_that_repeats_what_is_stored_adds_nothing(importer):
    importer.through(VISITS)
    before = set(Finding.objects.values_list("pk", flat=True))
    again = importer.through(VISITS + "\n", now=NOW + timedelta(days=1))

    assert (again.patients_new, again.patients_updated, again.findings) == (0, 0, 0)
    assert set(Finding.objects.values_list("pk", flat=True)) == before
    assert "6 findings were there already" in again.notes[0]


def test_a_value_that_contradicts_what_is_stored_is_said_and_changes_nothing(importer):
    importer.through(VISITS)
    again = importer.through(VISITS.replace("140", "150"))

    assert again.findings == 0
    assert any(note.startswith("1 findings have another value") for note in again.notes)


def test_a_new_value_without_a_date_is_added_and_an_unchanged_one_is_not(importer, values):
    importer.through("patient,age,apoe4\nann,71,1\n")
    later = importer.through("patient,age,apoe4\nANN ,72,1\n", now=NOW + timedelta(days=9))

    assert (later.patients_new, later.patients_updated, later.findings) == (0, 1, 1)
    assert values()["age"] == 72


def test_visits_keep_their_order_and_distance_but_not_their_days(importer):
    importer.through(VISITS)

    ann = Finding.objects.filter(patient__number=1, concept="systolic_mmhg").order_by("observed_at")
    first, second = ann
    assert (first.value, second.value) == (130, 140)
    assert (second.observed_at - first.observed_at).days == 368
    true = datetime(2020, 1, 10, tzinfo=UTC)
    assert timedelta(days=1) <= true - first.observed_at <= timedelta(days=366)


def test_an_import_is_taken_back_whole(importer):
    importer.through("patient,age\nzoe,80\n")
    done = importer.through(TWO)
    undone = importer.undo(done)

    assert undone.stage == Stage.UNDONE
    assert [p.number for p in Patient.objects.all()] == [1]
    assert Finding.objects.count() == 1


def test_after_it_was_taken_back_the_same_file_can_come_again(importer):
    importer.undo(importer.through(TWO))
    again = importer.through(TWO)

    assert (again.stage, again.patients_new) == (Stage.COMMITTED, 2)


def test_an_import_that_a_later_one_builds_on_cannot_be_taken_back(importer):
    first = importer.through(TWO)
    importer.through("PatientID,Age\nann,72\n", now=NOW + timedelta(days=1))

    with pytest.raises(ImportRefusedError, match="later file"):
        importer.undo(first)
    assert not services.status_of(ehr_import=first).can_undo


def test_a_cancelled_import_leaves_nothing(importer, django_capture_on_commit_callbacks):
    ehr_import = importer.check(importer.start(TWO))
    with django_capture_on_commit_callbacks(execute=True):
        services.cancel(ehr_import=ehr_import)

    assert ehr_import.stage == Stage.CANCELLED
    assert not ImportFolder(ehr_import.pk).path.exists()
    with pytest.raises(ImportRefusedError):
        services.cancel(ehr_import=ehr_import)


def test_a_cancel_while_it_is_stored_stores_nothing(importer, monkeypatch):
    ehr_import = importer.check(importer.start(TWO))
    services.commit(ehr_import=ehr_import, requested_by=importer.user, now=NOW, send=False)
    from apps.patients.importing import storing

    real = storing.store

    def cancelled_meanwhile(*args, **options):
        services.cancel(ehr_import=EhrImport.objects.get(pk=ehr_import.pk))
        return real(*args, **options)

    monkeypatch.setattr(storing, "store", cancelled_meanwhile)
    importer.work(ehr_import)

    assert not Patient.objects.exists()
    assert not Finding.objects.exists()


def test_a_failed_step_says_why_and_can_be_tried_again(importer, monkeypatch):
    monkeypatch.setattr("apps.patients.importing.problems.MAX_ERRORS", 0)
    failed = importer.check(importer.start(TWO.replace("71", "710")))

    status = services.status_of(ehr_import=failed)
    assert (status.has_failed, status.can_retry, status.can_cancel) == (True, True, True)
    assert "1 errors" in status.reason
    services.retry(ehr_import=failed)
    assert services.status_of(ehr_import=failed).is_busy


def test_a_file_that_nothing_can_be_made_of_is_deleted_and_may_come_again(importer):
    refused = importer.start("patient,age\n")

    status = services.status_of(ehr_import=refused)
    assert (status.has_failed, status.can_retry, status.can_cancel) == (True, False, True)
    assert "no row below" in status.reason
    assert not ImportFolder(refused.pk).path.exists()
    with pytest.raises(ImportRefusedError, match="not kept"):
        services.retry(ehr_import=refused)
    again = importer.start("patient,age\n")
    refused.refresh_from_db()
    assert (again == refused, refused.stage) == (False, Stage.CANCELLED)


def test_a_file_that_is_none_is_refused_before_anything_is_queued(importer):
    with pytest.raises(FileRefusedError, match="gzip"):
        importer.start(b"\x1f\x8b\x08\x00 not a table")

    assert not EhrImport.objects.exists()
    assert not list(ImportFolder(importer.cohort.pk).path.parent.iterdir())


def test_nobody_who_may_not_change_the_cohort_can_import_into_it(importer, cohort):
    from io import BytesIO

    with pytest.raises(services.NotAllowedError):
        services.start_import(
            cohort=cohort,
            file=BytesIO(b"patient,age\nann,71\n"),
            name="x.csv",
            uploaded_by=UserFactory(),
            now=NOW,
        )


def test_an_empty_file_is_refused_at_once(importer):
    with pytest.raises(FileRefusedError, match="empty"):
        importer.start(b"")
    assert not EhrImport.objects.exists()


def test_no_identifier_name_or_date_reaches_the_database_or_the_log(importer, caplog):
    content = (
        "MRN,PatientName,Phone,VisitDate,Notes,Age,Weight (kg)\n"
        "CANARY-1,Canary Jane,+44 20 7946 0000,2021-03-04,canary said she fell,71,70\n"
        "CANARY-2,Canary Joe,+44 20 7946 0001,2021-03-05,canary is well,canary,70\n"
    )
    importer.through(content, "Canary Jane.csv", leave_out=True)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        for (table,) in cursor.fetchall():
            for secret in ("%CANARY-%", "%7946%", "%said she%", "%2021-03-04%"):
                cursor.execute(
                    sql.SQL("SELECT count(*) FROM {} t WHERE t::text ILIKE %s").format(
                        sql.Identifier(table)
                    ),
                    [secret],
                )
                assert cursor.fetchone() == (0,), (table, secret)
    assert "CANARY" not in caplog.text.upper()


def test_what_was_dropped_at_the_door_is_said(importer):
    ehr_import = importer.check(
        importer.start("MRN,Name,Phone,DOB,Notes,Weight (kg)\na1,Jane,1,1920-02-03,fell,70\n")
    )

    said = " ".join(ehr_import.dropped)
    for part in ("Name: 1 column", "Phone or e-mail: 1", "Free text: 1", "Birth dates", "over 89"):
        assert part in said


def test_ages_over_89_are_stored_as_90(importer, values):
    importer.through("patient,age\nann,93\n")
    assert values()["age"] == 90


def test_every_age_is_capped_not_only_the_patients(importer, values):
    importer.through("patient,age,quit_smoking_age\nann,92,91\n")
    assert values() == {"age": 90, "quit_smoking_age": 90}


def test_a_finding_without_a_patient_is_refused_by_the_database():
    finding = FindingFactory.build(patient=PatientFactory())
    Patient.objects.all().delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        finding.save(force_insert=True)


def test_deleting_a_patient_deletes_the_findings_even_by_sql():
    FindingFactory()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM patients_patient")
    assert not Finding.objects.exists()


def test_an_import_never_jumps_between_stages():
    with pytest.raises(ValueError):
        EhrImport.objects.move(CohortFactory().pk, Stage.UNDONE, Stage.COMMITTED)
    assert {stage for pair in STAGES for stage in pair} == set(Stage)


def test_more_rows_than_a_batch_holds_are_stored_whole(importer, monkeypatch):
    from apps.patients.importing import storing

    monkeypatch.setattr(storing, "BATCH_BYTES", 2_000)
    rows = "".join(f"p{n},{20 + n % 60},{n % 2}\n" for n in range(500))
    done = importer.through("patient,age,hypertension\n" + rows)

    assert (done.patients_new, done.findings) == (500, 1000)
    assert Patient.objects.get(number=500).pseudonym == "P-0500"


def test_thousands_of_problems_do_not_keep_the_other_rows_out(importer):
    rows = "".join(f"p{n},{'900' if n % 2 else '70'},210\n" for n in range(12_000))
    done = importer.through("patient,age,SBP\n" + rows, leave_out=True)

    assert (done.patients_new, done.rows_refused) == (6_000, 6_000)
