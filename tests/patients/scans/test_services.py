"""What can be done with a scan: added once, given up, tried again, deleted with its files."""

from datetime import timedelta
from io import BytesIO

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.jobs.models import JobState
from apps.patients.models import Cohort, Membership, Scan
from apps.patients.permissions import NotAllowedError
from apps.patients.scans import services
from apps.patients.scans.folder import ScanFolder, ScanRefusedError
from tests.factories import NOW, PatientFactory, ScanFactory, UserFactory
from tests.hostile_scans import gzipped, mgh, nifti, zipped
from tests.patients.scans.cases import registered


def add(patient, content=None, *, age_years=None, by=None):
    return services.add_scan(
        patient=patient,
        file=BytesIO(gzipped(nifti()) if content is None else content),
        age_years=age_years,
        added_by=by or patient.cohort.created_by,
        now=timezone.now(),
    )


@pytest.mark.parametrize(
    ("make", "told"),
    [(nifti, "nifti"), (mgh, "mgh"), (zipped, "dicom")],
    ids=["NIfTI", "MGH", "zip of DICOM"],
)
def test_the_format_is_told_by_the_bytes(patient, make, told):
    scan = add(patient, make())

    assert (scan.state, scan.format, scan.number) == (JobState.QUEUED, told, 1)
    assert ScanFolder(scan.pk).source.read_bytes() == make()


def test_the_head_lies_where_only_this_user_may_read(patient):
    folder = ScanFolder(add(patient).pk)

    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.source.stat().st_mode & 0o777 == 0o600


def test_the_same_file_again_is_the_same_scan(patient, left):
    first, second = add(patient), add(patient)

    assert second.pk == first.pk
    assert Scan.objects.count() == 1
    assert left() == ["source"]


def test_the_same_file_of_another_patient_is_another_scan(patient):
    other = PatientFactory(cohort=patient.cohort, number=2)

    assert add(patient).pk != add(other).pk


def test_what_is_no_scan_is_refused_and_not_kept(patient, left):
    with pytest.raises(ScanRefusedError, match="PNG picture"):
        add(patient, b"\x89PNG\r\n\x1a\n" + bytes(900))

    assert not Scan.objects.exists()
    assert left() == []


@pytest.mark.parametrize(("given", "kept"), [(None, None), (71.5, 71.5), (90, 90), (104, 90)])
def test_ages_over_89_are_kept_as_90(patient, given, kept):
    assert add(patient, age_years=given).age_years == kept


def test_a_viewer_cannot_add_a_scan(patient, left):
    viewer = UserFactory()
    Membership.objects.create(cohort=patient.cohort, user=viewer, role="viewer")

    with pytest.raises(NotAllowedError):
        add(patient, by=viewer)
    assert left() == []


def test_cancelling_deletes_the_head(patient, at_once, left):
    scan = add(patient)

    with at_once():
        services.cancel_scan(scan=scan)

    scan.refresh_from_db()
    assert (scan.state, scan.head_kept) == (JobState.CANCELLED, False)
    assert left() == []
    with pytest.raises(services.ScanStateError, match="Upload it again"):
        services.retry_scan(scan=scan)


def test_a_scan_that_failed_by_no_fault_of_its_own_can_be_tried_again(patient):
    scan = add(patient)
    fail(scan, qc={})

    services.retry_scan(scan=scan)

    scan.refresh_from_db()
    assert (scan.state, scan.reason) == (JobState.QUEUED, "")


def test_a_scan_that_failed_the_check_cannot_be_tried_again(patient):
    scan = add(patient)
    fail(scan, qc={"overlap": 0.2}, head_kept=False)

    with pytest.raises(services.ScanStateError):
        services.retry_scan(scan=scan)


def fail(scan, **fields):
    ended = {"state": "failed", "reason": "For a test.", "finished_at": timezone.now()}
    Scan.objects.filter(pk=scan.pk).update(**ended | fields)


def test_deleting_a_scan_takes_its_files_along(patient, at_once, left, settings):
    scan = registered(patient, settings.MEDIA_ROOT)

    with at_once():
        services.delete_scan(scan=scan, is_meant=True, deleted_by=patient.cohort.created_by)

    assert left() == []
    assert not Scan.objects.exists()


def test_a_scan_is_not_deleted_by_accident(patient, left, settings):
    scan = registered(patient, settings.MEDIA_ROOT)

    with pytest.raises(services.ScanStateError, match="Nothing was deleted"):
        services.delete_scan(scan=scan, is_meant=False, deleted_by=patient.cohort.created_by)
    assert len(left()) == 2


def test_a_scan_under_way_is_not_deleted(patient, left):
    scan = add(patient)

    with pytest.raises(services.ScanStateError, match="Cancel that first"):
        services.delete_scan(scan=scan, is_meant=True, deleted_by=patient.cohort.created_by)
    assert left() == ["source"]


def test_heads_that_are_no_longer_wanted_are_deleted(patient, at_once, left):
    owner = patient.cohort.created_by
    services.keep_heads(cohort=patient.cohort, wanted=True, decided_by=owner)
    assert Cohort.objects.get().keeps_heads
    fail(add(patient))

    with at_once():
        gone = services.keep_heads(cohort=patient.cohort, wanted=False, decided_by=owner)

    assert gone == 1
    assert left() == []
    assert not Scan.objects.get().head_kept


def test_heads_of_failed_scans_are_forgotten_after_a_day(patient, at_once, left):
    fail(add(patient))
    fail(add(patient, nifti()), finished_at=timezone.now() - timedelta(hours=25))

    with at_once():
        assert services.forget_heads(ended_before=timezone.now() - timedelta(days=1)) == 1

    assert left() == ["source"]


def test_a_clinician_does_not_decide_about_heads(patient):
    clinician = UserFactory()
    Membership.objects.create(cohort=patient.cohort, user=clinician, role="clinician")

    with pytest.raises(NotAllowedError):
        services.keep_heads(cohort=patient.cohort, wanted=True, decided_by=clinician)


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "succeeded", "finished_at": NOW, "head_kept": False},
        {"file": "scans/x.nii"},
        {"head_kept": False},
        {"state": "cancelled", "finished_at": NOW},
        {"age_years": 90.5},
        {"age_years": -1},
        {"format": "jpeg"},
        {"source_sha256": "x"},
        {"source_bytes": 0},
    ],
    ids=", ".join,
)
def test_the_database_refuses_a_scan_that_cannot_be(patient, fields):
    with pytest.raises(IntegrityError), transaction.atomic():
        ScanFactory(patient=patient, **fields)


def test_the_database_refuses_the_same_file_twice(patient):
    ScanFactory(patient=patient, source_sha256="a" * 64)

    with pytest.raises(IntegrityError), transaction.atomic():
        ScanFactory(patient=patient, source_sha256="a" * 64)
