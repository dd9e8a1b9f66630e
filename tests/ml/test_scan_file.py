"""Hostile and odd scan files at the first look, before anything is parsed."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from ml.data.scan_file import ScanFileError, check_scan_file, check_scan_name
from ml.data.scan_header import Kind
from ml.data.scan_zip import unpack_dicom_zip
from tests.hostile_scans import (
    BAD_NAMES,
    CANARY,
    EDGE,
    EXPECTED,
    ITEMS,
    file_name,
    gzipped,
    head,
    nifti,
    zipped,
)


@pytest.fixture
def written(tmp_path):
    def write(item):
        path = tmp_path / file_name(item)
        path.write_bytes(ITEMS[item]())
        return path

    return write


@pytest.mark.parametrize("item", [name for name, status in EXPECTED.items() if status == "good"])
def test_what_a_hospital_may_send_is_taken(written, item):
    header = check_scan_file(written(item))
    if header.kind is Kind.DICOM_ZIP:
        assert header.files == EDGE
    else:
        assert header.shape == (EDGE, EDGE, EDGE)
        assert header.spacing_mm == pytest.approx((4.0, 4.0, 4.0))


@pytest.mark.parametrize("item", [name for name, status in EXPECTED.items() if status == "refused"])
def test_what_is_broken_or_hostile_is_refused_with_a_way_out_within_two_seconds(written, item):
    path = written(item)
    began = time.monotonic()
    with pytest.raises(ScanFileError) as refusal:
        check_scan_file(path)
    assert time.monotonic() - began < 2
    text = str(refusal.value)
    assert text.count(". ") >= 1
    assert text.endswith(".")
    assert "<script" not in text
    assert CANARY not in text
    assert path.name not in text


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_name_that_could_do_harm_is_refused(name):
    with pytest.raises(ScanFileError, match=r"name .*\. "):
        check_scan_name(name)


@pytest.mark.parametrize("name", ["scan.nii", "Müller T1.nii.gz", "x.MGZ", "series 3.zip"])
def test_a_plain_name_is_taken(name):
    check_scan_name(name)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_header_is_read_in_either_byte_order(tmp_path, order):
    import nibabel as nib

    image = nib.Nifti1Image(head().astype(order + "i2"), np.diag([-4.0, 4, 4, 1]))
    swapped = image.header.as_byteswapped(order)
    image = nib.Nifti1Image(head().astype(order + "i2"), np.diag([-4.0, 4, 4, 1]), swapped)
    nib.save(image, tmp_path / "scan.nii.gz")
    assert check_scan_file(tmp_path / "scan.nii.gz").shape == (EDGE, EDGE, EDGE)


def test_a_bomb_costs_no_memory(tmp_path):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(ITEMS["1 MiB that unpacks to 1 GiB"]())
    assert path.stat().st_size < 3 * 2**20
    code = """
import json, pathlib, re, sys
from ml.data.scan_file import ScanFileError, check_scan_file
try:
    check_scan_file(pathlib.Path(sys.argv[1]))
except ScanFileError:
    pass
loaded = [name for name in ("numpy", "torch", "nibabel") if name in sys.modules]
peak = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]
print(json.dumps([int(peak), loaded]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    kilobytes, loaded = json.loads(result.stdout)
    assert kilobytes < 64 * 1024
    assert loaded == []


def test_a_zip_is_unpacked_under_our_own_names(tmp_path):
    path = tmp_path / "scan.zip"
    path.write_bytes(zipped({"report.txt": b"see " * 50, "sub/IM9.dcm": b"\0" * 128 + b"DICM"}))
    out = tmp_path / "out"
    out.mkdir()
    assert unpack_dicom_zip(path, out) == EDGE + 1
    assert sorted(each.name for each in out.iterdir())[::EDGE] == ["00001.dcm", "00049.dcm"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "scan.zip"]


def test_a_volume_of_which_one_voxel_differs_is_not_constant(tmp_path):
    voxels = np.full((EDGE,) * 3, 7, "<i2")
    voxels[-1, -1, -1] = 8
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzipped(nifti(voxels)))
    assert check_scan_file(path).datatype == "int16"
