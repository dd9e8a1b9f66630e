"""Fixed slices for browsers without WebGL2."""

from io import BytesIO

import pytest
from PIL import Image

from apps.patients import mosaics
from tests.inference.world import write_volume


@pytest.fixture
def volume(tmp_path):
    path = tmp_path / "volume.nii"
    write_volume(path)
    return path


@pytest.fixture
def picture(volume):
    return Image.open(BytesIO(mosaics.render(volume, synthetic=True))).convert("RGB")


def tile(picture, row, column):
    left = mosaics.GAP + column * (mosaics.TILE + mosaics.GAP)
    top = mosaics.MARK_HEIGHT + mosaics.GAP + row * (mosaics.TILE + mosaics.GAP)
    return picture.crop((left, top, left + mosaics.TILE, top + mosaics.TILE))


@pytest.mark.parametrize("row", [0, 1], ids=["axial", "coronal"])
def test_the_right_of_the_person_is_on_the_left(picture, row):
    middle = tile(picture, row, 1)
    half = mosaics.TILE // 2

    assert middle.getpixel((half - 40, half))[0] > middle.getpixel((half + 30, half))[0] > 60


def test_the_corners_of_a_slice_are_dark_and_its_middle_is_not(picture):
    for row in range(3):
        slice_ = tile(picture, row, 2)
        assert max(slice_.getpixel((mosaics.TILE - 3, mosaics.TILE - 3))) < 20
        assert min(slice_.getpixel((mosaics.TILE // 2, mosaics.TILE // 2))) > 60


def test_the_mark_is_part_of_the_picture(picture):
    strip = picture.crop((0, 0, picture.width, mosaics.MARK_HEIGHT))

    counts = {colour: count for count, colour in strip.getcolors(maxcolors=2**24)}
    assert counts[mosaics.SYNTHETIC] > 2000


@pytest.mark.parametrize("damage", [b"", b"\0" * 400, b"not a volume" * 50])
def test_a_file_that_is_no_volume_is_refused(volume, damage):
    volume.write_bytes(damage)

    with pytest.raises(mosaics.UnreadableVolumeError, match="made again"):
        mosaics.render(volume, synthetic=True)


def test_a_file_that_was_cut_off_is_refused(volume):
    volume.write_bytes(volume.read_bytes()[:-100])

    with pytest.raises(mosaics.UnreadableVolumeError):
        mosaics.render(volume, synthetic=True)
