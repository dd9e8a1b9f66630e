"""The model's mean: drawn once for a bundle, a brain, and marked as nobody's."""

import nibabel
import numpy

from apps.inference import means
from ml.data.mri import brain_mask, grid, is_marked_synthetic, template


def test_the_mean_of_a_bundle_is_a_marked_brain_and_drawn_once(bundle):
    means.draw_mean(bundle)
    file = means.mean_file(bundle)
    drawn_at = file.stat().st_mtime_ns

    means.draw_mean(bundle)

    assert file.stat().st_mtime_ns == drawn_at
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert is_marked_synthetic(file)
    on = grid(bundle.card["spacing_mm"])
    inside = brain_mask(on)
    voxels = nibabel.load(file).get_fdata()
    assert numpy.corrcoef(voxels[inside], template(on)[inside])[0, 1] > 0.7


def test_a_mean_that_cannot_be_written_is_left_out(bundle, settings, caplog):
    settings.MEDIA_ROOT.write_text("no folder")

    means.draw_mean(bundle)

    assert "could not be written" in caplog.text
