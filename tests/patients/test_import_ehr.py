"""An EHR file is stored whole or not at all."""

import logging
import time
from datetime import timedelta
from io import BytesIO

import pytest
from django.db import connection
from django.db.models import Max, Min
from psycopg import sql

from apps.patients import services
from apps.patients.models import EhrUpload, Finding, Patient
from apps.patients.selectors import records_of
from ml.concepts import dictionary, schema
from tests.factories import NOW, CohortFactory

pytestmark = pytest.mark.django_db
TWO = b"patient,age,education_years,apoe4\nann,71,12,1\nbob,68,16,0\n"


@pytest.fixture
def cohort():
    return CohortFactory()


@pytest.fixture
def upload(cohort):
    def do(content, now=NOW, to=cohort):
        return services.import_ehr(
            cohort=to, file=BytesIO(content), uploaded_by=to.created_by, now=now
        )

    return do


def values(pseudonym):
    patient = Patient.objects.get(pseudonym=pseudonym)
    return dict(Finding.objects.filter(patient=patient).newest().values_list("concept", "value"))


def test_rows_become_patients_under_pseudonyms_in_the_order_of_the_file(upload):
    done = upload(TWO)

    assert (done.patients_new, done.patients_updated, done.findings) == (2, 0, 6)
    assert values("P-0001") == {"age": 71, "education_years": 12, "apoe4": 1}
    assert values("P-0002") == {"age": 68, "education_years": 16, "apoe4": 0}


def test_values_carry_their_unit_and_the_time_of_the_upload(upload):
    upload(TWO)

    age = Finding.objects.filter(concept="age").first()
    assert (age.unit, age.observed_at) == ("a", NOW)


def test_the_same_file_again_changes_nothing(upload):
    first = upload(TWO)
    again = upload(TWO, now=NOW + timedelta(days=1))

    assert again == first
    assert (Patient.objects.count(), Finding.objects.count(), EhrUpload.objects.count()) == (
        2,
        6,
        1,
    )


def test_the_same_file_can_go_into_another_cohort(upload):
    upload(TWO)
    other = CohortFactory()
    upload(TWO, to=other)

    assert other.patients.count() == 2


def test_a_later_file_updates_known_patients_and_adds_new_ones(upload):
    upload(TWO)
    later = NOW + timedelta(days=30)
    done = upload(b"patient,age,apoe4\n ANN ,72,1\ncarl,80,2\n", now=later)

    assert (done.patients_new, done.patients_updated, done.findings) == (1, 1, 3)
    assert values("P-0001") == {"age": 72, "education_years": 12, "apoe4": 1}
    assert values("P-0003") == {"age": 80, "apoe4": 2}


def test_what_was_known_at_a_time_can_be_read_later(upload):
    upload(TWO)
    upload(b"patient,age\nann,72\n", now=NOW + timedelta(days=30))
    ann = Patient.objects.get(number=1).pk

    assert records_of([ann], concepts=["age"], as_known_at=NOW)[ann].values["age"] == 71
    assert (
        records_of([ann], concepts=["age"], as_known_at=NOW + timedelta(days=31))[ann].values["age"]
        == 72
    )


def test_one_bad_cell_keeps_the_whole_file_out_and_is_named(upload):
    with pytest.raises(services.EhrFileError) as refused:
        upload(b"patient,age\nann,71\nbob,213\n")

    [problem] = refused.value.problems
    assert (problem.row, problem.column, problem.value) == (3, "age", "213")
    assert not Patient.objects.exists()
    assert not EhrUpload.objects.exists()


def test_the_error_itself_quotes_no_value(upload):
    with pytest.raises(services.EhrFileError) as refused:
        upload(b"patient,age\nann,Jane Doe\n")

    assert "Jane" not in str(refused.value)


def test_a_failure_while_storing_stores_nothing(upload, monkeypatch):
    def fail(*args):
        raise ZeroDivisionError

    monkeypatch.setattr(services, "_copy_findings", fail)

    with pytest.raises(ZeroDivisionError):
        upload(TWO)

    assert not Patient.objects.exists()
    assert not EhrUpload.objects.exists()


def test_no_identifier_reaches_the_database_or_the_log(upload, caplog):
    caplog.set_level(logging.DEBUG)
    upload(b"patient,age\nCANARY-7731,71\n")

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema='public'"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(
                sql.SQL("SELECT count(*) FROM {} t WHERE t::text ILIKE %s").format(
                    sql.Identifier(table)
                ),
                ["%CANARY%"],
            )
            assert cursor.fetchone() == (0,), table
    assert "CANARY" not in caplog.text


def test_the_hash_of_an_identifier_needs_the_key_that_is_outside_the_database(settings):
    here = services.identifier_hash("011_S_0002")
    settings.MIRAGE_IDENTIFIER_KEY = "another"

    assert services.identifier_hash("011_S_0002") != here


def test_the_same_person_written_differently_has_one_hash():
    assert services.identifier_hash(" 011_s_0002 ") == services.identifier_hash("011_S_0002")


def test_ages_over_89_are_stored_as_90_and_the_user_is_told(upload):
    done = upload(b"patient,age\nann,89\nbob,90\ncarl,93\ndora,101\n")

    ages = Finding.objects.filter(concept="age")
    assert ages.aggregate(low=Min("value"), high=Max("value")) == {"low": 89, "high": 90}
    [note] = [note for note in done.notes if "89" in note]
    assert note.startswith("2 ages")


def test_more_rows_than_the_limit_are_refused_with_the_limit(upload, settings):
    settings.MIRAGE_MAX_UPLOAD_ROWS = 3
    rows = b"".join(b"p%d,70\n" % n for n in range(4))

    with pytest.raises(services.EhrFileError) as refused:
        upload(b"patient,age\n" + rows)

    assert "3" in refused.value.problems[0].message


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"patient,age\n", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, b"\x00" * 5000],
    ids=["empty", "blank", "header only", "picture", "zeros"],
)
def test_what_is_no_table_is_refused_with_a_remedy(upload, content):
    with pytest.raises(services.EhrFileError) as refused:
        upload(content)

    assert refused.value.problems[0].message
    assert not EhrUpload.objects.exists()


def test_ten_thousand_full_rows_are_stored_within_the_patience_of_a_user(upload):
    concepts = [concept for concept in schema() if concept != "bmi"]  # checked against the weight
    line = ",".join("70" if c == "age" else f"{dictionary()[c].low:g}" for c in concepts)
    header = ",".join(["patient", *concepts])
    content = "\n".join([header, *(f"p{n},{line}" for n in range(10_000))]).encode()
    began = time.monotonic()

    done = upload(content)

    assert (done.patients_new, done.findings) == (10_000, 10_000 * len(concepts))
    assert time.monotonic() - began < 60
