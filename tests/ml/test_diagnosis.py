import numpy as np
import pytest
import torch

from ml.diagnosis import Calibration, DiagnosisHead, Familiarity
from ml.records import Answer


def people(n, seed=0, effect=1.5):
    """Logits that are twice the true ones, and outcomes."""
    generator = torch.Generator().manual_seed(seed)
    true = effect * torch.randn(n, generator=generator)
    ad = torch.rand(n, generator=generator) < torch.sigmoid(true)
    return 2 * true + 1, ad, torch.sigmoid(true)


def test_overconfident_logits_become_true_probabilities():
    logit, ad, truth = people(20_000)
    calibration = Calibration().fit(logit, ad, coverage=0.9)
    assert float(calibration.slope) == pytest.approx(0.5, abs=0.03)
    torch.testing.assert_close(calibration.probability(logit), truth, atol=0.02, rtol=0)


def test_logits_that_point_the_wrong_way_are_not_turned_round():
    logit, ad, _ = people(500)
    calibration = Calibration().fit(-logit, ad, coverage=0.9)
    assert float(calibration.slope) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_each_classes_sets_hold_it_as_often_as_promised(seed):
    logit, ad, _ = people(400, seed)
    calibration = Calibration().fit(logit, ad, coverage=0.9)
    new, new_ad, _ = people(20_000, seed + 100)
    answers = calibration.answers(calibration.probability(new))
    wrong_ad = np.mean([a is Answer.CN for a, is_ad in zip(answers, new_ad, strict=True) if is_ad])
    wrong_cn = np.mean(
        [a is Answer.AD for a, is_ad in zip(answers, new_ad, strict=True) if not is_ad]
    )
    assert wrong_ad < 0.15
    assert wrong_cn < 0.15
    assert np.mean([a is Answer.UNCERTAIN for a in answers]) < 0.8


def jackknife_world(seed, *, groups=5, n=300, width=6):
    """A linear truth; members are logistic regressions without one group each."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    weight = rng.normal(0, 0.6, width)
    x, new = rng.normal(size=(n, width)), rng.normal(size=(200, width))
    y = rng.random(n) < 1 / (1 + np.exp(-x @ weight))
    fold = np.arange(n) % groups
    oof, members = np.empty(n), []
    for each in range(groups):
        model = LogisticRegression(C=10).fit(x[fold != each], y[fold != each])
        oof[fold == each] = model.decision_function(x[fold == each])
        members.append(model.decision_function(new))
    calibration = Calibration().fit(
        torch.from_numpy(oof).float(), torch.from_numpy(y), coverage=0.9
    )
    logits = torch.from_numpy(np.array(members)).float()
    return calibration, logits, 1 / (1 + np.exp(-new @ weight))


def test_the_interval_covers_the_true_probability_about_as_often_as_it_says():
    covered, alone = [], []
    for seed in range(40):
        calibration, logits, truth = jackknife_world(seed)
        low, high = (bound.numpy() for bound in calibration.interval(logits))
        covered.append(np.mean((low <= truth) & (truth <= high)))
        calibration.covariance.zero_()  # control: members that agree, calibration taken as exact
        low, high = (bound.numpy() for bound in calibration.interval(logits.mean(0).expand(5, -1)))
        alone.append(np.mean((low <= truth) & (truth <= high)))
    assert 0.88 <= np.mean(covered) <= 0.995
    assert np.mean(alone) < 0.1


def test_an_interval_holds_its_probability_and_stays_inside_0_to_1():
    logit, ad, _ = people(300)
    calibration = Calibration().fit(logit, ad, coverage=0.9)
    members = logit + torch.randn(5, 300, generator=torch.Generator().manual_seed(1))
    low, high = calibration.interval(members)
    middle = calibration.probability(members.mean(0))
    assert bool(((low >= 0) & (low <= middle) & (middle <= high) & (high <= 1)).all())


def test_strangers_are_told_from_training_people():
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(3, 16, generator=generator)
    known = torch.randn(300, 3, generator=generator) @ mix
    familiarity = Familiarity(16).fit(known)
    more = torch.randn(300, 3, generator=generator) @ mix
    assert sum(familiarity.unfamiliar(more)) <= 3
    assert all(familiarity.unfamiliar(more + 50))


def test_the_head_gives_one_logit_a_patient():
    head = DiagnosisHead(7)
    assert head(torch.zeros(3, 7)).shape == (3,)
    with pytest.raises(Exception, match=r"width|patients"):
        head(torch.zeros(7))
