"""Scans on the pages of a patient and of a cohort, and what deleting and fsck know of them."""

import os
import time
from io import StringIO

import pytest
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from apps.jobs.models import JobState
from apps.patients import deleting
from apps.patients.importing import undoing
from apps.patients.models import Cohort, Patient, Scan
from apps.patients.scans.folder import ScanFolder, incoming
from tests.factories import EhrImportFactory, ScanFactory
from tests.patients.scans.cases import registered


@pytest.fixture
def page(client, patient, owner):
    """The page of the patient, as its owner sees it."""
    client.force_login(owner)
    return lambda: client.get(patient.get_absolute_url()).text


def post(client, name, scan):
    return client.post(reverse(f"patients:{name}", args=[scan.pk]))


def test_a_registered_scan_stands_with_age_volumes_and_picture(page, patient, settings):
    scan = registered(patient, settings.MEDIA_ROOT, age_years=72.5)

    text = page()

    assert "at 72.5 years" in text
    assert "Registered" in text
    assert '<td class="n">6.9</td>' in text
    assert reverse("patients:scan-picture", args=[scan.pk]) in text


def test_a_refused_scan_stands_with_its_reason_and_picture_open(page, patient):
    ScanFactory(
        patient=patient, state="failed", reason="Its brain overlaps 0.51.", picture="scans/x.png",
        finished_at=timezone.now(), head_kept=False, qc={"overlap": 0.51},
    )  # fmt: skip

    text = page()

    assert "Refused" in text
    assert "Its brain overlaps 0.51." in text
    assert '<details class="inline small" open>' in text
    assert "Try again" not in text


def test_a_scan_under_way_is_asked_for_again_until_it_has_ended(client, page, patient):
    scan = ScanFactory(patient=patient)
    address = reverse("patients:scan", args=[scan.pk])
    assert f'hx-get="{address}"' in page()
    assert "No worker takes scans" in page()

    line = client.get(address, headers={"HX-Request": "true"})
    assert (line.status_code, "Waiting for a worker" in line.text) == (200, True)
    post(client, "cancel-scan", scan)
    line = client.get(address, headers={"HX-Request": "true"})
    assert (line.status_code, "The file is deleted" in line.text) == (286, True)
    assert client.get(address).url == f"{patient.get_absolute_url()}#scans"


def test_the_queue_lists_scans_with_their_place_and_leads_back(client, page, patient):
    ScanFactory(patient=patient, number=1)
    second = ScanFactory(patient=patient, number=2)
    page()
    queue = reverse("inference:queue")

    text = client.get(queue).text
    assert "P-0001, scan 2" in text
    assert "Queued, place 2" in text
    address = reverse("patients:cancel-scan", args=[second.pk])
    assert client.post(address, {"next": queue}).url == queue
    assert client.post(address, {"next": "//elsewhere.example"}).url.startswith("/patients/")


def test_a_scan_that_has_ended_cannot_be_cancelled_and_the_page_says_so(client, page, patient):
    scan = ScanFactory(
        patient=patient, state="failed", reason="x", finished_at=timezone.now(), head_kept=False
    )
    post(client, "cancel-scan", scan)

    assert "already ended" in page()


def test_volume_mosaic_and_picture_are_kept_nowhere(client, page, patient, settings):
    scan = registered(patient, settings.MEDIA_ROOT)
    page()
    for name in ("scan-volume", "scan-mosaic", "scan-picture"):
        answer = client.get(reverse(f"patients:{name}", args=[scan.pk]))
        assert answer.status_code == 200
        assert answer["Cache-Control"] == "no-store"
        assert patient.pseudonym not in answer["Content-Disposition"]


def test_an_owner_decides_whether_heads_are_kept(client, page, patient):
    page()
    address = reverse("patients:keep-heads", args=[patient.cohort_id])

    client.post(address, {"keep": "on"})
    assert Cohort.objects.get().keeps_heads
    client.post(address, {})
    assert not Cohort.objects.get().keeps_heads


def test_a_patient_goes_with_scans_and_their_files(patient, owner, settings, left, at_once):
    registered(patient, settings.MEDIA_ROOT)
    found = deleting.deletion_of(cohort=patient.cohort, patient=patient)
    assert [str(amount) for amount in found.amounts] == ["1 scan with its files"]

    with at_once():
        deleting.delete_patient(patient=patient, typed=patient.pseudonym, deleted_by=owner)

    assert (left(), Scan.objects.count(), Patient.objects.count()) == ([], 0, 0)


def test_a_patient_stays_while_a_scan_is_under_way(patient, owner):
    ScanFactory(patient=patient)

    with pytest.raises(deleting.DeletionRefusedError, match="A scan is being preprocessed"):
        deleting.delete_patient(patient=patient, typed=patient.pseudonym, deleted_by=owner)


def test_an_import_whose_patients_have_scans_is_not_undone(patient, settings):
    made = EhrImportFactory(cohort=patient.cohort, committed_at=patient.created_at)
    assert undoing.why_not(made) == ""

    registered(patient, settings.MEDIA_ROOT)

    assert "have scans" in undoing.why_not(made)


def test_fsck_finds_and_removes_what_crashes_left(patient, settings, left):
    kept = registered(patient, settings.MEDIA_ROOT)
    lost = registered(patient, settings.MEDIA_ROOT)
    (settings.MEDIA_ROOT / lost.file).unlink()
    without_head = ScanFactory(patient=patient, number=9)
    stray = ScanFolder(kept.pk)  # its head should have gone
    stray.path.mkdir(parents=True)
    stray.source.write_bytes(b"head")
    (settings.MEDIA_ROOT / "scans/0000.nii").write_bytes(b"voxels")
    (incoming() / "cut").write_bytes(b"half")
    for path in (stray.path, settings.MEDIA_ROOT / "scans/0000.nii", incoming() / "cut"):
        os.utime(path, (time.time() - 7200,) * 2)
    said = StringIO()

    with pytest.raises(SystemExit):
        call_command("fsck", stdout=said)
    assert "5 found, 0 removed" in said.getvalue()
    call_command("fsck", "--remove", stdout=said)

    assert [scan.pk for scan in Scan.objects.filter(state="succeeded")] == [kept.pk]
    without_head.refresh_from_db()
    assert without_head.state == JobState.CANCELLED
    assert "source" not in left()
    assert "0000.nii" not in left()
