from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.data.mri import brain_mask, grid, normalise
from ml.data.phantom import PhantomConfig, phantom_scan, sample_person
from ml.data.phantom_anatomy import anatomy
from ml.data.regions import REGION_NAMES, regional_volumes_ml

GRID = grid(4.0)


def _read(**changes):
    """Regional volumes of one person whose atrophy alone is changed."""
    config = PhantomConfig()
    rng = np.random.default_rng(4)
    person = replace(sample_person("sub-1", rng, config), **changes)
    voxels, _ = phantom_scan(person, anatomy(GRID), GRID, rng, config)
    scan = torch.tensor(normalise(voxels, brain_mask(GRID)))[None]
    return dict(zip(REGION_NAMES, regional_volumes_ml(scan, GRID)[0].tolist(), strict=True))


@pytest.mark.parametrize(
    ("change", "region"),
    [
        ("ventricle_mm", "left_ventricle_csf"),
        ("ventricle_mm", "right_ventricle_csf"),
        ("cortex_mm", "frontal_csf"),
        ("cortex_mm", "parietal_csf"),
        ("cortex_mm", "temporal_csf"),
    ],
)
def test_atrophy_is_read_as_more_csf_where_it_happens(change, region):
    amounts = (0.0, 0.8, 1.6)
    volumes = [_read(**{change: amount})[region] for amount in amounts]
    assert volumes == sorted(volumes)
    assert volumes[-1] > 1.02 * volumes[0]


def test_wider_ventricles_are_not_read_as_thinner_cortex():
    before, after = _read(ventricle_mm=0.5), _read(ventricle_mm=3.0)
    ventricles = after["left_ventricle_csf"] / before["left_ventricle_csf"]
    assert ventricles > 1.3
    assert after["frontal_csf"] / before["frontal_csf"] == pytest.approx(1, abs=0.05)


def test_a_batch_is_read_scan_by_scan():
    scans = torch.randn(5, *GRID.shape, generator=torch.Generator().manual_seed(1))
    together = regional_volumes_ml(scans, GRID, batch_size=5)
    torch.testing.assert_close(regional_volumes_ml(scans, GRID, batch_size=2), together)
