import pytest
import torch
from sklearn.metrics import roc_auc_score

from ml.training.people import soft_target
from ml.training.teacher import TooFewLabelsError, fit_teacher


def scans(n=200, width=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(n, width, generator=generator)
    state = (2 * latent[:, 0] + torch.randn(n, generator=generator) > 0).float()
    return latent, state, torch.arange(n) % 4


def test_the_teacher_reads_the_disease_from_scans_it_had_not_seen():
    latent, state, fold = scans()
    teacher = fit_teacher(latent, state, fold)
    assert roc_auc_score(state, teacher.soft) > 0.85
    assert teacher.weight[0] > 2 * teacher.weight[1:].abs().max()


def test_soft_labels_of_permuted_diagnoses_tell_nothing():
    """Trap 10; the control reads the people it was fitted on."""
    latent, state, fold = scans(width=80)
    order = torch.randperm(len(state), generator=torch.Generator().manual_seed(1))
    wrong = state[order]
    teacher = fit_teacher(latent, wrong, fold)
    assert abs(roc_auc_score(wrong, teacher.soft) - 0.5) < 0.12
    in_sample = latent @ teacher.weight + teacher.bias
    assert roc_auc_score(wrong, in_sample) > 0.7


def test_people_without_a_diagnosis_get_a_soft_label_and_train_nobody():
    latent, state, fold = scans()
    known = state.clone()
    known[150:] = float("nan")
    teacher = fit_teacher(latent, known, fold)
    assert roc_auc_score(state[150:], teacher.soft[150:]) > 0.8
    shifted = latent.clone()
    shifted[150:] += 5
    assert torch.equal(fit_teacher(shifted, known, fold).soft[:150], teacher.soft[:150])


def test_wrong_labels_are_outvoted_by_the_scans():
    latent, state, fold = scans(n=400)
    flip = torch.rand(400, generator=torch.Generator().manual_seed(3)) < 0.2
    noisy = torch.where(flip, 1 - state, state)
    teacher = fit_teacher(latent, noisy, fold)
    target = soft_target(noisy, teacher.soft, 0.5)
    assert roc_auc_score(state, target) > roc_auc_score(state, noisy)


def test_too_few_labels_are_counted():
    latent, _, fold = scans(n=8)
    with pytest.raises(TooFewLabelsError, match="a head needs two of each"):
        fit_teacher(latent, torch.zeros(8), fold)


def test_regional_volumes_help_where_labels_are_few():
    """Many directions of z, few labels: the volumes say where to look, without any label."""
    generator = torch.Generator().manual_seed(5)
    latent = torch.randn(400, 100, generator=generator)
    atrophy = latent[:, :4].sum(1)
    state = (atrophy + torch.randn(400, generator=generator) > 0).float()
    volumes = torch.stack([atrophy, torch.randn(400, generator=generator)], dim=1)
    few = state.clone()
    few[60:] = float("nan")
    fold = torch.arange(400) % 4

    def auc(regions_ml):
        soft = fit_teacher(latent, few, fold, regions_ml).soft[60:]
        return roc_auc_score(state[60:], soft)

    assert auc(volumes) > auc(None) + 0.05
