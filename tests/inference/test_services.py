"""What a user can ask for, and what they are told when it cannot be had."""

import pytest

from apps.inference import services
from apps.inference.models import InferenceRun, PseudoMRI
from apps.jobs.models import JobState
from apps.patients.models import Membership, Patient
from apps.registry import selectors
from tests.factories import (
    NOW,
    CohortFactory,
    InferenceRunFactory,
    PatientFactory,
    PredictionFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db


def ask(cohort, patient=None, user=None, now=NOW):
    return services.request_run(
        cohort=cohort, patient=patient, requested_by=user or cohort.created_by, now=now
    )


@pytest.fixture
def viewer():
    cohort, user = CohortFactory(), UserFactory()
    Membership.objects.create(cohort=cohort, user=user, role="viewer")
    PatientFactory(cohort=cohort)
    return cohort, user


def test_a_run_is_queued_for_all_who_were_there_when_it_was_asked_for(bundle):
    cohort = CohortFactory()
    PatientFactory.create_batch(2, cohort=cohort)

    run = ask(cohort)

    assert (run.number, run.total, run.bundle) == (1, 2, bundle)
    assert run.state == JobState.QUEUED


def test_without_a_bundle_the_user_is_told_what_is_missing():
    with pytest.raises(services.RunRefusedError, match="register_bundle"):
        ask(PatientFactory().cohort)


def test_a_damaged_bundle_refuses_runs_and_says_why(bundle):
    patient = PatientFactory()
    for file in selectors.folder_of(bundle).glob("*.safetensors"):
        file.write_bytes(b"damage")

    with pytest.raises(services.RunRefusedError, match="SHA-256"):
        ask(patient.cohort)


def test_an_empty_cohort_has_nothing_to_run(bundle):
    with pytest.raises(services.RunRefusedError, match="Import an EHR file"):
        ask(CohortFactory())


def test_a_second_run_for_the_same_cohort_must_wait(bundle):
    cohort = PatientFactory().cohort
    ask(cohort)

    with pytest.raises(services.RunAlreadyActiveError):
        ask(cohort)


def test_runs_are_numbered_within_their_cohort(bundle):
    for cohort in (PatientFactory().cohort, PatientFactory().cohort):
        first = ask(cohort)
        services.cancel_run(run=first)
        assert (first.number, ask(cohort).number) == (1, 2)


def test_a_run_for_one_patient_means_that_patient_alone(bundle):
    patient = PatientFactory()
    PatientFactory(cohort=patient.cohort)

    assert ask(patient.cohort, patient).total == 1


def test_a_patient_of_another_cohort_is_not_run(bundle):
    with pytest.raises(services.RunRefusedError):
        ask(CohortFactory(), PatientFactory())


def test_a_viewer_may_not_run(bundle, viewer):
    cohort, user = viewer

    with pytest.raises(services.NotAllowedError):
        ask(cohort, user=user)

    assert not InferenceRun.objects.exists()


def test_an_ended_run_cannot_be_cancelled():
    run = InferenceRunFactory()
    services.cancel_run(run=run)

    with pytest.raises(services.JobStateError):
        services.cancel_run(run=run)


def test_a_cancelled_run_can_be_retried_but_not_beside_a_newer_one(bundle):
    cohort = PatientFactory().cohort
    first = ask(cohort)
    services.cancel_run(run=first)
    second = ask(cohort)

    with pytest.raises(services.JobStateError, match="Another run"):
        services.retry_run(run=first)
    services.cancel_run(run=second)
    services.retry_run(run=first)

    assert InferenceRun.objects.get(pk=first.pk).state == JobState.QUEUED


@pytest.mark.parametrize("answer", ["outside", "too_few"])
def test_no_pseudo_mri_is_decoded_where_there_is_no_probability(answer):
    prediction = PredictionFactory(
        answer=answer, probability=None, low=None, high=None, reasons=["Two inputs are known."]
    )

    with pytest.raises(services.RunRefusedError, match="Two inputs are known"):
        services.request_pseudo_mri(
            prediction=prediction, requested_by=prediction.run.requested_by, now=NOW
        )


def test_a_pseudo_mri_is_asked_for_once_however_often_the_button_is_pressed():
    prediction = PredictionFactory()
    jobs = {
        services.request_pseudo_mri(
            prediction=prediction, requested_by=prediction.run.requested_by, now=NOW
        )
        for _ in range(3)
    }

    assert jobs == {PseudoMRI.objects.get()}


def test_asking_again_after_a_failure_queues_it_again():
    prediction = PredictionFactory()
    request = {"prediction": prediction, "requested_by": prediction.run.requested_by, "now": NOW}
    job = services.request_pseudo_mri(**request)
    services.cancel_job(job=job)

    services.request_pseudo_mri(**request)

    assert PseudoMRI.objects.get().state == JobState.QUEUED


def test_a_deleted_cohort_takes_all_that_is_known_of_its_patients_with_it(bundle):
    cohort = PatientFactory().cohort
    ask(cohort)
    cohort.delete()

    assert not Patient.objects.exists()
    assert not InferenceRun.objects.exists()
