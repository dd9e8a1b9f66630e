"""What if: another record is tried by the real model, shown to who asked, and not kept."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.inference import engine, runner, services
from apps.inference.models import Prediction, WhatIf
from apps.jobs.models import JobState
from apps.patients.models import Finding
from tests.inference.world import make_world

pytestmark = pytest.mark.django_db
POLL = {"HX-Request": "true"}


@pytest.fixture
def world(settings, client):
    world = make_world(settings.MEDIA_ROOT)
    WhatIf.objects.all().delete()
    client.force_login(world.users["owner"])
    return world


@pytest.fixture
def post(client, world):
    url = reverse("inference:request-what-if", args=[world.patient.pk])
    return lambda **data: client.post(url, data, headers=POLL).content.decode()


@pytest.fixture
def answered(bundle, people):
    engine._loaded.clear()
    cohort = people(3)
    run = services.request_run(cohort=cohort, requested_by=cohort.created_by, now=timezone.now())
    runner.execute(run_id=run.pk)
    yield run.predictions.filter(probability__isnull=False).first()
    engine._loaded.clear()


def try_out(prediction, changes, *, with_volumes=False):
    job = services.request_what_if(
        prediction=prediction,
        changes=changes,
        with_volumes=with_volumes,
        requested_by=prediction.run.requested_by,
        now=timezone.now(),
    )
    runner.try_what_if(what_if_id=job.pk)
    job.refresh_from_db()
    return job


@pytest.mark.django_db(transaction=True)
def test_a_changed_record_is_answered_and_nothing_of_it_is_stored(answered, bundle):
    stored = list(Finding.objects.order_by("pk").values_list("patient", "concept", "value"))
    predictions = Prediction.objects.count()
    [age] = Finding.objects.filter(patient=answered.patient, concept="age")

    same = try_out(answered, {"age": age.value})
    other = try_out(answered, {"age": 90.0, "apoe4": 2.0}, with_volumes=True)

    assert (same.state, same.probability) == (
        JobState.SUCCEEDED,
        pytest.approx(answered.probability, abs=1e-6),
    )
    assert other.reason == ""
    assert other.probability != pytest.approx(answered.probability, abs=1e-4)
    assert other.low <= other.probability <= other.high
    assert other.volumes_ml
    assert not same.volumes_ml
    assert WhatIf.objects.count() == 1
    assert Prediction.objects.count() == predictions
    assert list(Finding.objects.order_by("pk").values_list("patient", "concept", "value")) == stored


@pytest.mark.django_db(transaction=True)
def test_taking_too_much_away_gives_no_number(answered):
    schema = answered.run.bundle.card["schema"]
    services_limit, WhatIf.MOST_CHANGES = WhatIf.MOST_CHANGES, len(schema)
    try:
        job = try_out(answered, dict.fromkeys(schema))
    finally:
        WhatIf.MOST_CHANGES = services_limit

    assert (job.answer, job.probability) == ("too_few", None)
    assert job.reasons


def test_a_picture_waits_where_pictures_wait(world):
    make = {"prediction": world.prediction, "requested_by": world.users["owner"]}
    job = services.request_what_if(
        changes={"age": 70.0}, with_volumes=True, now=timezone.now(), **make
    )
    assert job.queue_name == "decode"
    job = services.request_what_if(
        changes={"age": 70.0}, with_volumes=False, now=timezone.now(), **make
    )
    assert job.queue_name == "surrogate"


def test_tries_add_up_until_somebody_starts_over(post, client, world):
    first = post(concept="age", value="70,5")
    assert 'value="age:70.5"' in first

    second = post(concept="apoe4", value="2", kept="age:70.5")

    assert WhatIf.objects.get().changes == {"age": 70.5, "apoe4": 2.0}
    assert "What if" in second
    fresh = client.get(f"{world.patient.get_absolute_url()}?what-if=none").content.decode()
    assert 'name="kept"' not in fresh


def test_a_finding_can_be_taken_away(post):
    post(concept="age", value="none")

    assert WhatIf.objects.get().changes == {"age": None}


@pytest.mark.parametrize(
    ("concept", "value", "words"),
    [
        ("age", "174", "Age must lie between"),
        ("age", "old", "Age is given as a number. You gave “old”."),
        ("age", "", "Give a value for Age."),
        ("age", "nan", "Age must lie between"),
        ("female", "0.5", "is a whole number"),
        ("mmse", "12", "the model reads no other"),
        ("nothing", "1", "the model reads no other"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_limits(post, concept, value, words):
    assert words in post(concept=concept, value=value)
    assert not WhatIf.objects.exists()


def test_a_kept_change_that_was_tampered_with_is_left_out(post):
    post(concept="age", value="70", kept=["mmse:3", "apoe4:99", "apoe4:two", "x"])

    assert WhatIf.objects.get().changes == {"age": 70.0}


def test_the_result_stands_beside_the_number_and_is_called_what_if(client, world, post):
    post(concept="age", value="90")
    job = WhatIf.objects.get()
    WhatIf.objects.filter(pk=job.pk).update(
        state="succeeded", finished_at=timezone.now(), answer="uncertain",
        probability=0.5, low=0.3, high=0.7, volumes_ml={"tissue": 812.0},
    )  # fmt: skip

    response = client.get(reverse("inference:what-if", args=[job.pk]), headers=POLL)

    text = response.content.decode()
    assert response.status_code == 286
    assert "0.71 → 0.50 <small>(0.30 to 0.70)</small>" in text
    assert "AD → Uncertain" in text
    assert "812.0" in text
    assert "SYNTHETIC" in text


def test_the_field_fits_the_concept_and_holds_what_the_record_holds(client, world):
    url = reverse("inference:what-if-field", args=[world.patient.pk])

    assert '<option value="1" selected>' in client.get(url, {"concept": "female"}).content.decode()
    assert 'value="78"' in client.get(url, {"concept": "age"}).content.decode()
    assert "Missing in the record." in client.get(url, {"concept": "bmi"}).content.decode()
    assert client.get(url, {"concept": "mmse"}).status_code == 404


def test_old_tries_are_forgotten(post):
    post(concept="age", value="70")

    assert services.forget_what_ifs(now=timezone.now()) == 0
    assert services.forget_what_ifs(now=timezone.now() + timedelta(hours=1)) == 1


def test_another_persons_try_is_not_on_my_page(client, world, post):
    post(concept="age", value="70")
    client.force_login(world.users["clinician"])

    text = client.get(world.patient.get_absolute_url()).content.decode()

    assert 'id="what-if-try"' in text
    assert 'name="kept"' not in text
