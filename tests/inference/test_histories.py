"""Findings of a patient over time: their course, their import, and what would alarm a clinician."""

import re
from datetime import timedelta

import pytest

from apps.patients import histories
from apps.patients.models import CodeConcept
from apps.patients.templatetags.profiles import sparkline
from tests.factories import (
    NOW,
    EhrImportFactory,
    FindingFactory,
    PatientFactory,
)

pytestmark = pytest.mark.django_db
YEAR = timedelta(days=365)


@pytest.fixture
def patient():
    patient = PatientFactory()
    for visit, (mmse, weight) in enumerate(((28, 80.0), (25, 78.0), (21, 79.0))):
        at = NOW + visit * YEAR
        FindingFactory(patient=patient, concept="mmse", value=mmse, unit="", observed_at=at)
        FindingFactory(
            patient=patient, concept="weight_kg", value=weight, unit="kg", observed_at=at
        )
    FindingFactory(patient=patient, concept="female", value=1.0, unit="")
    return patient


@pytest.fixture
def page(client, patient):
    def get():
        client.force_login(patient.cohort.created_by)
        return client.get(patient.get_absolute_url()).content.decode()

    return get


def test_the_newest_value_of_each_concept_stands_first(patient, page):
    found = histories.histories_of(patient)

    assert {name: history.newest.value for name, history in found.items()} == {
        "mmse": 21.0, "weight_kg": 79.0, "female": 1.0,
    }  # fmt: skip
    assert "79 kg" in page()


def test_what_was_observed_once_is_not_a_course(patient):
    visits = histories.visits_of(histories.histories_of(patient).values())

    assert {history.concept.id for history, _ in visits.rows} == {"mmse", "weight_kg"}
    assert len(visits.days) == 3


def test_a_day_without_a_value_is_left_empty(patient):
    FindingFactory(patient=patient, concept="mmse", value=20, unit="", observed_at=NOW + 3 * YEAR)

    visits = histories.visits_of(histories.histories_of(patient).values())
    [weights] = [found for history, found in visits.rows if history.concept.id == "weight_kg"]

    assert [f and f.value for f in weights] == [80.0, 78.0, 79.0, None]


def test_of_many_days_the_newest_are_shown_and_the_others_counted(patient, page):
    for visit in range(3, 12):
        FindingFactory(
            patient=patient, concept="mmse", value=20, unit="", observed_at=NOW + visit * YEAR
        )

    visits = histories.visits_of(histories.histories_of(patient).values())

    assert (len(visits.days), visits.earlier) == (histories.DAYS_SHOWN, 12 - histories.DAYS_SHOWN)
    assert "the newest 6 of 12 days" in page()


def test_without_a_second_visit_there_is_no_table_of_visits(page, patient):
    patient.findings.filter(observed_at__gt=NOW).delete()

    text = page()

    assert "Over time" not in text
    assert "80 kg" in text


def test_the_line_goes_up_where_the_value_does_and_ends_in_the_dot(patient):
    found = histories.histories_of(patient)

    def points(concept):
        path = re.search(r' d="M([^"]+)"', sparkline(found[concept]))[1]
        return [tuple(map(float, point.split())) for point in path.split("L")]

    weights, scores = points("weight_kg"), points("mmse")
    assert [x for x, _ in weights] == sorted(x for x, _ in weights)
    assert weights[0][1] < weights[2][1] < weights[1][1]  # downwards on a screen is more
    assert scores[0][1] < scores[1][1] < scores[2][1]
    assert f'cx="{weights[-1][0]}" cy="{weights[-1][1]}"' in sparkline(found["weight_kg"])


def test_a_line_of_equal_values_is_flat_and_divides_by_nothing(patient):
    other = PatientFactory(cohort=patient.cohort, number=2)
    for visit in range(3):
        FindingFactory(
            patient=other, concept="mmse", value=30, unit="", observed_at=NOW + visit * YEAR
        )

    drawn = sparkline(histories.histories_of(other)["mmse"])

    assert re.search(r'd="M4.0 14.0L60.0 14.0L116.0 14.0"', drawn)


@pytest.mark.parametrize(
    ("concept", "value", "words"),
    [("systolic_mmhg", 230.0, "critically high"), ("systolic_mmhg", 130.0, ""),
     ("systolic_mmhg", 60.0, "critically low"), ("female", 1.0, "")],
)  # fmt: skip
def test_a_value_that_would_alarm_is_marked_in_words(patient, concept, value, words):
    other = PatientFactory(cohort=patient.cohort, number=2)
    FindingFactory(patient=other, concept=concept, value=value)

    assert histories.histories_of(other)[concept].mark == words


def test_every_finding_says_which_import_it_came_with(patient, page):
    EhrImportFactory(cohort=patient.cohort, committed_at=NOW, file_name="clinic 2026.csv")
    FindingFactory(patient=patient, concept="height_cm", value=170.0, recorded_at=NOW + YEAR)

    text = page()

    assert "clinic 2026.csv" in text
    assert "no import that is still listed" in text
    assert "All 8 findings with date and import" in text


def test_an_import_of_another_cohort_at_the_same_moment_is_not_named(patient, page):
    EhrImportFactory(committed_at=NOW, file_name="elsewhere.csv")

    assert "elsewhere.csv" not in page()


def test_a_code_stands_under_its_system_with_what_it_means(patient, page):
    CodeConcept.objects.create(id="icd10cm:I10", label="Essential (primary) hypertension")
    FindingFactory(patient=patient, concept="icd10cm:I10", value=1.0, unit="")

    text = page()

    assert "Codes: ICD-10-CM" in text
    assert "Essential (primary) hypertension (I10)" in text


def test_the_page_takes_as_many_queries_for_many_visits_as_for_few(
    client, patient, django_assert_max_num_queries
):
    for visit in range(3, 40):
        FindingFactory(
            patient=patient, concept="mmse", value=20, unit="", observed_at=NOW + visit * YEAR,
            recorded_at=NOW + visit * YEAR,
        )  # fmt: skip
        EhrImportFactory(cohort=patient.cohort, committed_at=NOW + visit * YEAR)
    client.force_login(patient.cohort.created_by)

    with django_assert_max_num_queries(22):
        client.get(patient.get_absolute_url())
