"""The worker's part: a child process with limits, and nothing half-stored."""

from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from django.utils import timezone

from apps.jobs.attempt import Attempt, LeaseLostError
from apps.jobs.models import JobState
from apps.patients.models import Scan
from apps.patients.scans import runner, sandbox, services
from apps.patients.scans.folder import ScanFolder, ScanStorageError
from tests.hostile_scans import CANARY, ITEMS, nifti


class GivenUpError(Exception):
    """Somebody has cancelled."""


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(nifti())
    return path


def queued(patient, content):
    return services.add_scan(
        patient=patient,
        file=BytesIO(content),
        age_years=None,
        added_by=patient.cohort.created_by,
        now=timezone.now(),
    )


def wanted():
    """Nobody has cancelled."""


@pytest.mark.parametrize(
    ("limits", "said"),
    [({"max_seconds": 0.1}, "longer than 0 seconds"), ({"max_memory_bytes": 10**6}, "0.0 GB")],
    ids=["time", "memory"],
)
def test_a_child_that_needs_too_much_is_ended(source, work, limits, said):
    with pytest.raises(sandbox.ScanLimitError, match=said):
        sandbox.preprocess(source, work, still_wanted=wanted, **limits)


def test_a_child_is_ended_when_nobody_wants_it_any_more(source, work):
    def given_up():
        raise GivenUpError

    with pytest.raises(GivenUpError):
        sandbox.preprocess(source, work, still_wanted=given_up)
    assert not (work / sandbox.RESULT).exists()


def test_a_child_that_meets_a_bug_says_where_and_quotes_nothing(work, tmp_path):
    with pytest.raises(sandbox.ChildCrashedError, match=r"FileNotFoundError at .+:\d+") as met:
        sandbox.preprocess(tmp_path / CANARY, work, still_wanted=wanted)

    assert CANARY not in str(met.value)


def test_a_scan_that_cannot_be_read_is_refused_and_its_head_deleted(
    transactional_db, patient, left
):
    scan = queued(patient, ITEMS["some voxels are NaN"]())

    runner.preprocess(scan_id=scan.pk)

    scan.refresh_from_db()
    assert scan.state == JobState.FAILED
    assert len(scan.reason) > 40
    assert "should not" not in scan.reason, "that is the reason of a bug"
    assert CANARY not in scan.reason
    assert (scan.file, scan.head_kept) == ("", False)
    assert left() == []


@pytest.fixture
def attempt(patient):
    """The attempt of a worker at a scan."""
    scan = queued(patient, nifti())
    number = Scan.objects.claim(scan.pk, worker="for this test", lease=timedelta(minutes=1))
    return Attempt(Scan.objects.all(), scan.pk, number=number)


@pytest.fixture
def refused(tmp_path):
    """What the child says of a scan that fails the check."""
    picture = tmp_path / sandbox.PICTURE
    picture.write_bytes(b"\x89PNG")
    return sandbox.Made("Its brain overlaps 0.51.", None, picture, {"overlap": 0.51})


def test_a_scan_that_fails_the_check_is_kept_as_a_reason_and_a_picture(attempt, refused, left):
    runner.keep(attempt, refused)

    scan = Scan.objects.get()
    assert (scan.state, scan.reason, scan.head_kept) == (JobState.FAILED, refused.refused, False)
    assert scan.qc == {"overlap": 0.51}
    assert Path(scan.picture).name in left()
    assert not scan.may_be_retried


def test_what_was_made_of_a_cancelled_scan_is_thrown_away(attempt, refused, left, at_once):
    with at_once():
        services.cancel_scan(scan=attempt.job())

    with pytest.raises(LeaseLostError):
        runner.keep(attempt, refused)
    assert left() == []


def test_a_disk_that_refuses_is_said_so_and_leaves_the_head_for_another_try(
    attempt, refused, settings, left
):
    settings.MEDIA_ROOT.write_text("no folder")

    with pytest.raises(ScanStorageError, match="make room"):
        runner.keep(attempt, refused)
    assert left() == ["source"]
    assert Scan.objects.get().head_kept


def test_where_the_owner_keeps_heads_they_are_kept(attempt, refused):
    patient = attempt.job().patient
    owner = patient.cohort.created_by
    services.keep_heads(cohort=patient.cohort, wanted=True, decided_by=owner)

    runner.keep(attempt, refused)

    assert Scan.objects.get().head_kept


def test_a_head_that_is_gone_is_said_to_be_gone(transactional_db, patient):
    scan = queued(patient, nifti())
    ScanFolder(scan.pk).delete()

    runner.preprocess(scan_id=scan.pk)

    assert "not kept any more" in Scan.objects.get().reason
