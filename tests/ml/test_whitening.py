import pytest
import torch
from sklearn.covariance import ledoit_wolf

from ml.whitening import (
    DegenerateCohortError,
    WhiteningColoring,
    effective_rank,
    shrunk_covariance,
)


def cohort(patients, width, seed=0, rank=None):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(rank or width, width, generator=generator)
    return torch.randn(patients, rank or width, generator=generator) @ mix


def test_the_covariance_is_scikit_learns_ledoit_wolf():
    data = cohort(50, 8)
    ours, shrinkage = shrunk_covariance(data)
    theirs, expected = ledoit_wolf(data.double().numpy())
    assert shrinkage == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("width", [1, 3, 8])
def test_the_moved_embeddings_have_the_latents_moments(width):
    source, target = 3 * cohort(4000, width), cohort(4000, width, seed=1) + 2
    moved = WhiteningColoring.fit(source=source, target=target)(source)
    torch.testing.assert_close(moved.mean(0), target.mean(0), atol=1e-3, rtol=1e-3)
    wanted = target.T.cov().reshape(width, width)
    error = (moved.T.cov().reshape(width, width) - wanted).norm() / wanted.norm()
    assert error < 0.1


def test_fewer_patients_than_dimensions_do_not_amplify_noise():
    """Trap 8; the control whitens by the bare sample covariance."""
    source = cohort(40, 64, rank=3) + 0.01 * cohort(40, 64, seed=2)
    target = cohort(40, 64, seed=1)
    noise = 0.01 * torch.randn(200, 64, generator=torch.Generator().manual_seed(5))
    moved = WhiteningColoring.fit(source=source, target=target)
    amplified = (moved(source[:1] + noise) - moved(source[:1])).norm() / noise.norm()
    values, vectors = torch.linalg.eigh(source.double().T.cov())
    naive = (vectors * values.clamp_min(1e-10) ** -0.5) @ vectors.T
    control = (noise.double() @ naive).norm() / noise.norm()
    assert amplified < 30
    assert control > 10 * amplified


def test_blend_0_changes_nothing_and_blend_1_is_the_papers_map():
    source, target = cohort(60, 4), cohort(60, 4, seed=1)
    torch.testing.assert_close(
        WhiteningColoring.fit(source=source, target=target, blend=0.0)(source), source
    )
    half = WhiteningColoring.fit(source=source, target=target, blend=0.5)(source)
    full = WhiteningColoring.fit(source=source, target=target)(source)
    torch.testing.assert_close(half, (source + full) / 2)


def test_a_cohort_that_is_too_small_or_does_not_vary_is_refused():
    with pytest.raises(DegenerateCohortError, match=r"graph side .* from 7 embeddings"):
        WhiteningColoring.fit(source=cohort(7, 4), target=cohort(99, 4))
    with pytest.raises(DegenerateCohortError, match="MRI side"):
        WhiteningColoring.fit(source=cohort(99, 4), target=torch.ones(99, 4))


def test_the_two_sides_must_share_a_width():
    with pytest.raises(Exception, match="width"):
        WhiteningColoring.fit(source=cohort(99, 4), target=cohort(99, 5))


def test_the_effective_rank_counts_directions():
    assert effective_rank(cohort(500, 16, rank=1)) == pytest.approx(1.0, abs=1e-6)
    isotropic = torch.randn(5000, 16, generator=torch.Generator().manual_seed(0))
    assert effective_rank(isotropic) > 15
