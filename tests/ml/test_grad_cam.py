"""Maps of a CNN whose answer is known, and attacks whose outcome is known."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from ml.config import ClassifierConfig
from ml.data.mri import brain_mask, grid
from ml.evaluation.grad_cam import faithfulness, grad_cam
from ml.evaluation.membership import frechet_distance, membership, nearest_donor
from ml.training.train_reader import train_classifier

GRID = grid(8.0)
PLACE = (slice(8, 12), slice(12, 16), slice(8, 12))
CONFIG = ClassifierConfig(spacing_mm=8.0, channels=(6,), epochs=14, batch_size=8, teacher_share=0.0)


@pytest.fixture(scope="module")
def taught():
    """A CNN that learned to look at one place, and people it has not seen."""
    draw = torch.Generator().manual_seed(0)
    scans = 0.3 * torch.randn(64, *GRID.shape, generator=draw)
    label = (torch.arange(64) % 2).float()
    scans[(slice(None), *PLACE)] += (2 * label - 1)[:, None, None, None]
    half = scans.half()
    regions = torch.randn(64, 20, generator=draw)
    network = train_classifier(half, half, label, _regions(regions), CONFIG, 8.0, seed=0)
    return network, scans[:12].clone(), label[:12]


def _regions(values):
    from ml.data.regions import REGION_NAMES

    return values[:, :1].expand(-1, len(REGION_NAMES)) + 0.0


def test_a_map_lights_up_where_the_disease_is(taught):
    network, scans, label = taught
    logit = network(scans).logit
    assert ((logit > 0) == (label == 1)).all()
    maps = grad_cam(network, scans, elementwise=True)
    assert maps.shape == scans.shape
    assert maps.amin() >= 0
    assert maps.amax() == 1
    inside = maps[(slice(None), *PLACE)].mean()
    assert inside > 3 * maps.mean()


def test_taking_away_what_the_map_shows_moves_the_answer_and_random_voxels_do_not(taught):
    network, scans, _ = taught
    mask = torch.tensor(brain_mask(GRID))
    found = faithfulness(network, scans, mask, elementwise=True, seed=0)
    assert found.better.value == 1.0
    assert found.deletion > 2 * max(found.deletion_random, 0.0)
    assert found.insertion > 2 * max(found.insertion_random, 0.0)
    assert abs(found.randomised) < 0.5


def people(shift, n=200, width=6, seed=0):
    draw = torch.Generator().manual_seed(seed)
    real = torch.randn(n, width, generator=draw)
    return shift * real + torch.randn(n, width, generator=draw), real


def attacked(members, others):
    nobody = torch.zeros(200), torch.zeros(200)
    label = torch.ones(200), torch.ones(200)
    drawn, real = (members[0], others[0]), (members[1], others[1])
    return membership(drawn, real, nobody, label)["nearness of surrogate and own scan"]


def test_an_attack_finds_a_model_that_copies_its_training_people_and_no_other():
    leaking = attacked(people(1.0), people(0.0, seed=1))
    assert leaking["low"] > 0.7
    tight = attacked(people(0.0), people(0.0, seed=1))
    assert tight["low"] < 0.5 < tight["high"]


def test_longer_latents_of_training_scans_alone_are_no_leak():
    drawn, real = people(0.0)
    found = attacked((drawn, 3 * real), people(0.0, seed=1))
    assert found["low"] < 0.5 < found["high"]


def test_a_copy_of_a_donor_is_seen():
    donors = torch.randn(8, 50, generator=torch.Generator().manual_seed(0))
    assert nearest_donor(donors[:4] + 1e-3, donors)["nearer_than_any_pair"] == 1.0
    apart = nearest_donor(donors[:4] + 5.0, donors)
    assert apart["nearer_than_any_pair"] == 0.0
    assert apart["to_nearest_donor"] > apart["donors_to_nearest_other"]


def test_the_frechet_distance_is_that_of_the_formula_and_nothing_between_equals():
    first, second = people(0.0)[0], 2 * people(0.0, seed=1)[0] + 1
    one, two = first.double().numpy(), second.double().numpy()
    spreads = [np.cov(each, rowvar=False) for each in (one, two)]
    cross = np.real(sqrtm(spreads[0] @ spreads[1]))
    expected = ((one.mean(0) - two.mean(0)) ** 2).sum()
    expected += np.trace(spreads[0] + spreads[1] - 2 * cross)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-6)
