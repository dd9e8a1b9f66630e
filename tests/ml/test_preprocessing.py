"""A head that was turned, moved, scaled and shaded by known amounts goes in and comes out."""

import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from ml.data.commands import Preprocess
from ml.data.mri import brain_mask, grid, normalise, read_volume, template
from ml.data.phantom_anatomy import anatomy
from ml.data.preprocess_batch import preprocess_all, scans_in
from ml.data.preprocessing import Laid, QualityError, ScanError, keep, preprocess
from ml.data.quality import Quality, draw, measure_quality, overlap
from ml.data.raw_scan import read_scan
from ml.data.registration import Registration, back_to_scan, register, resample
from tests.hostile_scans import CANARY, ITEMS, VOXELS_REFUSED, file_name
from tests.phantom_head import CANARY as NAME
from tests.phantom_head import make_head

pytestmark = pytest.mark.slow
GRID = grid(2.0)


@pytest.fixture(scope="module")
def head():
    return make_head()


@pytest.fixture(scope="module")
def done(head, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    source = head.save(folder / "sub-1_T1w.nii.gz")
    return preprocess(source, folder / "out")


def test_the_brain_is_found(done, head):
    image = nib.load(done.mask)
    np.testing.assert_allclose(image.affine, head.affine)
    assert overlap(np.asarray(image.dataobj) > 0, head.brain) > 0.94


def test_the_brain_lies_on_the_template(done):
    registered = read_volume(done.registered, GRID)
    inside = brain_mask(GRID)
    truth = anatomy(GRID).t1
    assert np.corrcoef(registered[inside], truth[inside])[0, 1] > 0.85
    shifted = np.roll(truth, 3, axis=1)
    assert np.corrcoef(registered[inside], shifted[inside])[0, 1] < 0.7
    assert done.quality.problems == ()


def test_head_size_comes_back(done, head):
    assert done.head_scale == pytest.approx(0.93**-3, rel=0.04)
    assert done.quality.brain_ml == pytest.approx(head.brain.sum() * 8 / 1000, rel=0.1)


def test_the_volume_is_in_the_units_of_a_pseudo_mri(done):
    registered = read_volume(done.registered, GRID)
    assert np.median(registered[~brain_mask(GRID)]) == 0
    assert registered.min() == 0
    again = normalise(registered, brain_mask(GRID))[brain_mask(GRID)]
    assert again.mean() == pytest.approx(0, abs=1e-3)
    assert np.percentile(registered[brain_mask(GRID)], 90) == pytest.approx(0.9, abs=0.15)


def test_nothing_of_the_header_but_geometry_reaches_the_outputs(done):
    for path in (done.registered, done.mask):
        header = nib.load(path).header
        for field in ("descrip", "aux_file", "intent_name", "db_name"):
            assert bytes(header[field]).strip(b"\0") == b""
        assert not header.extensions
    assert NAME.split()[0] not in done.report.read_text()


def test_a_scan_that_was_done_is_not_done_again(done):
    times = {path: path.stat().st_mtime_ns for path in done.report.parent.iterdir()}
    (outcome,) = preprocess_all(done.report.parent.parent / "sub-1_T1w.nii.gz", done.report.parent)
    assert outcome.state == "skipped"
    assert {path: path.stat().st_mtime_ns for path in done.report.parent.iterdir()} == times


def test_the_shading_is_taken_away(done, head):
    """How much the level of the brain differs from place to place, beyond what anatomy explains."""

    def spread(voxels, truth, inside):
        level = [ndimage.gaussian_filter(np.where(inside, each, 0), 6) for each in (voxels, truth)]
        ratio = (level[0] / np.maximum(level[1], 1e-6))[
            ndimage.binary_erosion(inside, iterations=4)
        ]
        return ratio.std() / ratio.mean()

    registered, truth = read_volume(done.registered, GRID), anatomy(GRID).t1
    shaded = resample(head.voxels.astype(np.float32), Registration(head.to_scan, 1.0), GRID)
    before = spread(shaded, truth, brain_mask(GRID))
    assert before > 0.1
    assert spread(registered, truth, brain_mask(GRID)) < 0.5 * before


def test_registration_finds_a_known_affine():
    head = make_head(degrees=(18.0, -15.0, 20.0), bias=0.0)
    brain = np.where(head.brain, head.voxels, 0).astype(np.float32)
    found = register(brain, head.affine)
    inside = np.argwhere(brain_mask(GRID))[::50]
    places = np.c_[inside, np.ones(len(inside))] @ GRID.affine.T
    error_mm = 2 * np.linalg.norm((places @ (found.to_scan - head.to_scan).T)[:, :3], axis=1)
    assert np.median(error_mm) < 1.0
    assert error_mm.max() < 3.0


def test_a_dicom_series_is_read_without_its_identifiers(tmp_path):
    path = tmp_path / "scan.zip"
    path.write_bytes(ITEMS["a zipped DICOM series"]())
    scan = read_scan(path)
    plain = tmp_path / "scan.nii"
    plain.write_bytes(ITEMS["a plain NIfTI-1"]())
    other = read_scan(plain)
    here = nib.as_closest_canonical(nib.Nifti1Image(scan.voxels, scan.affine))
    there = nib.as_closest_canonical(nib.Nifti1Image(other.voxels, other.affine))
    np.testing.assert_allclose(here.affine, there.affine, atol=1e-3)
    np.testing.assert_array_equal(here.dataobj, np.clip(there.dataobj, 0, 4000))
    assert CANARY not in repr(scan.header)


@pytest.mark.parametrize("item", VOXELS_REFUSED)
def test_voxels_that_are_no_numbers_are_refused(tmp_path, item):
    path = tmp_path / file_name(item)
    path.write_bytes(ITEMS[item]())
    with pytest.raises(ScanError, match=r"voxels are NaN or infinite"):
        preprocess(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_files_are_told_one_by_one_and_the_exit_status_says_so(tmp_path, capsys):
    for name, item in (("a.nii", "RGB"), ("sub/b.nii.gz", "a wrong CRC"), ("c.zip", "zip: nested")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ITEMS[item]())
    with pytest.raises(SystemExit) as ended:
        Preprocess(input=tmp_path / "in", out=tmp_path / "out", json=True).run()
    assert ended.value.code == 1
    shown = capsys.readouterr()
    assert "3/3" in shown.err
    report = json.loads(shown.out)
    assert report["counts"] == {"refused": 3}
    assert [each["source"] for each in report["not_in"]] == ["a.nii", "c.zip", "sub/b.nii.gz"]
    assert all(each["reason"].endswith(".") for each in report["not_in"])


def test_a_process_that_dies_fails_its_own_scan_alone(tmp_path):
    for name, item in (("a.nii", "a plain NIfTI-1"), ("b.nii", "RGB")):
        (tmp_path / name).write_bytes(ITEMS[item]())
    # There is no grid of 3 mm: the first scan's process ends by an exception that nobody expects.
    first, second = preprocess_all(tmp_path, tmp_path / "out", spacing_mm=3)
    assert (first.state, second.state) == ("failed", "refused")
    assert "ended with status 1" in first.reason


def test_a_folder_without_scans_is_an_error(tmp_path):
    with pytest.raises(ScanError, match="no scan"):
        scans_in(tmp_path)


def test_quality_control_takes_the_template_and_refuses_what_lies_elsewhere():
    good = np.where(brain_mask(GRID), template(GRID), 0).astype(np.float32)
    assert measure_quality(good, brain_mask(GRID), GRID, brain_ml=1500.0).problems == ()
    away = np.roll(good, 8, axis=2)
    found = measure_quality(away, away > 0, GRID, brain_ml=1500.0)
    assert len(found.problems) == 2
    assert len(measure_quality(good, brain_mask(GRID), GRID, brain_ml=300.0).problems) == 1
    assert Quality(float("nan"), 1.0, 1500.0).problems


def test_a_refused_scan_gets_a_picture_and_nothing_else(tmp_path, head):
    path = head.save(tmp_path / "x.nii.gz")
    away = np.roll(np.where(brain_mask(GRID), template(GRID), 0), 9, axis=2).astype(np.float32)
    quality = measure_quality(away, away > 0, GRID, brain_ml=1400.0)
    laid = Laid(away, GRID, away, head.brain, head.affine, 1.2, quality)
    with pytest.raises(QualityError, match=r"refused by quality control\. Its ") as refusal:
        keep(laid, read_scan(path), tmp_path / "out", "x", source_sha256="0", began=0.0)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["x_qc.json", "x_qc.png"]
    assert refusal.value.picture.read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "out/x_qc.json").read_text())["passed"] is False


def test_the_picture_shows_three_slices_with_the_outline(tmp_path):
    from PIL import Image

    draw(tmp_path / "x.png", template(GRID), GRID)
    picture = np.asarray(Image.open(tmp_path / "x.png"))
    assert picture.shape[1] > 2 * picture.shape[0]
    assert (picture == (255, 176, 0)).all(axis=2).mean() > 0.01


def test_resampling_at_1_mm_keeps_places(head):
    known = Registration(head.to_scan, 1.0)
    coarse, fine = (
        resample(head.brain.astype(np.float32), known, on) >= 0.5 for on in (GRID, grid(1.0))
    )
    assert overlap(fine[::2, ::2, ::2], coarse) > 0.98
    assert overlap(coarse, brain_mask(GRID)) > 0.98


def test_a_mask_on_the_grid_is_found_in_the_scan(head):
    found = back_to_scan(brain_mask(GRID), GRID, Registration(head.to_scan, 1.0), head.brain.shape)
    assert overlap(found, head.brain) > 0.98
