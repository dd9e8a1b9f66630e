"""The page of a cohort."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tests.factories import (
    BundleFactory,
    DeploymentFactory,
    InferenceRunFactory,
    PatientFactory,
    PredictionFactory,
)
from tests.inference.world import CARD, make_world, succeeded_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings):
    return make_world(settings.MEDIA_ROOT)


@pytest.fixture
def page(client, world):
    def get(role="owner", **query):
        client.force_login(world.users[role])
        return client.get(world.cohort.get_absolute_url(), query).content.decode()

    return get


def pseudonyms(text):
    return re.findall(r'<th scope="row"><a href="[^"]+">(P-\d+)</a>', text)


def many(world, count):
    """More patients, with rising probabilities."""
    patients = [PatientFactory(cohort=world.cohort, number=n) for n in range(2, count + 2)]
    for place, patient in enumerate(patients):
        value = 0.1 + 0.8 * place / count
        PredictionFactory(
            run=world.run, patient=patient, probability=value, low=value / 2, high=value,
            created_at=timezone.now(),
        )  # fmt: skip
    return patients


def test_a_patient_stands_there_with_number_interval_answer_and_picture(page):
    text = page()

    assert '0.71 <span class="quiet">(0.55 to 0.83)</span>' in text
    assert 'aria-label="Probability 0.71 (0.55 to 0.83), 95 % interval"' in text
    assert '<td class="n">78</td>' in text
    assert "<td>F</td>" in text
    assert '<td class="n">86</td>' in text
    assert "<td>Pseudo-MRI" in text


def test_the_newest_answer_of_a_patient_counts(page, world):
    run = succeeded_run(world.cohort, world.bundle, number=2)
    PredictionFactory(
        run=run, patient=world.patient, probability=0.22, low=0.12, high=0.37,
        created_at=timezone.now() + timedelta(seconds=1),
    )  # fmt: skip

    text = page()

    assert "0.22" in text
    assert "0.71" not in text
    assert "1 of 1 patients" in text


@pytest.mark.parametrize(("answer", "words"), [("outside", "Outside"), ("too_few", "Too few")])
def test_without_a_number_none_is_shown(page, world, answer, words):
    world.prediction.answer = answer
    world.prediction.probability = world.prediction.low = world.prediction.high = None
    world.prediction.reasons = ["2 of 88 inputs are given."]
    world.prediction.save()

    text = page()

    assert "no number" in text
    assert words in text
    assert "2 of 88 inputs are given." in text
    assert "0.50" not in text
    assert "0 with a number" in text
    assert "No answer with a number yet" in text


def test_an_answer_of_an_earlier_model_is_marked(page):
    DeploymentFactory(bundle=BundleFactory(card=CARD), deployed_at=timezone.now())

    text = page()

    assert "Stale: made by model" in text
    assert 'class="iv iv-stale"' in text


@pytest.mark.parametrize(
    ("order", "first"), [("patient", "P-0001"), ("-patient", "P-0031"), ("value", "P-0002")]
)
def test_patients_are_sorted_as_asked(page, world, order, first):
    many(world, 30)

    assert pseudonyms(page(order=order))[0] == first


def test_patients_without_a_number_come_last_whichever_way_values_are_sorted(page, world):
    PatientFactory(cohort=world.cohort, number=9)

    assert pseudonyms(page(order="value"))[-1] == "P-0009"
    assert pseudonyms(page(order="-value"))[-1] == "P-0009"


def test_the_pages_together_hold_every_patient_once(page, world):
    many(world, 60)

    found = [name for number in (1, 2, 3) for name in pseudonyms(page(page=number, order="value"))]

    assert len(found) == len(set(found)) == 61


@pytest.mark.parametrize(("order", "step"), [("patient", 1), ("-patient", -1)])
def test_pages_near_the_end_go_on_where_the_ones_before_them_stopped(page, world, order, step):
    many(world, 60)

    found = [name for number in (1, 2, 3) for name in pseudonyms(page(page=number, order=order))]

    assert found == [f"P-{number:04d}" for number in range(1, 62)][::step]


@pytest.mark.parametrize("query", [{"page": "x"}, {"page": -4}, {"page": 10**9}, {"order": "x"}])
def test_a_made_up_page_or_order_shows_a_real_one(page, query):
    assert pseudonyms(page(**query)) == ["P-0001"]


def test_the_page_takes_as_many_queries_for_25_patients_as_for_one(client, world):
    client.force_login(world.users["owner"])
    url = world.cohort.get_absolute_url()
    client.get(url)  # what is asked once per process

    with CaptureQueriesContext(connection) as one:
        client.get(url)
    many(world, 60)

    with CaptureQueriesContext(connection) as many_:
        client.get(url)

    assert len(many_) <= len(one) <= 25


def test_without_patients_the_page_says_what_to_do(page, world):
    world.patient.delete()

    text = page()

    assert "No patient yet" in text
    assert reverse("patients:start-import", args=[world.cohort.pk]) in text


def test_a_viewer_is_offered_nothing_that_they_may_not_do(page):
    text = page("viewer")

    assert "Run MIRAGE" not in text
    assert "Import EHR" not in text


def test_a_run_under_way_is_a_line_that_asks_for_itself(page, world):
    run = InferenceRunFactory(cohort=world.cohort, bundle=world.bundle, number=2, total=4)

    text = page()

    assert f'hx-get="{reverse("inference:run", args=[run.pk])}?seen=0"' in text
    assert 'hx-trigger="every 1s"' in text
    assert "no worker" in text


def test_without_a_model_the_page_says_so(client):
    patient = PatientFactory()
    client.force_login(patient.cohort.created_by)

    text = client.get(patient.cohort.get_absolute_url()).content.decode()

    assert "No model is in use." in text
    assert "register_bundle" in text
    assert patient.pseudonym in text
