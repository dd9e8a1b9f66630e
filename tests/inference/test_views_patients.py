"""The page of a patient: the answer, its uncertainty and what is missing stand side by side."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.inference.models import Prediction, PseudoMRI
from apps.jobs.models import JobState
from ml.norms import Norm, Norms
from tests.factories import (
    NOW,
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


def test_two_ways_to_the_number_stand_under_each_other_with_what_they_agree_on(page, world):
    PseudoMRI.objects.update(cnn_probability=0.64, fused_probability=0.69)

    text = page()

    assert "From the pseudo-MRI" in text
    assert 'aria-label="Probability 0.64"' in text
    assert "Both ways lie above the base rate" in text
    assert "inside the surrogate’s interval" in text


def test_two_ways_that_disagree_are_said_to(page, world):
    PseudoMRI.objects.update(cnn_probability=0.1, fused_probability=0.4)

    assert "The two ways disagree" in page()


def test_without_a_cnn_there_is_one_way(page):
    assert "From the surrogate" not in page()


def test_volumes_stand_beside_what_is_usual_for_age_and_sex(page, world):
    norm = Norm(mean=6.0, per_year=-0.05, male=0.5, per_head_ml=0.0, residual_sd=0.5, log=False)
    norms = Norms(
        people="120 made-up people", n=120, age_low_years=55.0, age_high_years=90.0,
        age_mean_years=78.0, head_mean_ml=None, structures={"hippocampus": norm},
    )  # fmt: skip
    world.bundle.card = {**CARD, "norms": norms.to_entries()}
    world.bundle.save()
    PseudoMRI.objects.update(
        volumes_ml={"hippocampus": 6.0, "lateral ventricles": 40.0, "tissue": 1300.0},
        volume_errors_ml={"hippocampus": 0.4},
    )

    text = page()

    assert "against 120 made-up people" in text
    assert "Lateral ventricles" in text
    assert "Where CSF is, by region" in text
    assert '<td class="n">6 <span class="quiet">± 0.4</span></td>' in text
    assert '<td class="n quiet">5.2 to 6.8</td>' in text
    assert '<td class="n">50</td>' in text
    assert '<td class="n quiet">no norm</td>' in text


def test_volumes_without_norms_say_that_there_are_none(page):
    PseudoMRI.objects.update(volumes_ml={"tissue": 1200.0})

    text = page()

    assert '<td class="n">1,200</td>' in text
    assert "The model’s card has no norms" in text


def test_donors_are_figures_over_all_of_them(page):
    donors = {"n": 5, "of": 16, "largest_weight": 0.31, "nearness": 0.5}
    PseudoMRI.objects.update(volumes_ml={"tissue": 1200.0}, donors=donors)

    text = page()

    assert "5 of 16 kept in the bundle" in text
    assert "0.31 of 1" in text
    assert "never as persons" in text


def test_provenance_holds_the_hash_of_what_was_read(page, world):
    Prediction.objects.filter(pk=world.prediction.pk).update(input_sha256="c" * 64)

    text = page()

    assert "c" * 64 in text
    assert "86 values as known" in text


def test_the_page_asks_the_database_a_bounded_number_of_times(client, world):
    client.force_login(world.users["owner"])
    url = world.patient.get_absolute_url()
    client.get(url)
    for n, concept in enumerate(["weight_kg", "height_cm", "apoe4", "pulse_per_min"] * 5):
        FindingFactory(patient=world.patient, concept=concept, observed_at=NOW + timedelta(days=n))

    with CaptureQueriesContext(connection) as queries:
        client.get(url)

    assert len(queries) <= 30
