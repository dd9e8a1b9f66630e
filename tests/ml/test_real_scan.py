"""A real scan of OASIS-1 goes in; it lies beside the repository and is never part of it."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ml.data.preprocessing import preprocess
from ml.data.quality import overlap

SCAN = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw_t1" / "OAS1_0001"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCAN.exists(), reason="the real scan is not beside the repository"),
]


def test_a_real_scan_goes_in_with_the_brain_that_freesurfer_found(tmp_path):
    done = preprocess(SCAN / "orig.mgz", tmp_path)
    reference = np.asarray(nib.load(SCAN / "brainmask.mgz").dataobj) > 0
    mask = nib.load(done.mask)
    np.testing.assert_allclose(mask.affine, nib.load(SCAN / "orig.mgz").affine)
    assert overlap(np.asarray(mask.dataobj) > 0, reference) >= 0.94
    assert done.quality.overlap > 0.94
    assert done.head_scale == pytest.approx(1883 / 1285, rel=0.1)  # the template's head and this
    assert done.volumes_ml["hippocampus"] == pytest.approx(7.3, rel=0.25)
    assert done.volumes_ml["lateral ventricles"] == pytest.approx(53.0, rel=0.25)
    assert done.volumes_ml["cortex"] == pytest.approx(375, rel=0.2)
