"""A patient or a cohort goes with all rows and files, or not at all; fsck finds leftovers."""

import hashlib
import os
import time
from io import StringIO

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from apps.inference.models import Explanation, InferenceRun, Prediction, PseudoMRI, WhatIf
from apps.jobs.models import JobState
from apps.patients import deleting
from apps.patients.importing.folder import ImportFolder
from apps.patients.importing.storing import Pseudonymiser
from apps.patients.models import Cohort, EhrImport, Finding, ImportStep, Membership, Patient
from apps.patients.permissions import NotAllowedError
from tests.factories import (
    NOW,
    EhrImportFactory,
    FindingFactory,
    InferenceRunFactory,
    PatientFactory,
    PredictionFactory,
    PseudoMRIFactory,
    UserFactory,
)
from tests.inference.world import make_world

pytestmark = pytest.mark.django_db
ROWS = (
    Cohort,
    Patient,
    Finding,
    Prediction,
    PseudoMRI,
    Explanation,
    WhatIf,
    InferenceRun,
    EhrImport,
)


@pytest.fixture
def world(settings, tmp_path):
    settings.MIRAGE_DATA_DIR = tmp_path / "data"
    world = make_world(settings.MEDIA_ROOT)
    other = PatientFactory(cohort=world.cohort, number=2)
    FindingFactory(patient=other)
    PredictionFactory(run=world.run, patient=other)
    folder = ImportFolder(world.ehr_import.pk)
    folder.path.mkdir(parents=True)
    folder.file.write_bytes(b"patient,age\n")
    # As it is outside tests: named by job and attempt, beside a leftover of a killed attempt.
    world.volume = settings.MEDIA_ROOT / "pseudo_mri" / f"{world.pseudo_mri.pk}-1.nii"
    (settings.MEDIA_ROOT / world.pseudo_mri.file).rename(world.volume)
    PseudoMRI.objects.update(file=world.volume.relative_to(settings.MEDIA_ROOT).as_posix())
    (world.volume.parent / f"{world.pseudo_mri.pk}-2.nii").write_bytes(b"half")
    return world


@pytest.fixture
def delete(world, django_capture_on_commit_callbacks):
    """Delete a patient, or the cohort without one; what is due at the commit is done."""

    def do(patient=None, typed=None, by="owner"):
        user = world.users[by]
        with django_capture_on_commit_callbacks(execute=True):
            if patient is None:
                deleting.delete_cohort(
                    cohort=world.cohort, typed=typed or world.cohort.name, deleted_by=user
                )
            else:
                deleting.delete_patient(
                    patient=patient, typed=typed or patient.pseudonym, deleted_by=user
                )

    return do


def volumes():
    return sorted(p.name for p in (django_settings.MEDIA_ROOT / "pseudo_mri").glob("*"))


def counts():
    return {model.__name__: model.objects.count() for model in ROWS}


def test_a_patient_goes_with_findings_predictions_and_volumes_and_nobody_else(delete, world):
    delete(world.patient)

    assert [p.number for p in world.cohort.patients.all()] == [2]
    assert Finding.objects.filter(patient__cohort=world.cohort).count() == 1
    assert Finding.objects.filter(patient_id=world.patient.pk).count() == 0
    assert Prediction.objects.count() == 1
    assert volumes() == []
    assert InferenceRun.objects.filter(pk=world.run.pk).exists()


def test_a_deleted_pseudonym_is_not_given_to_anybody_else(delete, world):
    delete(world.cohort.patients.get(number=2))
    cohort = Cohort.objects.get(pk=world.cohort.pk)

    assert cohort.patients.order_by("number").last().number == 1
    _, row = Pseudonymiser(cohort, key="for this test", now=NOW).add(bytes(32))
    assert b"P-0003" in row


def test_a_cohort_goes_with_everything_and_another_stays(delete, world):
    elsewhere = PredictionFactory()
    FindingFactory(patient=elsewhere.patient)

    delete()

    assert counts() == {
        "Cohort": 2,  # of the stranger, and of the prediction elsewhere
        "Patient": 1, "Finding": 1, "Prediction": 1, "PseudoMRI": 0, "Explanation": 0, "WhatIf": 0,
        "InferenceRun": 1,
        "EhrImport": 0,
    }  # fmt: skip
    assert volumes() == []
    assert list((django_settings.MIRAGE_DATA_DIR / "imports").iterdir()) == []


def test_what_goes_is_counted_beforehand(world):
    of_patient = deleting.deletion_of(cohort=world.cohort, patient=world.patient)
    of_cohort = deleting.deletion_of(cohort=world.cohort)

    assert [str(a) for a in of_patient.amounts] == [
        "2 findings", "1 prediction", "1 pseudo-MRI with its file",
    ]  # fmt: skip
    assert [str(a) for a in of_cohort.amounts] == [
        "2 patients", "3 findings", "1 import with its file, if that is still kept",
        "2 predictions", "1 pseudo-MRI with its file",
    ]  # fmt: skip
    assert of_patient.refused == of_cohort.refused == ""


@pytest.mark.parametrize("typed", ["P-0002", "Memory clinic", "p-0001", "x"])
def test_nothing_goes_when_another_name_is_typed(delete, world, typed):
    before = counts()

    with pytest.raises(deleting.DeletionRefusedError, match="Type P-0001 to confirm"):
        delete(world.patient, typed=typed)

    assert counts() == before
    assert len(volumes()) == 2


def test_an_empty_confirmation_confirms_nothing(world):
    with pytest.raises(deleting.DeletionRefusedError):
        deleting.delete_cohort(cohort=world.cohort, typed="", deleted_by=world.users["owner"])


@pytest.mark.parametrize(
    ("by", "what"), [("viewer", "patient"), ("viewer", "cohort"), ("clinician", "cohort")]
)
def test_a_viewer_deletes_nothing_and_only_an_owner_a_cohort(delete, world, by, what):
    with pytest.raises(NotAllowedError):
        delete(world.patient if what == "patient" else None, by=by)

    assert Patient.objects.filter(cohort=world.cohort).count() == 2


def busy_run(world, patient=None):
    return InferenceRunFactory(cohort=world.cohort, bundle=world.bundle, number=9, patient=patient)


def busy_decoding(world):
    prediction = Prediction.objects.get(patient__number=2, run=world.run)
    return PseudoMRIFactory(prediction=prediction)


def busy_import(world):
    found = EhrImportFactory(cohort=world.cohort, stage="analysing", committed_at=None)
    return ImportStep.objects.create(
        ehr_import=found, number=1, kind_of_work="analyse", requested_at=NOW,
        requested_by=world.cohort.created_by,
    )  # fmt: skip


@pytest.mark.parametrize("work", [busy_run, busy_decoding, busy_import])
def test_a_cohort_at_work_is_not_deleted_and_the_reason_says_what_to_do(delete, world, work):
    job = work(world)

    with pytest.raises(deleting.DeletionRefusedError, match=r"Wait until it .*, or cancel it"):
        delete()
    assert Cohort.objects.filter(pk=world.cohort.pk).exists()
    assert len(volumes()) == 2

    type(job).objects.filter(pk=job.pk).update(state=JobState.CANCELLED, finished_at=NOW)
    delete()
    assert not Cohort.objects.filter(pk=world.cohort.pk).exists()


def test_a_run_of_the_whole_cohort_keeps_a_patient_and_one_of_another_patient_does_not(
    delete, world
):
    run = busy_run(world, patient=world.cohort.patients.get(number=2))
    delete(world.patient)
    InferenceRun.objects.filter(pk=run.pk).delete()
    busy_run(world)

    with pytest.raises(deleting.DeletionRefusedError, match="Run 9"):
        delete(world.cohort.patients.get(number=2))


def test_files_stay_when_the_rows_do(world, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as due, transaction.atomic():
        deleting.delete_patient(
            patient=world.patient, typed="P-0001", deleted_by=world.users["owner"]
        )
        assert len(volumes()) == 2
        transaction.set_rollback(True)

    assert due == []
    assert len(volumes()) == 2
    assert Patient.objects.filter(pk=world.patient.pk).exists()


def test_the_newest_of_the_other_predictions_is_marked_when_the_newest_goes(world):
    later = PredictionFactory(
        run__cohort=world.cohort, patient=world.patient, created_at=timezone.now()
    )
    newest = Prediction.objects.filter(patient=world.patient).newest()
    assert [p.pk for p in newest] == [later.pk]

    later.delete()

    assert [p.pk for p in newest.all()] == [world.prediction.pk]


def fsck(*options):
    out = StringIO()
    try:
        call_command("fsck", *options, stdout=out, stderr=out)
    except SystemExit as ended:
        return ended.code, out.getvalue()
    return 0, out.getvalue()


def made_old(path):
    two_hours_ago = time.time() - 7200
    os.utime(path, (two_hours_ago, two_hours_ago))


def tidy(world):
    """What the fixture leaves over on purpose is taken away."""
    (world.volume.parent / f"{world.pseudo_mri.pk}-2.nii").unlink()
    for folder in (django_settings.MIRAGE_DATA_DIR / "imports").iterdir():
        (folder / "file").unlink()
        folder.rmdir()
    stored = world.volume.read_bytes()
    PseudoMRI.objects.update(sha256=hashlib.sha256(stored).hexdigest(), bytes=len(stored))


def test_fsck_finds_nothing_in_a_tidy_installation(world):
    tidy(world)

    code, said = fsck()

    assert code == 0
    assert "Every file has its row" in said


def test_fsck_lists_files_without_rows_and_removes_them_when_asked(world):
    tidy(world)
    orphan = world.volume.parent / "11111111-1111-4111-8111-111111111111-1.nii"
    orphan.write_bytes(b"volume")
    folder = ImportFolder(world.ehr_import.pk).path  # stored, so its folder should be gone
    folder.mkdir()
    for path in (orphan, folder):
        made_old(path)

    code, said = fsck()
    assert code == 1
    assert orphan.name in said
    assert folder.name in said
    assert orphan.exists()

    code, said = fsck("--remove")
    assert "2 found, 2 removed" in said
    assert (code, orphan.exists(), folder.exists()) == (0, False, False)
    assert world.volume.exists()
    assert fsck()[0] == 0


def test_fsck_leaves_alone_what_may_be_on_its_way_in(world):
    tidy(world)
    young = world.volume.parent / "11111111-1111-4111-8111-111111111111-1.nii"
    young.write_bytes(b"volume")
    decoding = busy_decoding(world)
    being_written = world.volume.parent / f"{decoding.pk}-1.nii"
    being_written.write_bytes(b"half")
    made_old(being_written)

    assert fsck("--remove")[0] == 0

    assert young.exists()
    assert being_written.exists()


@pytest.mark.parametrize("spoil", ["gone", "longer", "changed"])
def test_fsck_forgets_a_volume_that_is_not_the_one_that_was_decoded(world, spoil):
    tidy(world)
    stored = world.volume.read_bytes()
    if spoil == "gone":
        world.volume.unlink()
    else:
        world.volume.write_bytes(stored + b"x" if spoil == "longer" else stored[:-1] + b"\xff")

    code, said = fsck()
    assert code == 1
    assert str(world.pseudo_mri.pk) in said

    fsck("--remove")
    assert not PseudoMRI.objects.exists()
    assert Prediction.objects.filter(pk=world.prediction.pk).exists()


def test_fsck_cancels_an_import_whose_file_is_gone(world):
    tidy(world)
    found = EhrImportFactory(cohort=world.cohort, stage="mapping", committed_at=None)

    assert fsck()[0] == 1
    fsck("--remove")

    found.refresh_from_db()
    assert found.stage == "cancelled"
    assert fsck()[0] == 0


def test_a_clinician_deletes_a_patient_but_not_of_an_archived_cohort(delete, world):
    delete(world.patient, by="clinician")
    Cohort.objects.filter(pk=world.cohort.pk).update(archived_at=NOW)

    with pytest.raises(NotAllowedError):
        delete(world.cohort.patients.get(number=2), by="clinician")


def test_an_owner_deletes_an_archived_cohort(delete, world):
    Cohort.objects.filter(pk=world.cohort.pk).update(archived_at=NOW)
    Membership.objects.create(cohort=world.cohort, user=UserFactory(), role="owner")

    delete()

    assert not Cohort.objects.filter(pk=world.cohort.pk).exists()
