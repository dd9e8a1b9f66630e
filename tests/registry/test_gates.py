"""People are frozen, train nothing, judge a candidate, and go when a patient of them goes."""

import os
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from apps.jobs.models import JobState
from apps.patients import deleting, dependents
from apps.patients.models import Patient
from apps.registry import services
from apps.registry.gates import runner
from apps.registry.gates import services as gates
from apps.registry.gates.holdouts import (
    folder_of_holdout,
    hash_of,
    leftover_holdouts,
    people_of,
)
from apps.registry.models import GateCheck, Holdout, TrainingRun
from apps.registry.training.people import count_of
from ml.card import Gate, gate_words
from tests.factories import BundleFactory, DeploymentFactory
from tests.registry.cases import (
    DONE,
    INVENTED,
    another,
    freeze,
    make_admin,
    make_check,
    make_holdout,
    with_donor,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("patient_lease")]


@pytest.fixture
def candidate(bundle, bundle_folder, tmp_path):
    """The same weights under another card, so that it is another version than the champion."""
    folder = another(bundle_folder, tmp_path / "candidate", version="candidate")
    return services.register_bundle(folder=folder, now=timezone.now())


def check(candidate, holdout):
    asked = gates.request_gate_check(
        candidate=candidate, holdout=holdout, requested_by=make_admin(), now=timezone.now()
    )
    runner.check_gates(check_id=asked.pk)
    asked.refresh_from_db()
    return asked


def test_people_of_a_cohort_are_frozen_with_a_hash_and_no_training_may_see_them(diagnosed):
    holdout = freeze(cohorts=[diagnosed])

    assert (holdout.state, holdout.reason) == (JobState.SUCCEEDED, "")
    assert (holdout.people, holdout.people_with_ad) == (12, 6)
    assert holdout.sha256 == hash_of(folder_of_holdout(holdout.pk))
    assert count_of([diagnosed]).held_out == 12


def test_invented_people_are_frozen_whom_no_training_invents(tmp_path):
    from apps.registry import engine

    holdout = freeze(phantoms=20, seed=1)
    engine.make_phantoms(out=tmp_path / "training", people=20, spacing_mm=8.0, seed=1)

    held, trained = folder_of_holdout(holdout.pk), tmp_path / "training"
    assert (holdout.state, holdout.people, holdout.done) == (JobState.SUCCEEDED, 20, 20)
    names = {row["participant_id"] for row in people_of(held)}
    assert names.isdisjoint(row["participant_id"] for row in people_of(trained))
    ours, theirs = (
        {line.partition(",")[2] for line in (each / "ehr.csv").read_text().split("\n")[1:-1]}
                    for each in (held, trained))  # fmt: skip
    assert ours.isdisjoint(theirs)
    assert all((held / name / "anat" / f"{name}_T1w.nii.gz").is_file() for name in names)


@pytest.mark.parametrize(
    ("state", "held_out"),
    [(JobState.QUEUED, 12), (JobState.SUCCEEDED, 12), (JobState.CANCELLED, 0)],
)
def test_nobody_is_set_aside_for_a_holdout_that_was_given_up(diagnosed, state, held_out):
    ended = timezone.now() if state != JobState.QUEUED else None
    holdout = make_holdout(phantoms=None, state=state, finished_at=ended)
    holdout.cohorts.add(diagnosed)
    assert count_of([diagnosed]).held_out == held_out


def test_a_retired_holdout_judges_nobody_and_its_people_may_train(diagnosed):
    holdout = freeze(cohorts=[diagnosed])
    gates.retire_holdout(holdout=holdout, now=timezone.now())

    assert count_of([diagnosed]).held_out == 0
    with pytest.raises(gates.HoldoutError, match="judges nobody"):
        check(BundleFactory(), holdout)
    with pytest.raises(gates.HoldoutError, match="retired already"):
        gates.retire_holdout(holdout=holdout, now=timezone.now())


def test_deleting_a_patient_retires_the_holdouts_that_hold_them(
    diagnosed, people, django_capture_on_commit_callbacks
):
    mine, other = freeze(cohorts=[diagnosed]), freeze(name="June", phantoms=20)
    patient = diagnosed.patients.first()
    words = [str(each) for each in dependents.amounts(cohort=diagnosed, patient=patient)]
    assert "1 holdout that is retired" in words

    with django_capture_on_commit_callbacks(execute=True):
        deleting.delete_patient(
            patient=patient, typed=patient.pseudonym, deleted_by=diagnosed.created_by
        )

    mine.refresh_from_db()
    other.refresh_from_db()
    assert mine.retired_at is not None
    assert other.retired_at is None
    assert not folder_of_holdout(mine.pk).exists()
    assert folder_of_holdout(other.pk).exists()
    assert not Patient.objects.filter(pk=patient.pk).exists()


def test_a_cohort_that_goes_retires_its_holdouts_and_their_folders_go(
    diagnosed, django_capture_on_commit_callbacks
):
    holdout = freeze(cohorts=[diagnosed])

    with django_capture_on_commit_callbacks(execute=True):
        deleting.delete_cohort(
            cohort=diagnosed, typed=diagnosed.name, deleted_by=diagnosed.created_by
        )

    holdout.refresh_from_db()
    assert holdout.retired_at is not None
    assert not folder_of_holdout(holdout.pk).exists()


def test_folders_that_no_holdout_needs_are_found_and_others_are_not(frozen):
    folder = folder_of_holdout(frozen.pk)
    draft = folder.with_name(f"{uuid4()}.2")
    draft.mkdir()
    for each in (folder, draft):
        os.utime(each, (0, 0))

    [leftover] = leftover_holdouts()

    assert draft.name in leftover.what
    leftover.remove()
    assert (draft.exists(), folder.exists()) == (False, True)


def test_patients_are_not_deleted_from_under_a_check(diagnosed):
    holdout = freeze(cohorts=[diagnosed])
    assert not dependents.busy(cohort=diagnosed, patient=None)
    make_check(BundleFactory(), None, holdout=holdout, state=JobState.QUEUED, finished_at=None)

    assert "judged on a holdout" in dependents.busy(cohort=diagnosed, patient=None)


def test_a_candidate_is_judged_beside_the_champion_gate_by_gate(bundle, candidate, frozen):
    found = check(candidate, frozen)

    assert (found.state, found.reason) == (JobState.SUCCEEDED, "")
    assert (found.champion, found.done) == (bundle, found.total)
    by_name = {entry["name"]: Gate(**entry) for entry in found.gates}
    same = by_name["auc_difference"]  # the same weights: no difference at all
    assert (same.value, same.passed) == (0.0, True)
    assert same.people == INVENTED == found.report["people"]
    assert {"calibration_slope", "ad_covered", "canary_shuffled", "canary_company", "swap_test",
            "donor_copy", "donor_shares", "latency", "latency_ratio", "card_swap_ratio",
            "canary_label_proximal", "subgroup_women"} <= set(by_name)  # fmt: skip
    assert by_name["canary_company"].passed
    assert by_name["canary_label_proximal"].passed
    assert by_name["donor_shares"].passed
    assert all(gate_words(gate).rpartition(": ")[2] in {"passed", "failed", "too few"}
               for gate in by_name.values())  # fmt: skip
    assert found.report["differences"]["brier"]["value"] == 0.0


def test_a_candidate_that_was_trained_on_people_of_the_holdout_is_refused(
    bundle, candidate, frozen
):
    person = people_of(folder_of_holdout(frozen.pk))[0]["participant_id"]

    found = check(with_donor(candidate, person), frozen)

    assert found.state == JobState.FAILED
    assert (
        f"1 of {INVENTED} people of People of May have the id of somebody whose scan trained"
        in (found.reason)
    )


@pytest.mark.parametrize("frozen_first", [False, True])
def test_a_candidate_trained_here_on_people_who_were_frozen_later_is_refused(
    candidate, diagnosed, frozen_first
):
    holdout = freeze(cohorts=[diagnosed])
    days = -1 if frozen_first else 1
    run = TrainingRun.objects.create(
        number=1, plan={}, bundle=candidate, requested_by=make_admin(),
        requested_at=holdout.finished_at - timedelta(days=days), **DONE,
    )  # fmt: skip
    run.cohorts.add(diagnosed)
    diagnosed.patients.update(created_at=timezone.now() - timedelta(days=2))

    found = check(candidate, holdout)

    refused = (
        "12 of 12 people of May trained mirage candidate: training run 1 began" in found.reason
    )
    assert refused is not frozen_first


def test_a_holdout_whose_files_were_changed_judges_nobody(candidate, frozen):
    (folder_of_holdout(frozen.pk) / "ehr.csv").write_text("patient,age\n")

    found = check(candidate, frozen)

    assert found.state == JobState.FAILED
    assert "are not those that were frozen" in found.reason


def test_what_cannot_be_asked_is_refused_in_words(bundle, candidate, frozen):
    admin, now = make_admin(), timezone.now()
    with pytest.raises(gates.GateCheckError, match="is the champion"):
        check(bundle, frozen)
    gates.request_gate_check(candidate=candidate, holdout=frozen, requested_by=admin, now=now)
    with pytest.raises(gates.GateCheckError, match="under way"):
        gates.request_gate_check(candidate=candidate, holdout=frozen, requested_by=admin, now=now)
    with pytest.raises(gates.HoldoutError, match="in use"):
        gates.retire_holdout(holdout=frozen, now=now)
    [waiting] = GateCheck.objects.active()
    gates.cancel(job=waiting)
    with pytest.raises(gates.GateCheckError, match="already ended"):
        gates.cancel(job=waiting)
    DeploymentFactory(bundle=BundleFactory(), deployed_at=now)
    waiting.refresh_from_db()
    with pytest.raises(gates.GateCheckError, match="another one by now"):
        gates.retry(job=waiting)
    for asked, words in (
        ({"phantoms": 20, "name": frozen.name}, "called People of May already"),
        ({}, "Choose cohorts, or say how many"),
        ({"phantoms": 5}, "20 to 5,000"),
    ):
        with pytest.raises(gates.HoldoutError, match=words):
            freeze(**asked)
    assert Holdout.objects.count() == 1
