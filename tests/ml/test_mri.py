import nibabel as nib
import numpy as np
import pytest

from ml.data.mri import (
    InvalidVoxelsError,
    OffGridError,
    UnknownSpacingError,
    UnreadableVolumeError,
    at_grid,
    brain_mask,
    grid,
    is_marked_synthetic,
    normalise,
    read_volume,
    template,
    to_template_intensities,
    write_volume,
)

COARSE = grid(8.0)


@pytest.fixture
def voxels():
    return np.random.default_rng(0).random(COARSE.shape, dtype=np.float32) * 900


def _save(path, voxels, affine):
    nib.save(nib.Nifti1Image(np.asarray(voxels, dtype=np.float32), affine), path)
    return path


def test_the_2_mm_grid_is_that_of_fsl():
    assert grid(2.0).shape == (91, 109, 91)
    np.testing.assert_array_equal(grid(2.0).affine @ [0, 0, 0, 1], [90, -126, -72, 1])
    np.testing.assert_array_equal(grid(2.0).affine @ [45, 63, 36, 1], [0, 0, 0, 1])


def test_coordinates_are_what_the_affine_says():
    at = grid(4.0).coordinates_mm()[:, 3, 5, 7]
    np.testing.assert_allclose(at, (grid(4.0).affine @ [3, 5, 7, 1])[:3])


def test_an_unknown_spacing_names_the_known_ones():
    with pytest.raises(UnknownSpacingError, match=r"3 mm.*1, 2, 4, 8 mm"):
        grid(3.0)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_written_volume_comes_back(tmp_path, voxels, ending):
    path = tmp_path / f"volume{ending}"
    write_volume(path, voxels, COARSE, synthetic=True, description="of a test")

    np.testing.assert_allclose(read_volume(path, COARSE), voxels, atol=900 / 30_000)


def test_the_header_says_synthetic_and_mni152(tmp_path, voxels):
    write_volume(tmp_path / "a.nii", voxels, COARSE, synthetic=True, description="pseudo-MRI")
    header = nib.load(tmp_path / "a.nii").header

    assert bytes(header["descrip"]).startswith(b"SYNTHETIC: pseudo-MRI")
    assert bytes(header["intent_name"]).startswith(b"SYNTHETIC")
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 4)
    assert is_marked_synthetic(tmp_path / "a.nii")


def test_a_scan_is_not_marked_synthetic(tmp_path, voxels):
    write_volume(tmp_path / "a.nii", voxels, COARSE, synthetic=False, description="T1")
    assert not is_marked_synthetic(tmp_path / "a.nii")


def test_the_same_volume_gives_the_same_bytes(tmp_path, voxels):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / "x" / name, voxels, COARSE, synthetic=True, description="d")
        (tmp_path / "x" / name).rename(tmp_path / name)
    # gzip stores the file's name; what is compressed must agree.
    assert nib.load(tmp_path / "a.nii.gz").to_bytes() == nib.load(tmp_path / "b.nii.gz").to_bytes()


def test_a_volume_of_another_size_is_refused(tmp_path, voxels):
    path = _save(tmp_path / "small.nii", voxels[:-1], COARSE.affine)
    with pytest.raises(OffGridError, match="22 x 28 x 23 voxels"):
        read_volume(path, COARSE)


@pytest.mark.parametrize("change", ["shifted", "turned", "finer"])
def test_a_volume_elsewhere_in_space_is_refused(tmp_path, voxels, change):
    affine = COARSE.affine.copy()
    if change == "shifted":
        affine[0, 3] += 2
    elif change == "turned":
        affine[0, 0] *= -1
    else:
        affine[:3, :3] /= 2
    with pytest.raises(OffGridError, match="affine"):
        read_volume(_save(tmp_path / "a.nii", voxels, affine), COARSE)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_volume_with_invalid_voxels_is_refused(tmp_path, voxels, bad):
    voxels[3, 4, 5] = bad
    with pytest.raises(InvalidVoxelsError, match="1 NaN or infinite voxels"):
        read_volume(_save(tmp_path / "a.nii", voxels, COARSE.affine), COARSE)
    with pytest.raises(InvalidVoxelsError):
        write_volume(tmp_path / "b.nii", voxels, COARSE, synthetic=True, description="")


def test_an_empty_volume_is_refused(tmp_path):
    with pytest.raises(InvalidVoxelsError, match="no brain"):
        read_volume(_save(tmp_path / "a.nii", np.zeros(COARSE.shape), COARSE.affine), COARSE)


@pytest.mark.parametrize("content", [b"", b"not a volume at all", b"\x1f\x8b\x08\x00broken"])
def test_a_file_that_is_no_volume_is_refused(tmp_path, content):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UnreadableVolumeError, match=r"scan\.nii\.gz"):
        read_volume(path, COARSE)


def test_a_truncated_volume_is_refused(tmp_path, voxels):
    path = _save(tmp_path / "a.nii", voxels, COARSE.affine)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UnreadableVolumeError):
        read_volume(path, COARSE)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UnreadableVolumeError):
        read_volume(tmp_path / "nobody.nii.gz", COARSE)


@pytest.mark.parametrize("spacing_mm", [2.0, 8.0])
def test_the_brain_mask_has_the_volume_of_the_mni152_brain(spacing_mm):
    on = grid(spacing_mm)
    assert brain_mask(on).sum() * on.voxel_ml == pytest.approx(1883, rel=0.02)


def test_sampling_at_1_mm_keeps_the_template_as_it_is():
    fine = np.random.default_rng(1).random((197, 233, 189), dtype=np.float32)
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = (-98, -134, -72)
    sampled = at_grid(nib.Nifti1Image(fine, affine), grid(1.0))
    # Voxel 0 lies at x = 90, y = -126, z = -72: index (188, 8, 0) of the source.
    assert sampled[0, 0, 0] == pytest.approx(fine[188, 8, 0])
    assert sampled[10, 20, 30] == pytest.approx(fine[178, 28, 30])


def test_normalising_removes_scale_and_offset_of_the_scanner():
    mask, brain = brain_mask(COARSE), template(COARSE)
    first, second = normalise(brain, mask), normalise(brain * 713 + 20, mask)

    np.testing.assert_allclose(first, second, atol=1e-4)
    assert first[mask].mean() == pytest.approx(0, abs=1e-5)
    assert first[mask].std() == pytest.approx(1, abs=1e-5)


def test_a_scan_without_a_brain_is_not_normalised():
    voxels = np.zeros(COARSE.shape, np.float32)
    voxels[0, 0, 0] = 1
    with pytest.raises(InvalidVoxelsError, match="registration"):
        normalise(voxels, brain_mask(COARSE))


def test_the_templates_intensities_come_back():
    brain = template(COARSE)
    back = to_template_intensities(normalise(brain, brain_mask(COARSE)), COARSE)
    np.testing.assert_allclose(back, np.maximum(brain, 0), atol=1e-5)
