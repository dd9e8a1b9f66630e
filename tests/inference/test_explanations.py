"""Explanations: asked for once, computed by the real model, shown if they hold."""

import copy

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from apps.inference import engine, runner, services
from apps.inference.explaining import explained
from apps.inference.models import Explanation, PseudoMRI
from apps.jobs.models import JobState
from apps.patients.models import Finding
from tests.factories import ExplanationFactory, PredictionFactory
from tests.inference.world import EXPLAINED, make_world

pytestmark = pytest.mark.django_db
POLL = {"HX-Request": "true"}


@pytest.fixture
def world(settings, client):
    world = make_world(settings.MEDIA_ROOT)
    client.force_login(world.users["owner"])
    return world


@pytest.fixture
def page(client, world):
    def get():
        return client.get(world.patient.get_absolute_url()).content.decode()

    return get


def store(world, **changes):
    content = {**copy.deepcopy(EXPLAINED), **changes}
    Explanation.objects.filter(pk=world.explanation.pk).update(content=content)


def unexplained(world, **fields):
    ended = {"finished_at": timezone.now()} if fields.get("state") != "queued" else {}
    Explanation.objects.all().delete()
    return ExplanationFactory(prediction=world.prediction, **fields, **ended)


@pytest.fixture
def answered(bundle, people):
    """One person with an answer by the real model."""
    engine._loaded.clear()
    cohort = people(3)
    run = services.request_run(cohort=cohort, requested_by=cohort.created_by, now=timezone.now())
    runner.execute(run_id=run.pk)
    yield run.predictions.filter(probability__isnull=False).first()
    engine._loaded.clear()


@pytest.mark.django_db(transaction=True)
def test_the_model_explains_an_answer_and_the_page_shows_it(answered, client):
    user = answered.run.requested_by
    job = services.request_explanation(prediction=answered, requested_by=user, now=timezone.now())
    runner.explain(explanation_id=job.pk)
    job.refresh_from_db()
    client.force_login(user)

    text = client.get(answered.patient.get_absolute_url()).content.decode()

    assert (job.state, job.reason) == (JobState.SUCCEEDED, "")
    assert job.content["probability"] == pytest.approx(answered.probability, abs=1e-6)
    shown = explained(job.content)
    assert "What moved the number" in text
    if shown.passed:
        assert shown.effects[0].concept.label in text
    else:
        assert "no ranking of the findings is shown" in text


@pytest.mark.django_db(transaction=True)
def test_findings_that_were_changed_behind_an_answer_are_not_explained(answered):
    job = services.request_explanation(
        prediction=answered, requested_by=answered.run.requested_by, now=timezone.now()
    )
    Finding.objects.filter(patient=answered.patient, concept="age").update(value=61.0)

    runner.explain(explanation_id=job.pk)

    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "Run MIRAGE on the patient again" in job.reason


@pytest.mark.django_db(transaction=True)
def test_a_decoding_keeps_what_was_read_off_the_picture(answered):
    job = services.request_pseudo_mri(
        prediction=answered, requested_by=answered.run.requested_by, now=timezone.now()
    )
    runner.decode(pseudo_mri_id=job.pk)

    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED
    assert all(volume > 0 for volume in job.volumes_ml.values())
    assert job.volumes_ml


def test_an_answer_without_a_number_is_not_explained():
    prediction = PredictionFactory(answer="too_few", probability=None, low=None, high=None)

    with pytest.raises(services.RunRefusedError, match="No explanation can be given"):
        services.request_explanation(
            prediction=prediction, requested_by=prediction.run.requested_by, now=timezone.now()
        )


def test_the_database_refuses_a_finished_explanation_without_content():
    job = ExplanationFactory()
    ended = {"state": "succeeded", "finished_at": timezone.now(), "attempt": 1, "tries": 1}
    with pytest.raises(IntegrityError), transaction.atomic():
        Explanation.objects.filter(pk=job.pk).update(**ended)


def test_effects_stand_with_value_change_and_the_test_that_they_passed(page):
    text = page()

    assert "APOE e4" in text
    assert '<td class="n">+0.11</td>' in text
    assert '<td class="n">−0.02</td>' in text
    assert "Deletion check passed." in text
    assert "Without 1 at random" in text
    assert "Cough" not in text.split("Deletion check passed.")[0].split("What moved the number")[1]


def test_a_ranking_that_failed_its_test_is_not_shown(page, world):
    failed = [{**EXPLAINED["deletions"][0], "passed": False}]
    store(world, passed=False, deletions=failed)

    text = page()

    assert "no ranking of the findings is shown" in text
    assert "+0.11" not in text
    assert "Not more than chance." in text
    assert "paths-data" not in text


def test_paths_are_a_picture_and_a_table_that_say_what_the_model_did_not_read(page):
    text = page()

    assert 'id="paths-data" type="application/json"' in text
    assert "1 of 3 steps not in the model’s graph" in text
    assert "No path from: Age" in text


def test_the_picture_holds_each_stop_once_in_its_column():
    picture = explained(EXPLAINED).picture
    columns = {node["text"]: node["column"] for node in picture["nodes"].values()}

    assert columns["This patient"] == 0
    assert columns["APOE gene"] == columns["Gait disturbance"] == 2
    assert columns["Abnormality of the nervous system"] == 3
    assert columns["Alzheimer disease"] == 4
    assert len(picture["edges"]) == 7
    assert all(0 < node["height"] < 1 for node in picture["nodes"].values())


def test_missing_inputs_stand_with_what_they_could_do(page):
    text = page()

    assert "0.63 to 0.78" in text
    assert text.index("0.63 to 0.78") < text.index("0.70 to 0.72")


def test_without_an_explanation_there_is_a_button_and_no_poll(page, world):
    Explanation.objects.all().delete()
    PseudoMRI.objects.all().delete()

    text = page()

    assert "Explain this answer" in text
    assert "every 1s" not in text


def test_asking_queues_it_once(client, world):
    Explanation.objects.all().delete()
    url = reverse("inference:request-explanation", args=[world.patient.pk])

    for _ in range(2):
        client.post(url)

    assert Explanation.objects.get().state == JobState.QUEUED


def test_polling_goes_on_until_it_is_there_and_then_reads_the_page_again(client, world):
    job = unexplained(world, state="queued")
    url = reverse("inference:explanation", args=[job.pk])
    waiting = client.get(url, headers=POLL)
    assert (waiting.status_code, "every 1s" in waiting.content.decode()) == (200, True)

    Explanation.objects.filter(pk=job.pk).update(
        state="succeeded", content=EXPLAINED, finished_at=timezone.now()
    )
    done = client.get(url, headers=POLL)

    assert (done.status_code, done["HX-Refresh"]) == (286, "true")


def test_a_failed_explanation_says_why_and_offers_another_try(page, world):
    unexplained(world, state="failed", reason="The disk is full.")

    text = page()

    assert "The number is there, its explanation is not." in text
    assert "The disk is full." in text
    assert "Explain again" in text
