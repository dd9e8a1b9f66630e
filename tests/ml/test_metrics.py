import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from ml.evaluation.metrics import (
    OneClassError,
    auc,
    auc_difference,
    balanced_accuracy,
    brier,
    calibration,
    proportion,
    scorecard,
)


def people(n=400, effect=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return rng.normal(labels * effect), labels, rng


def test_the_auc_is_scikit_learns_also_with_ties():
    scores, labels, _ = people()
    for each in (scores, scores.round()):
        assert auc(each, labels).value == pytest.approx(roc_auc_score(labels, each), abs=1e-12)


def test_delongs_variance_on_a_case_computed_by_hand():
    # cases 3, 1; controls 2, 0: placements of cases 1, .5 and of controls .5, 1
    estimate = auc(np.array([3.0, 1.0, 2.0, 0.0]), np.array([1, 1, 0, 0]))
    assert estimate.value == 0.75
    error = np.sqrt(0.125 / 2 + 0.125 / 2)
    assert estimate.low == pytest.approx(0.75 - 1.959964 * error, abs=1e-6)


def test_the_auc_interval_covers_the_truth_in_95_of_100_samples():
    truth = 0.7602499  # of two unit normals one apart
    covered = [
        estimate.low <= truth <= estimate.high
        for estimate in (auc(*people(150, seed=seed)[:2]) for seed in range(1000))
    ]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_a_paired_difference_is_narrower_than_two_separate_intervals():
    scores, labels, rng = people()
    near = scores + rng.normal(0, 0.1, len(scores))
    difference = auc_difference(scores, near, labels)
    single = auc(scores, labels)
    assert difference.high - difference.low < 0.3 * (single.high - single.low)
    assert auc_difference(scores, scores, labels).high == 0.0


def test_balanced_accuracy_and_brier_are_scikit_learns():
    scores, labels, _ = people()
    probability = 1 / (1 + np.exp(-scores))
    assert balanced_accuracy(probability, labels, 0.5).value == pytest.approx(
        balanced_accuracy_score(labels, probability >= 0.5)
    )
    assert brier(probability, labels).value == pytest.approx(brier_score_loss(labels, probability))


def test_true_probabilities_have_slope_1_and_intercept_0_and_doubled_logits_half_the_slope():
    rng = np.random.default_rng(1)
    logit = rng.normal(0, 1.5, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-logit))).astype(int)
    slope, intercept = calibration(1 / (1 + np.exp(-logit)), labels)
    assert slope.low <= 1.0 <= slope.high
    assert intercept.low <= 0.0 <= intercept.high
    assert calibration(1 / (1 + np.exp(-2 * logit)), labels)[0].value == pytest.approx(
        0.5, abs=0.02
    )


def test_wilsons_interval_stays_inside_0_to_1():
    assert proportion(0, 10).low == 0.0
    assert 0.2 < proportion(0, 10).high < 0.35
    assert proportion(10, 10).high == 1.0


def test_one_class_alone_cannot_be_evaluated():
    with pytest.raises(OneClassError, match="of these 3, 0 have AD"):
        auc(np.array([0.1, 0.2, 0.3]), np.array([0, 0, 0]))


def test_the_scorecard_holds_every_figure_with_its_interval():
    scores, labels, _ = people()
    figures = scorecard(1 / (1 + np.exp(-scores)), labels, 0.5)
    assert len(figures) == 7
    for figure in figures.values():
        assert figure["low"] <= figure["value"] <= figure["high"]
