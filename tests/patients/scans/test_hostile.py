"""Every hostile scan through the real form: a reason or a queued job, soon, in little memory."""

import resource
import time

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from apps.patients.models import Scan
from tests.hostile_scans import BAD_NAMES, CANARY, EXPECTED, ITEMS, file_name, gzipped, nifti

MOST_S, MOST_GROWTH_KB = 2.0, 200_000


@pytest.fixture
def send(client, patient, owner):
    """Send a file as the page's script does; a crash of the page would be raised here."""
    client.force_login(owner)
    address = reverse("patients:upload-scan", args=[patient.pk])

    def do(content, name="scan.nii"):
        file = SimpleUploadedFile(name, content)
        return client.post(address, {"file": file}, headers={"accept": "application/json"})

    return do


@pytest.mark.parametrize("item", ITEMS)
def test_a_hostile_scan_gets_a_reason_or_its_turn_and_costs_little(send, item, left):
    content = ITEMS[item]()
    cpu, highest = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    answer = send(content, file_name(item))

    assert time.process_time() - cpu < MOST_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - highest < MOST_GROWTH_KB
    if EXPECTED[item] == "good":
        assert answer.status_code == 201
        assert left() == ["source"]
        return
    assert answer.status_code == 422
    assert len(answer.json()["message"]) > 40
    assert CANARY not in answer.text
    assert left() == []
    assert not Scan.objects.exists()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_is_neither_kept_nor_told(send, name, left, caplog):
    answer = send(gzipped(nifti()), f"{CANARY}{BAD_NAMES[name]}")

    scan = Scan.objects.get()
    assert answer.status_code == 201
    assert left() == ["source"]
    assert CANARY not in str(vars(scan)) + answer.text + caplog.text


def test_a_file_that_goes_on_too_long_is_thrown_away_as_it_comes(send, left, monkeypatch):
    for module in ("folder", "uploading"):
        monkeypatch.setattr(f"apps.patients.scans.{module}.MAX_BYTES", 100_000)

    answer = send(nifti())

    assert answer.status_code == 422
    assert "at most 0 MB are taken" in answer.json()["message"]
    assert left() == []


def test_without_a_file_the_form_says_so(client, patient, owner):
    client.force_login(owner)

    page = client.post(reverse("patients:upload-scan", args=[patient.pk]), {"age_years": "174"})

    assert page.status_code == 422
    assert "No file was chosen" in page.text
    assert "between 0 and 120" in page.text
