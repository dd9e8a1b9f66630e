"""Performance of a cohort: figures as the reference computes them, and none from too few people."""

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.inference import performance
from apps.inference.models import Prediction
from apps.patients.models import Finding, Patient
from ml.evaluation import metrics
from tests.factories import NOW, PatientFactory
from tests.inference.world import make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings, client):
    world = make_world(settings.MEDIA_ROOT)
    client.force_login(world.users["viewer"])
    return world


@pytest.fixture
def page(client, world):
    url = reverse("inference:performance", args=[world.cohort.pk])

    def get():
        return client.get(url).content.decode()

    return get


def answered(world, count, *, seed=3):
    """People with a recorded diagnosis, of whom a third more have AD the higher the number is."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.02, 0.98, count).round(2)
    has_ad = rng.random(count) < scores
    patients = Patient.objects.bulk_create(
        PatientFactory.build(cohort=world.cohort, number=n + 10) for n in range(count)
    )
    Prediction.objects.bulk_create(
        Prediction(
            run=world.run, patient=patient, attempt=1, answer="uncertain", probability=score,
            low=score / 2, high=(1 + score) / 2, created_at=NOW,
        )
        for patient, score in zip(patients, scores, strict=True)
    )  # fmt: skip
    Finding.objects.bulk_create(
        Finding(
            patient=patient, concept=concept, value=value, unit="", observed_at=NOW, recorded_at=NOW
        )
        for n, (patient, ad) in enumerate(zip(patients, has_ad, strict=True))
        for concept, value in (
            ("diagnosis", 2.0 if ad else 0.0), ("female", n % 2), ("age", 60.0 + n % 24),
        )
    )  # fmt: skip
    return scores, has_ad


@pytest.fixture
def sample():
    rng = np.random.default_rng(1)
    scores = rng.uniform(0.05, 0.95, 300).round(2)  # rounded, so that there are ties
    return scores, rng.random(300) < scores**2


def test_auc_is_delongs(sample):
    scores, has_ad = sample
    own = performance.auc(scores.tolist(), has_ad.tolist())
    reference = metrics.auc(scores, has_ad.astype(np.int64))

    found = (own.value, own.low, own.high)
    assert found == pytest.approx((reference.value, reference.low, reference.high))


def test_slope_and_intercept_are_those_of_a_logistic_regression(sample):
    scores, has_ad = sample
    own = performance.calibration(scores.tolist(), has_ad.tolist())
    reference = metrics.calibration(scores, has_ad.astype(np.int64))

    for mine, theirs in zip(own, reference, strict=True):
        assert (mine.value, mine.low, mine.high) == pytest.approx(
            (theirs.value, theirs.low, theirs.high), rel=1e-4
        )


def test_wilsons_interval_is_the_reference(sample):
    own, reference = performance.wilson(8, 10), metrics.proportion(8, 10)

    assert (own.low, own.high) == pytest.approx((reference.low, reference.high))


def test_probabilities_that_part_the_classes_have_no_slope():
    assert performance.calibration([0.1, 0.2, 0.8, 0.9], [False, False, True, True]) == (None, None)
    assert performance.calibration([0.5] * 4, [False, True, False, True]) == (None, None)


def test_without_a_recorded_diagnosis_nothing_is_compared(page):
    assert "No patient with a number has a recorded diagnosis" in page()


def test_with_too_few_there_is_no_curve_and_the_page_says_what_it_needs(page, world):
    _, has_ad = answered(world, 60)

    text = page()

    n_ad = int(has_ad.sum())
    assert "it needs 200 people with AD and 200 without" in text
    assert f"There are {n_ad} and {60 - n_ad}." in text
    assert "calibration slope" not in text.lower()


def test_with_enough_there_is_a_curve_with_intervals(page, world):
    scores, has_ad = answered(world, 500)
    assert min(has_ad.sum(), (~has_ad).sum()) >= 200

    text = page()

    assert 'aria-label="Calibration: ' in text
    assert text.count('class="p-whisker"') == 10
    area = metrics.auc(scores, has_ad.astype(np.int64))
    assert f"{area.value:.2f} <small>({area.low:.2f} to {area.high:.2f})" in text


def test_groups_have_figures_from_thirty_people_on_and_few_are_not_counted_out(world):
    answered(world, 100)

    found = performance.performance_of(world.cohort)

    groups = {group.name: group for _, parts in found.groups for group in parts}
    assert groups["Female"].n + groups["Male"].n == 101
    assert groups["Female"].mean == pytest.approx(0.5, abs=0.15)
    assert groups["Female"].auc is not None
    assert groups["85 and over"].mean is None
    assert groups["two"].told == "0"
    few = performance.Subgroup("x", 3, 0, 0, None, None, None)
    assert few.told == "fewer than 5"


def test_another_diagnosis_is_in_neither_class(world):
    answered(world, 40)
    Finding.objects.filter(concept="diagnosis", value=0.0).update(value=1.0)

    found = performance.performance_of(world.cohort)

    assert found.n_cn == 0
    assert found.auc is None


def test_the_page_asks_the_database_equally_often_for_ten_times_the_people(client, world):
    url = reverse("inference:performance", args=[world.cohort.pk])
    client.get(url)

    def count():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            client.get(url)
        return len(queries)

    before = count()
    answered(world, 300)
    assert count() == before
