"""Repeated cross-validation: persons are neither split nor counted twice."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml.evaluation.metrics import OneClassError, auc
from ml.evaluation.repeated import PersonBootstrap, deal


def cohort(people=120, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, people)
    return labels, [str(number) for number in range(people)], rng


def test_folds_keep_persons_together_and_share_the_labels_out():
    labels, persons, _ = cohort()
    twice = deal([*persons, *persons], [*labels, *labels], folds=5, seed=1)
    assert (twice[:120] == twice[120:]).all()
    shares = [labels[twice[:120] == fold].mean() for fold in range(5)]
    assert max(shares) - min(shares) < 0.05
    assert np.bincount(twice[:120]).tolist() == [24] * 5


def test_the_figure_is_the_mean_over_the_repeats():
    labels, persons, rng = cohort()
    scores = labels + rng.normal(size=(3, 120))
    found = PersonBootstrap(labels, persons).auc(scores)
    assert found.value == pytest.approx(np.mean([roc_auc_score(labels, each) for each in scores]))
    assert found.n == 120


def test_the_interval_of_one_repeat_is_that_of_delong():
    labels, persons, rng = cohort(200)
    scores = labels + rng.normal(size=200)
    ours, theirs = PersonBootstrap(labels, persons).auc(scores[None]), auc(scores, labels)
    assert ours.low == pytest.approx(theirs.low, abs=0.015)
    assert ours.high == pytest.approx(theirs.high, abs=0.015)


def test_repeats_and_second_scans_are_no_new_people():
    """The control gives every scan a person of its own and believes itself much surer."""
    labels, persons, rng = cohort(60)
    scores = labels + rng.normal(size=(1, 60))

    def width(labels, persons, scores):
        found = PersonBootstrap(labels, persons).auc(scores)
        return found.high - found.low

    alone = width(labels, persons, scores)
    again = np.concatenate([labels] * 4)
    assert width(labels, persons, np.repeat(scores, 4, axis=0)) == pytest.approx(alone)
    assert width(again, persons * 4, np.tile(scores, 4)) == pytest.approx(alone, rel=0.05)
    control = [f"{person} {scan}" for scan in range(4) for person in persons]
    assert width(again, control, np.tile(scores, 4)) < 0.7 * alone


def test_noise_is_not_told_from_chance_and_a_model_not_from_itself():
    labels, persons, rng = cohort()
    draw = PersonBootstrap(labels, persons)
    noise, signal = rng.normal(size=(2, 3, 120))
    signal = signal + 2 * labels
    assert draw.auc(noise).low < 0.5 < draw.auc(noise).high
    itself = draw.difference(noise, noise)
    assert (itself.value, itself.low, itself.high) == (0, 0, 0)
    assert draw.difference(signal, noise).low > 0


def test_one_class_alone_has_no_auc():
    with pytest.raises(OneClassError, match="people with the label 0"):
        PersonBootstrap(np.ones(5, dtype=int), list("abcde"))
