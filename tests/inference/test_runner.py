"""Runs and decodings, carried out in this process by the real model."""

import hashlib
from datetime import timedelta
from pathlib import Path

import nibabel
import pytest
from django.utils import timezone

from apps.inference import engine, runner, services
from apps.inference.models import InferenceRun, Prediction, PseudoMRI
from apps.jobs.models import JobState
from apps.patients.models import Finding
from apps.registry import selectors
from tests.factories import PatientFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh_engine():
    engine._loaded.clear()
    yield
    engine._loaded.clear()


def run_all(cohort, patient=None):
    run = services.request_run(
        cohort=cohort, patient=patient, requested_by=cohort.created_by, now=timezone.now()
    )
    runner.execute(run_id=run.pk)
    run.refresh_from_db()
    return run


def decode(prediction):
    job = services.request_pseudo_mri(
        prediction=prediction, requested_by=prediction.run.requested_by, now=timezone.now()
    )
    runner.decode(pseudo_mri_id=job.pk)
    job.refresh_from_db()
    return job


def test_every_patient_of_the_cohort_gets_one_answer(bundle, people):
    cohort = people(12)

    run = run_all(cohort)

    assert (run.state, run.done, run.total, run.reason) == (JobState.SUCCEEDED, 12, 12, "")
    assert set(run.predictions.values_list("patient", flat=True)) == set(
        cohort.patients.values_list("pk", flat=True)
    )


def test_a_patient_with_too_few_findings_gets_an_answer_and_no_number(bundle):
    patient = PatientFactory()

    run = run_all(patient.cohort)

    [prediction] = run.predictions.all()
    assert (prediction.answer, prediction.probability) == ("too_few", None)
    assert prediction.missing == bundle.card["schema"]
    assert prediction.reasons


def test_a_cohort_in_chunks_gives_the_same_as_each_patient_alone(bundle, people, monkeypatch):
    cohort = people(7)
    monkeypatch.setattr(runner, "PATIENTS_AT_ONCE", 3)
    together = dict(run_all(cohort).predictions.values_list("patient", "probability"))

    for patient in cohort.patients.all():
        [alone] = run_all(cohort, patient).predictions.all()
        assert alone.probability == pytest.approx(together[patient.pk], abs=1e-6)


def test_an_interrupted_run_goes_on_where_it_stopped(bundle, people, monkeypatch):
    cohort = people(9)
    monkeypatch.setattr(runner, "PATIENTS_AT_ONCE", 3)
    run = services.request_run(cohort=cohort, requested_by=cohort.created_by, now=timezone.now())
    predict, calls = engine.predict, []

    def interrupted(**arguments):
        calls.append(len(arguments["records"]))
        if len(calls) == 2:
            InferenceRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        return predict(**arguments)

    monkeypatch.setattr(engine, "predict", interrupted)
    runner.execute(run_id=run.pk)
    run.refresh_from_db()
    assert (run.state, run.done) == (JobState.RUNNING, 3)

    runner.execute(run_id=run.pk)

    run.refresh_from_db()
    assert (run.state, run.done, run.attempt) == (JobState.SUCCEEDED, 9, 2)
    assert sorted(run.predictions.values_list("attempt", flat=True)) == [1] * 3 + [2] * 6
    assert calls == [3, 3, 3, 3]


def test_patients_that_came_after_the_request_are_not_meant(bundle, people):
    cohort = people(3)
    run = services.request_run(cohort=cohort, requested_by=cohort.created_by, now=timezone.now())
    PatientFactory(cohort=cohort, number=100, created_at=timezone.now())

    runner.execute(run_id=run.pk)

    run.refresh_from_db()
    assert (run.state, run.done) == (JobState.SUCCEEDED, 3)


def test_a_run_finishes_on_the_bundle_it_was_asked_with_whatever_is_deployed_since(
    bundle, people, bundle_folder, tmp_path
):
    cohort = people(2)
    run = services.request_run(cohort=cohort, requested_by=cohort.created_by, now=timezone.now())
    other = _another_version(bundle_folder, tmp_path)
    runner.execute(run_id=run.pk)

    run.refresh_from_db()
    assert selectors.champion() == other
    assert (run.state, run.bundle) == (JobState.SUCCEEDED, bundle)
    assert list(engine._loaded) == [bundle.fingerprint]


def test_the_last_two_bundles_are_kept_loaded(bundle, people, bundle_folder, tmp_path):
    cohort = people(1)
    marks = [bundle.fingerprint]
    run_all(cohort)
    for number in (2, 3):
        marks.append(_another_version(bundle_folder, tmp_path, f"0.{number}").fingerprint)
        run_all(cohort)

    assert list(engine._loaded) == marks[-2:]


def test_a_bundle_that_was_damaged_meanwhile_fails_the_run_with_the_reason(bundle, people):
    cohort = people(2)
    run = services.request_run(cohort=cohort, requested_by=cohort.created_by, now=timezone.now())
    for file in selectors.folder_of(bundle).glob("*.safetensors"):
        file.write_bytes(b"damage")

    runner.execute(run_id=run.pk)

    run.refresh_from_db()
    assert (run.state, run.predictions.count()) == (JobState.FAILED, 0)
    assert "SHA-256" in run.reason


def test_a_pseudo_mri_is_a_nifti_that_says_it_is_synthetic(bundle, people, settings):
    [prediction] = run_all(people(1)).predictions.all()

    job = decode(prediction)

    path = Path(settings.MEDIA_ROOT) / job.file
    assert (job.state, job.bytes) == (JobState.SUCCEEDED, path.stat().st_size)
    assert job.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    image = nibabel.load(path)
    assert b"SYNTHETIC" in bytes(image.header["descrip"])
    assert int(image.header["sform_code"]) > 0
    assert float(image.get_fdata().std()) > 0


def test_the_same_decoding_message_ten_times_leaves_one_file(bundle, people, settings):
    [prediction] = run_all(people(1)).predictions.all()
    job = decode(prediction)
    for _ in range(9):
        runner.decode(pseudo_mri_id=job.pk)

    assert len(list((Path(settings.MEDIA_ROOT) / "pseudo_mri").glob("*.nii"))) == 1
    assert PseudoMRI.objects.get().attempt == 1


def test_a_pseudo_mri_shows_the_findings_its_prediction_was_made_from(bundle, people, settings):
    cohort = people(1)
    [prediction] = run_all(cohort).predictions.all()
    first = decode(prediction)
    PseudoMRI.objects.all().delete()
    now = timezone.now()
    Finding.objects.create(
        patient=cohort.patients.get(), concept="age", value=56, unit="a", observed_at=now,
        recorded_at=now,
    )  # fmt: skip

    assert decode(prediction).sha256 == first.sha256


def test_a_full_disk_fails_the_decoding_in_plain_words(bundle, people, settings, tmp_path):
    [prediction] = run_all(people(1)).predictions.all()
    (tmp_path / "a file").write_text("in the way")
    settings.MEDIA_ROOT = tmp_path / "a file"

    job = decode(prediction)

    assert job.state == JobState.FAILED
    assert "could not be written to the media folder" in job.reason


def test_a_decoding_that_was_cancelled_meanwhile_leaves_no_file(
    bundle, people, settings, monkeypatch
):
    [prediction] = run_all(people(1)).predictions.all()
    draw = engine.decode

    def cancelled(**arguments):
        reading = draw(**arguments)
        PseudoMRI.objects.cancel(PseudoMRI.objects.get().pk)
        return reading

    monkeypatch.setattr(engine, "decode", cancelled)
    job = decode(prediction)

    assert job.state == JobState.CANCELLED
    assert not list(Path(settings.MEDIA_ROOT).rglob("*.nii"))


def test_the_answers_carry_what_the_model_said(bundle, people):
    from apps.patients.selectors import records_of
    from ml.predictor import Predictor

    cohort = people(5)
    run = run_all(cohort)
    known = records_of(
        list(cohort.patients.values_list("pk", flat=True)),
        concepts=selectors.inputs_of(bundle),
        as_known_at=run.requested_at,
    )
    said = Predictor.load(selectors.folder_of(bundle)).predict(list(known.values()))

    for answer in said:
        stored = Prediction.objects.get(run=run, patient=answer.patient)
        assert (stored.answer, stored.probability, stored.low, stored.high) == (
            answer.answer,
            answer.probability,
            answer.low,
            answer.high,
        )
        assert (tuple(stored.missing), tuple(stored.reasons)) == (answer.missing, answer.reasons)


def _another_version(folder, tmp_path, version="0.2"):
    """The same weights under another card, deployed."""
    import json
    import shutil

    from apps.registry import services as registry

    copy = tmp_path / f"bundle {version}"
    shutil.copytree(folder, copy)
    card = json.loads((copy / "card.json").read_text()) | {"version": version}
    (copy / "card.json").write_text(json.dumps(card))
    bundle = registry.register_bundle(folder=copy, now=timezone.now())
    registry.deploy(bundle=bundle, deployed_by=None, now=timezone.now(), reason="A newer one.")
    return bundle


def test_a_finding_that_the_model_does_not_read_changes_no_answer(bundle, people):
    cohort = people(3)
    before = run_all(cohort)
    for concept in ("icd10:I10", "mmse"):
        now = timezone.now()
        Finding.objects.create(
            patient=cohort.patients.first(), concept=concept, value=1.0, observed_at=now,
            recorded_at=now,
        )  # fmt: skip

    after = run_all(cohort)

    assert after.state == "succeeded"
    told = [
        list(run.predictions.order_by("patient").values_list("probability", "answer"))
        for run in (before, after)
    ]
    assert told[0] == told[1]
