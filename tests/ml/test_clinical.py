import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ml.evaluation import clinical
from ml.evaluation.metrics import proportion


@pytest.fixture
def scored():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 300)
    return np.round(rng.normal(labels, 1.2), 1), labels.astype(np.int64)  # rounded: with ties


def test_bootstrapped_figures_are_scikit_learns_on_each_drawn_sample(scored):
    scores, labels = scored
    weights = clinical.resampled(labels, seed=3, replicates=5)
    for figure, reference in (
        (clinical._weighted_auc, roc_auc_score),
        (clinical._weighted_precision, average_precision_score),
    ):
        expected = [reference(labels, scores, sample_weight=each) for each in weights]
        assert figure(scores, labels, weights) == pytest.approx(expected, abs=1e-9)


def test_a_bootstrap_draws_as_many_of_each_class_as_there_are(scored):
    _, labels = scored
    weights = clinical.resampled(labels, seed=3, replicates=50)
    assert (weights[:, labels == 1].sum(1) == (labels == 1).sum()).all()
    assert (weights[:, labels == 0].sum(1) == (labels == 0).sum()).all()


def test_the_bootstrap_interval_holds_the_value(scored):
    scores, labels = scored
    weights = clinical.resampled(labels, seed=3)
    for figure in (clinical.bootstrap_auc, clinical.average_precision):
        found = figure(scores, labels, weights)
        assert found.low < found.value < found.high


def test_a_perfect_model_is_accused_in_5_of_100_samples_and_an_overconfident_one_always():
    rng = np.random.default_rng(4)
    accused = 0
    for seed in range(100):
        truth = rng.uniform(0.1, 0.9, 400)
        labels = (rng.random(400) < truth).astype(np.int64)
        perfect = clinical.calibration_error(truth, labels, seed=seed)
        accused += perfect.value > perfect.perfect_high
    assert accused <= 12
    extreme = np.where(truth > 0.5, 0.99, 0.01)
    overconfident = clinical.calibration_error(extreme, labels, seed=1)
    assert overconfident.value > overconfident.perfect_high


def test_a_calibration_curve_needs_two_hundred_of_each():
    probability = np.linspace(0.01, 0.99, 500)
    labels = (np.arange(500) % 2).astype(np.int64)
    curve = clinical.calibration_curve(probability, labels)
    assert curve is not None
    assert len(curve) == 10
    assert clinical.calibration_curve(probability[:398], labels[:398]) is None


def test_predictive_values_follow_bayes_and_stay_defined_at_the_ends():
    ppv, npv = clinical.predictive_values(proportion(72, 80), proportion(57, 60), 0.2)
    assert ppv.value == pytest.approx(0.9 * 0.2 / (0.9 * 0.2 + 0.05 * 0.8))
    assert npv.value == pytest.approx(0.95 * 0.8 / (0.95 * 0.8 + 0.1 * 0.2))
    for sure in clinical.predictive_values(proportion(80, 80), proportion(60, 60), 0.2):
        assert 0 < sure.low < sure.value < sure.high < 1


def test_treating_everybody_benefits_by_the_prevalence_less_the_harm():
    labels = np.array([1, 0, 0, 0], dtype=np.int64)
    found = clinical.net_benefit(np.ones(4), labels, [0.2, 0.25])
    assert found == pytest.approx([0.25 - 0.75 * 0.25, 0.0])
