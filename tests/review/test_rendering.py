"""Study copies: whatever the source, all but the picture is the same."""

import hashlib

import nibabel
import numpy
import pytest

from apps.review.rendering import SourceError, header, study_copy
from ml.data.mri import brain_mask, grid
from tests.review.factories import make_volume

ON = grid(8.0)


@pytest.fixture
def source(settings):
    """Write a volume and name it: `source(1, noise=.05)`."""

    def make(seed, **how):
        return (
            settings.MEDIA_ROOT
            / make_volume(settings.MEDIA_ROOT / f"{seed}.nii", seed, **how)["file"]
        )

    return make


def copy(path, spacing_mm=8.0, sha256=None):
    real = hashlib.sha256(path.read_bytes()).hexdigest()
    return study_copy(path, sha256=sha256 or real, spacing_mm=spacing_mm, case=7)


def voxels_of(content):
    return numpy.frombuffer(content[352:], numpy.uint8).reshape(ON.shape, order="F")


def test_copies_differ_in_their_voxels_alone(source):
    scan = copy(source(1, noise=0.05, scale=300.0))
    pseudo = copy(source(2, noise=0.0, note=b"SYNTHETIC: pseudo-MRI"))

    assert len(scan) == len(pseudo) == 352 + numpy.prod(ON.shape)
    assert scan[:352] == pseudo[:352] == header(ON)
    for content in (scan, pseudo):
        assert (voxels_of(content) == 0).sum() == (~brain_mask(ON)).sum()
        assert voxels_of(content).max() == 255


def test_a_copy_is_a_volume_on_the_grid_that_says_nothing_else(tmp_path, source):
    (tmp_path / "copy.nii").write_bytes(copy(source(1)))

    image = nibabel.load(tmp_path / "copy.nii")

    assert numpy.allclose(image.affine, ON.affine)
    assert image.get_data_dtype() == numpy.uint8
    assert bytes(image.header["descrip"]).strip(b"\0") == b""
    assert bytes(image.header["intent_name"]).strip(b"\0") == b""
    assert not image.header.extensions


def test_the_scale_of_a_scanner_is_gone(source):
    small, large = source(3, scale=1.0), source(3, scale=1.0).with_name("large.nii")
    image = nibabel.load(small)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata() * 700 + 90, image.affine), large)

    assert numpy.abs(voxels_of(copy(small)).astype(int) - voxels_of(copy(large))).max() <= 1


def test_the_picture_keeps_its_greys_in_their_order(source):
    path = source(4)
    before = nibabel.load(path).get_fdata()[brain_mask(ON)]
    after = voxels_of(copy(path))[brain_mask(ON)]

    assert numpy.corrcoef(before, after)[0, 1] > 0.99


def test_a_finer_source_is_brought_to_the_grid(source):
    assert len(copy(source(5, spacing_mm=4.0))) == len(copy(source(6)))


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda path: path.unlink(), "is gone"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "has changed since the draw"),
    ],
)
def test_a_source_that_is_not_the_one_drawn_is_refused(source, break_it, words):
    path = source(7)
    drawn = hashlib.sha256(path.read_bytes()).hexdigest()
    break_it(path)

    with pytest.raises(SourceError, match=f"case 7 {words}"):
        copy_of(path, drawn)


def copy_of(path, sha256):
    return study_copy(path, sha256=sha256, spacing_mm=8.0, case=7)


def test_a_coarser_source_and_an_empty_one_are_refused(source):
    with pytest.raises(SourceError, match="case 7 cannot be used"):
        copy(source(8), spacing_mm=2.0)
    empty = source(9)
    image = nibabel.load(empty)
    outside = numpy.where(brain_mask(ON), 0.3, image.get_fdata())
    outside[0, 0, 0] = 1
    nibabel.save(nibabel.Nifti1Image(outside, image.affine), empty)
    with pytest.raises(SourceError, match="shows no brain"):
        copy(empty)
