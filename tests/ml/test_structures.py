"""Volumes of structures, read off the phantom's anatomy with known changes."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from ml.data.mri import brain_mask, grid, normalise
from ml.data.phantom_anatomy import CSF_INTENSITY, GREY_INTENSITY, WHITE_INTENSITY, anatomy
from ml.data.structures import (
    CALIBRATION,
    STRUCTURES,
    head_ml,
    structure_volumes_ml,
    tissue_levels,
)

pytestmark = pytest.mark.slow
GRID = grid(2.0)


def _read(*brains):
    scans = [normalise(brain.astype(np.float32), brain_mask(GRID)) for brain in brains]
    found = structure_volumes_ml(torch.tensor(np.stack(scans)), GRID)
    return [dict(zip(STRUCTURES, row.tolist(), strict=True)) for row in found]


def _noisy(brain):
    noise = np.random.default_rng(1).normal(0, 0.02, brain.shape)
    return np.where(brain > 0.04, brain + noise, 0)


def _wider_ventricles(voxels):
    """The template with its ventricles grown into what lies around them, and by how many ml."""
    share = anatomy(GRID).regions[0]
    grown = ndimage.binary_dilation(share > 0.5, iterations=voxels) if voxels else share > 0.5
    added = float((grown & (share <= 0.5)).sum()) * GRID.voxel_ml
    return _noisy(np.where(grown, CSF_INTENSITY, anatomy(GRID).t1)), added


def test_the_template_has_the_volumes_of_a_healthy_head():
    (found,) = _read(_noisy(anatomy(GRID).t1))
    expected = {"brain": 1500, "cortex": 590, "hippocampus": 9, "amygdala": 4}
    for name, volume in expected.items():
        assert found[name] == pytest.approx(volume, rel=0.35)
    assert found["brain"] < head_ml(GRID)


def test_what_the_ventricles_gain_is_read_in_ml():
    (small, _), (large, gained) = _wider_ventricles(0), _wider_ventricles(2)
    before, after = _read(small, large)
    read = after["lateral ventricles"] - before["lateral ventricles"]
    assert read == pytest.approx(gained, rel=0.35)
    assert after["brain"] < before["brain"] - 0.25 * gained


@pytest.mark.parametrize(("name", "region"), [("hippocampus", 1), ("cortex", 2)])
def test_grey_matter_that_turned_into_csf_is_missed(name, region):
    share = anatomy(GRID).regions[region]
    shrunk = np.where((share > 0.3) & (np.indices(GRID.shape).sum(0) % 2 == 0), 0.5, 1.0)
    thin = CSF_INTENSITY + (anatomy(GRID).t1 - CSF_INTENSITY) * shrunk
    before, after = _read(
        _noisy(anatomy(GRID).t1), _noisy(np.where(share > 0.3, thin, anatomy(GRID).t1))
    )
    assert after[name] < 0.97 * before[name]


def test_levels_of_tissue_are_found_whatever_the_scale_and_however_large_the_ventricles():
    for brain in (_noisy(anatomy(GRID).t1), _wider_ventricles(3)[0]):
        inside = brain[brain_mask(GRID)]
        levels = tissue_levels(normalise(brain.astype(np.float32), brain_mask(GRID)), GRID)
        back = np.array(levels) * inside.std() + inside.mean()
        truth = (CSF_INTENSITY, GREY_INTENSITY, WHITE_INTENSITY)
        np.testing.assert_allclose(back, truth, atol=0.12)


def test_people_are_read_one_by_one():
    brains = [_noisy(anatomy(GRID).t1), _wider_ventricles(2)[0]]
    assert _read(*brains) == [_read(brain)[0] for brain in brains]


def test_every_structure_has_a_line_and_its_error():
    assert set(CALIBRATION) == set(STRUCTURES)
    assert all(slope > 0 and error > 0 for slope, _, error in CALIBRATION.values())


def test_volumes_are_never_negative():
    noise = torch.randn(1, *GRID.shape, generator=torch.Generator().manual_seed(1))
    assert (structure_volumes_ml(noise, GRID) > 0).all()
