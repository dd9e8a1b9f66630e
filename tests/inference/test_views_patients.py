"""The page of a patient: the answer, its uncertainty and what is missing stand side by side."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.jobs.models import JobState
from tests.factories import (
    BundleFactory,
    DeploymentFactory,
    FindingFactory,
    InferenceRunFactory,
    PatientFactory,
)
from tests.inference.world import CARD, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings):
    return make_world(settings.MEDIA_ROOT)


@pytest.fixture
def page(client, world):
    def get(role="owner"):
        client.force_login(world.users[role])
        return client.get(world.patient.get_absolute_url()).content.decode()

    return get


def test_the_number_stands_with_interval_people_and_base_rate(page):
    text = page()

    assert '<p class="answer-number">0.71</p>' in text
    assert "95 % interval 0.55 to 0.83" in text
    assert (
        "Of 100 people of the reference population with this number, about 71 had AD "
        "(55 to 83). Without any input it would be 34."
    ) in text


def test_what_is_missing_is_listed_by_group(page):
    text = page()

    assert "2 of 88 inputs are missing" in text
    assert "Weight, Height" in text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("ad", "AD, at 90 % coverage"),
        ("cn", "CN, at 90 % coverage"),
        ("uncertain", "Neither AD nor cognitively normal (CN) can be excluded"),
    ],
)
def test_each_answer_with_a_number_says_what_it_excludes(page, world, answer, words):
    world.prediction.answer = answer
    world.prediction.save()

    assert words in page()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("outside", "Outside the training data: no number is given"),
        ("too_few", "Too few inputs: no number is given"),
    ],
)
def test_a_refusal_is_an_answer_without_a_number_or_a_picture(page, world, answer, words):
    world.pseudo_mri.delete()
    world.prediction.answer = answer
    world.prediction.probability = world.prediction.low = world.prediction.high = None
    world.prediction.reasons = ["The age of 17 is below that of every training patient."]
    world.prediction.save()

    text = page()

    assert words in text
    assert "The age of 17 is below that of every training patient." in text
    assert "answer-number" not in text
    assert "Decode pseudo-MRI" not in text


def test_no_page_of_a_patient_calls_anything_a_diagnosis(page):
    text = page().lower().replace("not a diagnosis", "").replace("nothing here is a diagnosis", "")

    assert "diagnosis" not in text


def test_provenance_names_bundle_fingerprint_and_time(page, world):
    text = page()

    assert world.bundle.fingerprint in text
    assert world.pseudo_mri.sha256 in text
    assert f"run {world.run.number}, attempt 1" in text


def test_the_volume_is_fetched_by_the_viewer_from_a_url_that_ends_in_nii(page, world):
    text = page()

    url = reverse("inference:pseudo-mri-volume", args=[world.pseudo_mri.pk])
    assert f'data-volume="{url}"' in text
    assert url.endswith(".nii")
    assert "SYNTHETIC" in text


def test_before_anybody_asked_there_is_a_button_and_no_poll(page, world):
    world.pseudo_mri.delete()

    text = page()

    assert "No pseudo-MRI asked for" in text
    assert "Decode pseudo-MRI" in text
    assert "every 1s" not in text


def test_a_failed_decoding_says_why_and_offers_another_try(page, world):
    type(world.pseudo_mri).objects.filter(pk=world.pseudo_mri.pk).update(
        state=JobState.FAILED, reason="The disk is full.", file="", sha256="", bytes=None
    )

    text = page()

    assert "The number is there, the picture is not." in text
    assert "The disk is full." in text
    assert "Decode again" in text


def test_another_model_in_use_makes_the_answer_stale(page):
    DeploymentFactory(bundle=BundleFactory(card=CARD), deployed_at=timezone.now())

    text = page()

    assert "This answer is stale." in text
    assert "Run again to have its answer." in text


def test_findings_imported_after_the_answer_make_it_stale(page, world):
    later = world.run.requested_at + timedelta(minutes=1)
    FindingFactory(
        patient=world.patient, concept="apoe4", value=2, observed_at=later, recorded_at=later
    )

    assert "Findings were imported after it was given." in page()


def test_findings_stand_in_groups_with_their_words_and_units(page, world):
    FindingFactory(patient=world.patient, concept="mmse", value=24)

    text = page()

    assert "78 years" in text
    assert "Female" in text
    assert "kept out: a close copy of what is predicted" in text


def test_a_patient_without_an_answer_can_be_run(client, world):
    client.force_login(world.users["owner"])
    patient = PatientFactory(cohort=world.cohort, number=7)

    text = client.get(patient.get_absolute_url()).content.decode()

    assert "Not run yet" in text
    assert "Run MIRAGE" in text


def test_a_failed_run_is_named_with_its_reason(page, world):
    InferenceRunFactory(
        cohort=world.cohort, bundle=world.bundle, patient=world.patient, number=2,
        state=JobState.FAILED, reason="The worker was lost 3 times.", finished_at=timezone.now(),
        requested_at=timezone.now(),
    )  # fmt: skip

    text = page()

    assert "Failed. The worker was lost 3 times." in text
    assert "Retry" in text


def test_a_viewer_sees_the_answer_and_no_button(page):
    text = page("viewer")

    assert "0.71" in text
    assert "Run again" not in text
