"""Adding a scan in the browser: refused in place with a reason, or taken and listed."""

import hashlib

import nibabel
import pytest
from playwright.sync_api import expect

from apps.jobs.models import JobState
from apps.patients.models import Scan
from tests.hostile_scans import gzipped, nifti
from tests.inference.world import make_world
from tests.phantom_head import CANARY, make_head

TAKES_MS = 200_000  # bias field, brain and registration, while other tests run


@pytest.fixture
def page_of_patient(page, transactional_db, sign_in, settings, tmp_path):
    settings.MIRAGE_DATA_DIR = tmp_path / "data"
    world = make_world(settings.MEDIA_ROOT)
    world.pseudo_mri.delete()
    sign_in(world.users["owner"])
    page.goto(world.patient.get_absolute_url())
    return page


def choose(page, name, content):
    page.get_by_label("Choose a T1 scan").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )
    page.get_by_role("button", name="Add the scan").click()


def test_a_scan_is_refused_in_place_and_another_one_is_taken(page_of_patient):
    page = page_of_patient
    page.get_by_role("button", name="Add the scan").click()
    expect(page.locator(".scan-form .error-text")).to_contain_text("No file was chosen")

    choose(page, "MEIER_ANNA.nii", b"\x89PNG\r\n\x1a\n" + bytes(2000))
    expect(page.locator(".scan-form .error-text")).to_contain_text(
        "The file is a PNG picture, not a scan"
    )
    expect(page.get_by_label("Choose a T1 scan")).to_be_focused()
    assert not Scan.objects.exists()

    page.get_by_label("Age at the scan, years").fill("72.5")
    choose(page, "MEIER_ANNA.nii.gz", gzipped(nifti()))
    expect(page.get_by_role("heading", name="Scan 1")).to_be_visible()
    expect(page.locator("#scans")).to_contain_text("at 72.5 years")
    expect(page.locator("#scans")).to_contain_text("No worker takes scans")
    expect(page.get_by_text("MEIER")).to_have_count(0)

    page.locator("#scans").get_by_role("button", name="Cancel").click()
    expect(page.locator("#scans")).to_contain_text("The file is deleted")
    assert Scan.objects.get().state == "cancelled"


@pytest.mark.slow
def test_a_head_goes_in_and_comes_out_as_a_stripped_volume_and_nothing_else_is_kept(
    page_of_patient, workers, settings, axe, tmp_path
):
    """Through the form, a real worker and its child, to the page and the volume behind it."""
    page = page_of_patient
    workers.start("scan")
    choose(page, "MEIER_ANNA.nii.gz", make_head().save(tmp_path / "head.nii.gz").read_bytes())

    expect(page.locator("#scans .scan-line")).to_contain_text("Registered", timeout=TAKES_MS)

    scan = Scan.objects.get()
    assert (scan.state, scan.reason, scan.head_kept) == (JobState.SUCCEEDED, "", False)
    assert scan.qc["overlap"] > 0.9
    assert 1000 < scan.qc["brain_ml"] < 2000
    page.locator("#scans").get_by_text("Regional volumes", exact=True).click()
    expect(page.locator("#scans").get_by_role("row", name="Lateral ventricles")).to_be_visible()
    assert axe(page) == []

    voxels = page.request.get(f"/scans/{scan.pk}/volume.nii").body()
    assert nibabel.Nifti1Image.from_bytes(voxels).shape == (91, 109, 91)
    assert hashlib.sha256(voxels).hexdigest() == scan.sha256
    assert CANARY.encode() not in voxels
    folders = (settings.MIRAGE_DATA_DIR / "scans", settings.MEDIA_ROOT / "scans")
    left = {path.name for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert {name for name in left if not name.endswith(".png")} == {scan.file.split("/")[-1]}


def test_a_file_that_is_too_large_is_not_even_sent(page_of_patient):
    page = page_of_patient
    page.locator("[data-scan-form]").evaluate("form => { form.dataset.mostBytes = '1000000' }")
    sent = []
    page.on("request", lambda request: sent.append(request.method))

    choose(page, "x.nii", bytes(1_500_000))

    expect(page.locator(".scan-form .error-text")).to_contain_text("at most 1 MB are taken")
    assert "POST" not in sent
