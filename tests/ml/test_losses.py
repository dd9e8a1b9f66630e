import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from ml.config import ReconstructionConfig
from ml.losses import SSIM_WINDOW_VOXELS, reconstruction_loss, ssim, total_variation

RANGE = 4.4


@pytest.fixture
def pair():
    torch.manual_seed(0)
    first = torch.nn.functional.avg_pool3d(torch.randn(2, 1, 22, 24, 20), 3, 1)
    return first, first + 0.2 * torch.randn_like(first)


def _interior(volume):
    mask = torch.zeros(volume.shape[2:], dtype=torch.bool)
    edge = SSIM_WINDOW_VOXELS // 2
    mask[edge:-edge, edge:-edge, edge:-edge] = True
    return mask


def test_ssim_is_that_of_scikit_image(pair):
    first, second = pair
    mask = _interior(first)
    mask[:, :10] = False  # a mask that is not a box's whole interior
    ours = ssim(first, second, mask, data_range=RANGE)

    for patient in range(2):
        _, theirs = structural_similarity(
            first[patient, 0].double().numpy(),
            second[patient, 0].double().numpy(),
            data_range=RANGE,
            full=True,
        )
        assert float(ours[patient]) == pytest.approx(theirs[mask.numpy()].mean(), abs=1e-5)


def test_equal_volumes_have_ssim_1_and_it_falls_with_noise(pair):
    first, second = pair
    mask = _interior(first)
    torch.testing.assert_close(ssim(first, first, mask, data_range=RANGE), torch.ones(2))
    noisier = second + 0.5 * torch.randn_like(second)
    near, far = (ssim(first, other, mask, data_range=RANGE) for other in (second, noisier))
    assert bool((far < near).all())


def test_the_background_does_not_count(pair):
    first, second = pair
    mask = torch.zeros(first.shape[2:], dtype=torch.bool)
    mask[9:12, 9:12, 9:12] = True
    changed = second.clone()
    changed[..., :5, :5, :5] += 100
    torch.testing.assert_close(
        ssim(first, changed, mask, data_range=RANGE), ssim(first, second, mask, data_range=RANGE)
    )


def test_windows_at_every_second_voxel_estimate_the_same_value(pair):
    first, second = pair
    mask = _interior(first)
    dense = ssim(first, second, mask, data_range=RANGE)
    sparse = ssim(first, second, mask, data_range=RANGE, stride=2)
    torch.testing.assert_close(dense, sparse, atol=0.02, rtol=0)


def test_total_variation_of_a_step_is_its_height_over_the_edges():
    step = torch.zeros(1, 1, 5, 4, 4)
    step[:, :, 2:] = 3
    assert float(total_variation(step)) == pytest.approx(3 / 4)  # one of four differences


def test_the_reconstruction_loss_is_the_sum_of_its_terms(pair):
    first, second = pair
    mask = _interior(first)

    def loss(**weights):
        zero = {"l1": 0.0, "ssim": 0.0, "tv": 0.0}
        config = ReconstructionConfig(**{**zero, **weights})
        return float(reconstruction_loss(first, second, mask, config, data_range=RANGE))

    assert loss(l1=1.0) == pytest.approx(
        float(np.abs((first - second)[:, 0, mask].numpy()).mean()), rel=1e-5
    )
    assert loss(l1=2.0, ssim=0.5, tv=0.1) == pytest.approx(
        2 * loss(l1=1.0) + 0.5 * loss(ssim=1.0) + 0.1 * loss(tv=1.0), rel=1e-4
    )
