"""What the database itself refuses of runs, predictions and pseudo-MRIs."""

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from apps.inference.models import InferenceRun, Prediction, PseudoMRI
from tests.factories import (
    InferenceRunFactory,
    PatientFactory,
    PredictionFactory,
    PseudoMRIFactory,
    UserFactory,
    sha256,
)

pytestmark = pytest.mark.django_db


def test_a_run_predicts_for_a_patient_once():
    prediction = PredictionFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        PredictionFactory(run=prediction.run, patient=prediction.patient)


@pytest.mark.parametrize(
    "impossible",
    [
        {"answer": "ad", "probability": None, "low": None, "high": None},
        {"probability": None},
        {"low": None},
        {"high": None},
        {"probability": 1.01},
        {"probability": -0.01},
        {"low": -0.01},
        {"high": 1.01},
        {"low": 0.6, "high": 0.4},
        {"probability": float("nan")},
        {"answer": "too_few"},  # with a probability
        {"answer": "outside", "probability": None},  # with an interval
        {"answer": "maybe"},
    ],
    ids=str,
)
def test_an_impossible_prediction_is_refused(impossible):
    prediction = PredictionFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        Prediction.objects.filter(pk=prediction.pk).update(**impossible)


@pytest.mark.parametrize("answer", ["outside", "too_few"])
def test_an_answer_without_a_number_is_kept_without_one(answer):
    kept = PredictionFactory(answer=answer, probability=None, low=None, high=None)

    kept.refresh_from_db()
    assert (kept.answer, kept.probability) == (answer, None)


@pytest.mark.parametrize("lacking", [{"file": ""}, {"sha256": ""}, {"bytes": None}, {"bytes": 0}])
def test_a_pseudo_mri_without_a_whole_file_is_no_success(lacking):
    job = PseudoMRIFactory()
    whole = {"file": "pseudo_mri/x.nii", "sha256": sha256("x"), "bytes": 100}
    success = {"state": "succeeded", "finished_at": Now()}
    PseudoMRI.objects.filter(pk=job.pk).update(**success, **whole)

    with pytest.raises(IntegrityError), transaction.atomic():
        PseudoMRI.objects.filter(pk=job.pk).update(**lacking)


def test_a_pseudo_mri_that_was_not_decoded_names_no_file():
    job = PseudoMRIFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        PseudoMRI.objects.filter(pk=job.pk).update(file="pseudo_mri/x.nii")


def test_a_prediction_has_one_pseudo_mri():
    job = PseudoMRIFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        PseudoMRIFactory(prediction=job.prediction)


def test_a_cohort_has_one_run_under_way():
    run = InferenceRunFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        InferenceRunFactory(cohort=run.cohort)


def test_a_patient_has_one_run_under_way_beside_that_of_the_cohort():
    patient = PatientFactory()
    InferenceRunFactory(cohort=patient.cohort)
    InferenceRunFactory(cohort=patient.cohort, patient=patient)

    with pytest.raises(IntegrityError), transaction.atomic():
        InferenceRunFactory(cohort=patient.cohort, patient=patient)


def test_more_patients_cannot_be_done_than_were_meant():
    run = InferenceRunFactory(total=3)

    with pytest.raises(IntegrityError), transaction.atomic():
        InferenceRun.objects.filter(pk=run.pk).update(done=4)


def test_another_users_runs_predictions_and_pseudo_mris_are_invisible():
    job = PseudoMRIFactory()
    member, stranger = job.requested_by, UserFactory()

    for model in (InferenceRun, Prediction, PseudoMRI):
        assert model.objects.visible_to(member).exists()
        assert not model.objects.visible_to(stranger).exists()
