"""The export of a cohort: whole, safe for spreadsheet programs, and taken back by the import."""

import csv
import io
from datetime import timedelta

import pytest
from django.urls import reverse

from apps.patients import exporting
from apps.patients.models import Finding, Membership
from tests.factories import (
    NOW,
    CohortFactory,
    FindingFactory,
    PatientFactory,
    PredictionFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def cohort():
    cohort = CohortFactory()
    for number in (1, 2, 3):
        PatientFactory(cohort=cohort, number=number)
    first, second, _ = cohort.patients.order_by("number")
    FindingFactory(patient=first, value=71.5, observed_at=NOW - DAY)
    FindingFactory(patient=first, value=72.0, observed_at=NOW)
    FindingFactory(patient=first, concept="csf_abeta", value=-0.25)
    FindingFactory(patient=second, concept="female", value=0.0)
    return cohort


def table(cohort, **options):
    options = {"as_known_at": NOW, "every_visit": False} | options
    content = b"".join(exporting.chunks(cohort=cohort, **options))
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


def test_a_row_is_a_patient_with_the_newest_values_and_nothing_filled_in(cohort):
    assert table(cohort) == [
        ["patient", "age", "csf_abeta", "female"],
        ["P-0001", "72", "-0.25", ""],
        ["P-0002", "", "", "0"],
        ["P-0003", "", "", ""],
    ]


def test_a_row_for_each_moment_loses_no_value(cohort):
    rows = table(cohort, every_visit=True)

    assert rows[0] == ["patient", "observed_at", "age", "csf_abeta", "female"]
    assert [(row[0], row[2]) for row in rows[1:]] == [
        ("P-0001", "71.5"), ("P-0001", "72"), ("P-0002", ""), ("P-0003", ""),
    ]  # fmt: skip
    cells = sum(bool(cell) for row in rows[1:] for cell in row[2:])
    assert cells == Finding.objects.count()


def test_what_is_stored_while_the_export_runs_is_left_out(cohort):
    late = PatientFactory(cohort=cohort, number=4, created_at=NOW + DAY)
    FindingFactory(patient=late, recorded_at=NOW + DAY)
    FindingFactory(
        patient=cohort.patients.get(number=2), value=99.0, observed_at=NOW, recorded_at=NOW + DAY
    )

    rows = table(cohort)

    assert len(rows) == 4
    assert "99" not in str(rows)


def test_a_cell_that_a_spreadsheet_would_run_is_defused_and_a_negative_number_is_kept(cohort):
    PatientFactory(cohort=cohort, number=5)
    FindingFactory(patient=cohort.patients.get(number=5), concept='=HYPERLINK("x")')
    more = exporting.Columns(["@head"], lambda ids: {pk: ["+cmd|x"] for pk in ids})

    rows = table(cohort, more=more)

    assert '\'=HYPERLINK("x")' in rows[0]
    assert rows[0][-1] == "'@head"
    assert rows[1][-1] == "'+cmd|x"
    assert "-0.25" in rows[1]


def test_blocks_of_patients_join_without_a_seam(cohort, monkeypatch):
    whole = table(cohort, every_visit=True)
    monkeypatch.setattr(exporting, "PATIENTS_AT_ONCE", 1)

    assert table(cohort, every_visit=True) == whole


def test_memory_stays_that_of_a_block(cohort, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(exporting, "PATIENTS_AT_ONCE", 2)
    chunks = exporting.chunks(cohort=cohort, as_known_at=NOW, every_visit=False)

    with django_assert_num_queries(1):
        next(chunks)  # the names of the concepts
    with django_assert_num_queries(2):
        next(chunks)  # one block: patients and findings


def downloaded(client, cohort, **query):
    response = client.get(reverse("inference:export-file", args=[cohort.pk]), query)
    assert response.status_code == 200
    return response, b"".join(response.streaming_content).decode("utf-8-sig")


def test_answers_stand_with_interval_and_model_under_headers_that_say_what_they_are(client, cohort):
    prediction = PredictionFactory(
        run__cohort=cohort, patient=cohort.patients.get(number=1), probability=0.71, low=0.55,
        high=0.83, answer="ad",
    )  # fmt: skip
    client.force_login(cohort.created_by)

    response, text = downloaded(client, cohort, predictions="on", rows="newest")
    header, first, second, _ = csv.reader(io.StringIO(text))

    assert "no-store" in response["Cache-Control"]
    assert "attachment" in response["Content-Disposition"]
    answers = [name for name in header if name.startswith("MIRAGE research result, not a diag")]
    assert len(answers) == 7
    cells = dict(zip(header, first, strict=True))
    of = {name.partition(": ")[2]: cells[name] for name in answers}
    assert (of["probability of AD"], of["95 % interval from"], of["95 % interval to"]) == (
        "0.7100", "0.5500", "0.8300",
    )  # fmt: skip
    assert of["model sha256"] == prediction.run.bundle.fingerprint
    assert second[-7:] == [""] * 7


def test_without_being_asked_no_answer_is_in_the_file(client, cohort):
    PredictionFactory(run__cohort=cohort, patient=cohort.patients.get(number=1))
    client.force_login(cohort.created_by)

    assert "MIRAGE" not in downloaded(client, cohort)[1]


def test_a_viewer_takes_nothing_away(client, cohort):
    viewer = UserFactory()
    Membership.objects.create(cohort=cohort, user=viewer, role="viewer")
    client.force_login(viewer)

    for name in ("inference:export", "inference:export-file"):
        assert client.get(reverse(name, args=[cohort.pk])).status_code == 403
