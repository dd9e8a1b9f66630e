"""The generative baselines: what each must do by its own definition, on sizes of a second."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.distributions import Normal, kl_divergence

from ml.data.mri import brain_mask, grid
from ml.evaluation.baselines.diffusion import (
    SCHEDULE,
    TRAINING_STEPS,
    DDIMScheduler,
    noise_of,
    sample,
)
from ml.evaluation.baselines.ehr_to_latent import PENALTIES, fit_ehr_to_latent
from ml.evaluation.baselines.ehr_to_mri import EhrToMri, fit_ehr_to_mri
from ml.evaluation.baselines.generators import GeneratorConfig, record_table
from ml.evaluation.baselines.latent_diffusion import fit_latent_diffusion
from ml.evaluation.baselines.multimodal_vae import (
    Gaussian,
    MultimodalVAE,
    fit_multimodal_vae,
    product_of_experts,
)
from ml.evaluation.baselines.soft_alignment import concept_text, fit_soft_alignment, soft_targets
from ml.evaluation.baselines.voxel_diffusion import VoxelDiffusion, fit_voxel_diffusion
from ml.patient_graph import Findings

GRID = grid(8.0)
SHAPE = tuple(GRID.shape)


def gaussian(*pairs):
    mean, variance = zip(*pairs, strict=True)
    return Gaussian(torch.tensor([mean]), torch.tensor([variance]).log())


def told(people=64, width=6, seed=0):
    """Records of one column that decides every component of z, and one column of noise."""
    draw = torch.Generator().manual_seed(seed)
    value = torch.randn(people, 2, generator=draw)
    table = torch.cat([value, torch.ones(people, 2)], dim=1)
    latent = value[:, :1] * torch.tensor([1.0, -1.0] * (width // 2))
    return table, latent + 0.1 * torch.randn(people, width, generator=draw)


def test_a_row_of_the_table_holds_values_then_presence():
    findings = Findings(
        torch.tensor([[2, 0]]),
        torch.tensor([[[1.5, 1.0], [9.0, 1.0]]]),
        torch.tensor([[True, False]]),
    )
    assert record_table(findings, 3).tolist() == [[0, 0, 1.5, 0, 0, 1]]


def test_the_product_of_experts_is_the_normalised_product_of_their_densities():
    found = product_of_experts([gaussian((1.0, 0.5)), gaussian((-2.0, 2.0))])
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = sum(
        Normal(torch.tensor(mean).double(), torch.tensor(variance).double().sqrt()).log_prob(x)
        for mean, variance in ((0.0, 1.0), (1.0, 0.5), (-2.0, 2.0))
    ).exp()
    density /= density.sum()
    mean = (density * x).sum()
    assert float(found.mean) == pytest.approx(float(mean), abs=1e-5)
    variance = (density * (x - mean).square()).sum()
    assert float(found.log_variance.exp()) == pytest.approx(float(variance), abs=1e-5)


def test_a_missing_expert_leaves_the_others_and_the_prior():
    one, two = gaussian((1.0, 0.5), (0.0, 3.0)), gaussian((-2.0, 2.0), (1.0, 1.0))
    both, swapped = product_of_experts([one, two]), product_of_experts([two, one])
    torch.testing.assert_close(both.mean, swapped.mean)
    silent = gaussian((5.0, 1e9), (5.0, 1e9))  # an expert that knows nothing
    alone = product_of_experts([one])
    torch.testing.assert_close(product_of_experts([one, silent]).mean, alone.mean)


def test_the_divergence_is_that_of_normal_distributions():
    found = gaussian((1.0, 0.5), (-2.0, 2.0))
    spread = (0.5 * found.log_variance).exp()
    whole = kl_divergence(Normal(found.mean, spread), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(found.divergence(), whole)


def test_a_multimodal_vae_draws_the_latent_from_the_record_alone():
    table, latent = told()
    config = GeneratorConfig(steps=150, hidden=32, learning_rate=5e-3)
    network, losses = fit_multimodal_vae(table, latent, config, seed=0)
    others, truth = told(seed=1)
    with torch.no_grad():
        error = (network(others) - truth).square().mean()
    assert losses[-1] < losses[0]
    assert error < 0.5 * truth.square().mean()


def test_a_value_that_was_not_observed_costs_a_multimodal_vae_nothing():
    network = MultimodalVAE(4, 3, 8).eval()
    nn.init.zeros_(network.of_record[-1].weight)  # what is inferred does not look at the record
    costs = []
    for unseen in (2.0, 50.0):
        torch.manual_seed(0)
        table = torch.tensor([[0.5, unseen, 1.0, 0.0]])
        costs.append(network.loss(table, torch.zeros(1, 3), 1.0))
    assert costs[0] == costs[1]


def exact(clean):
    """A denoiser that knows what the clean sample is."""
    schedule = DDIMScheduler(
        num_train_timesteps=TRAINING_STEPS, schedule=SCHEDULE, clip_sample=False
    )

    def denoise(noisy, times, condition):
        kept = schedule.alphas_cumprod[times][:, None]
        return (noisy - kept.sqrt() * condition) / (1 - kept).sqrt()

    return denoise


def test_sampling_with_an_exact_denoiser_gives_back_what_the_condition_says():
    clean = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    drawn = sample(exact(clean), torch.randn(2, 2), clean, torch.zeros(2), guidance=0.0, steps=50)
    torch.testing.assert_close(drawn, clean, atol=1e-3, rtol=0)


def test_guidance_moves_away_from_what_anybody_would_be_given():
    clean, nobody, noise = torch.ones(1, 2), torch.zeros(2), torch.randn(1, 2)

    def drawn(guidance):
        return sample(exact(clean), noise, clean, nobody, guidance=guidance, steps=50)

    free = sample(exact(clean), noise, nobody[None], nobody, guidance=0.0, steps=50)
    torch.testing.assert_close(drawn(-1.0), free, atol=1e-4, rtol=0)
    torch.testing.assert_close(drawn(1.0), 2 * clean, atol=1e-2, rtol=0)


def test_the_same_noise_gives_the_same_sample_and_the_neighbours_play_no_part():
    table, latent = told(16)
    config = GeneratorConfig(steps=5, hidden=16, sampling_steps=5)
    network, _ = fit_latent_diffusion(table, latent, config, seed=0)
    network.leave.weight.data.normal_()
    rows = torch.tensor([3, 7])
    together = network.draw(table[rows], noise_of(rows, (6,), seed=1), config)
    again = network.draw(table[rows], noise_of(rows, (6,), seed=1), config)
    alone = network.draw(table[7:8], noise_of(torch.tensor([7]), (6,), seed=1), config)
    assert torch.equal(together, again)
    torch.testing.assert_close(alone[0], together[1], atol=1e-4, rtol=1e-4)
    other = network.draw(table[rows], noise_of(rows, (6,), seed=2), config)
    assert (other - together).abs().max() > 0.01


def test_diffusion_of_the_latent_learns_what_the_record_decides():
    table, latent = told(128)
    config = GeneratorConfig(
        steps=400, hidden=32, sampling_steps=20, guidance=0.0, learning_rate=5e-3
    )
    network, _ = fit_latent_diffusion(table, latent, config, seed=0)
    others, truth = told(seed=1)
    drawn = network.draw(others, noise_of(torch.arange(64), (6,), seed=0), config)
    agreement = np.corrcoef(drawn.flatten().numpy(), truth.flatten().numpy())[0, 1]
    assert agreement > 0.6


def test_voxels_go_to_8_mm_and_back_without_a_shift():
    network = VoxelDiffusion(4, grid(4.0), hidden=16)
    x, y, z = network.shape
    slope = torch.linspace(-1, 1, x)[None, :, None, None].expand(1, x, y, z).contiguous()
    back = network.fine(network.coarse(slope))
    inner = slice(4, -4)
    assert (back - slope)[:, inner].abs().max() < 0.02
    assert network.coarse(slope).shape[2:] == network.padded


def test_voxel_diffusion_draws_from_record_and_noise_alone():
    table, _ = told(8)
    volumes = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(0)).half()
    config = GeneratorConfig(steps=1, batch_size=2, hidden=16, sampling_steps=2)
    network, losses = fit_voxel_diffusion(table, volumes, GRID, config, seed=0)
    noise = noise_of(torch.arange(2), (1, *network.padded), seed=0)
    both = network.draw(table[:2], noise, config)
    alone = network.draw(table[1:2], noise[1:], config)
    assert np.isfinite(losses).all()
    assert both.shape == (2, *SHAPE)
    torch.testing.assert_close(alone[0], both[1], atol=1e-4, rtol=1e-4)


def test_a_drawn_volume_starts_at_the_mean_brain_and_follows_the_record():
    table, _ = told(24)
    mask = torch.tensor(brain_mask(GRID)).float()
    volumes = (mask + 2.0 * torch.sign(table[:, 0])[:, None, None, None] * mask).half()
    config = GeneratorConfig(steps=25, batch_size=6, hidden=16, learning_rate=1e-2)
    fresh = EhrToMri(4, GRID, 16)
    fresh.mean_brain.copy_(volumes.float().mean(0))
    assert torch.equal(fresh(table[:2])[0, 0], fresh.mean_brain)
    network, losses = fit_ehr_to_mri(table, volumes, GRID, config, seed=0)
    with torch.no_grad():
        drawn = (network(table)[:, 0] * mask).sum((1, 2, 3)) / mask.sum()
    agreement = np.corrcoef(drawn.numpy(), torch.sign(table[:, 0]).numpy())[0, 1]
    assert losses[-1] < losses[0]
    assert agreement > 0.6


def test_regression_of_the_latent_is_a_ridge_with_a_penalty_of_its_list():
    table, latent = told()
    found = fit_ehr_to_latent(table, latent)(table)
    fits = [
        Ridge(alpha=penalty).fit(table.double().numpy(), latent.double().numpy())
        for penalty in PENALTIES
    ]
    gaps = [np.abs(fit.predict(table.double().numpy()) - found.numpy()).max() for fit in fits]
    assert min(gaps) < 1e-4


def test_people_with_the_same_findings_share_a_target_and_the_own_scan_comes_first():
    table = torch.tensor([[1.0, 0, 1, 1], [1.0, 0, 1, 1], [0.0, 1, 1, 1]])
    target = soft_targets(concept_text(table, torch.eye(2)))
    torch.testing.assert_close(target.sum(1), torch.ones(3))
    assert (target.argmax(1) == torch.arange(3)).all()
    assert target[0, 1] > 0.2 > target[0, 2]


def test_soft_alignment_reads_the_diagnosis_off_the_record():
    table, latent = told(96)
    label = (table[:, 0] > 0).float()
    config = GeneratorConfig(steps=120, hidden=32)
    network, _ = fit_soft_alignment(table, latent, label, torch.eye(2), config, seed=0)
    others, _ = told(seed=1)
    with torch.no_grad():
        right = (network(others) > 0) == (others[:, 0] > 0)
    assert right.float().mean() > 0.9
