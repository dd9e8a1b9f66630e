"""Real or synthetic? Exact tests, d' and its interval, one reader and all."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from apps.review.statistics.bootstrap import resample
from apps.review.statistics.detection import d_prime, detect, exact_test
from apps.review.statistics.ratings import Table
from tests.review.statistics.study import PSEUDO, REAL, invented


@cache
def draws(readers, arms):
    return resample(readers, np.array(arms), replicates=300, seed=0)


def detection(table):
    again = draws(len(table.readers), tuple(table.arms.tolist()))
    return detect(table, REAL, PSEUDO, resampling=again)


def test_one_sample_questions_get_the_exact_one_sample_test():
    assert exact_test(779, 1500).p == pytest.approx(0.141, abs=5e-4)
    assert exact_test(50, 100).p == 1
    assert exact_test(8, 8).p == pytest.approx(2 / 2**8)


def test_d_prime_of_the_papers_table():
    # called real: 27 of 50 real scans and 21 of 50 pseudo-MRIs
    read = d_prime(hits=29, signals=50, false_alarms=23, noises=50)
    assert [round(x, 2) for x in (read.value, read.low, read.high)] == [0.30, -0.19, 0.80]


def test_d_prime_is_0_for_equal_rates_turns_its_sign_and_has_a_value_at_the_edge():
    assert d_prime(30, 50, 15, 25).value == pytest.approx(0)
    assert d_prime(40, 50, 10, 50).value == pytest.approx(-d_prime(10, 50, 40, 50).value)
    edge = d_prime(20, 20, 0, 20)
    assert edge.value == pytest.approx(2 * norm.ppf(20.5 / 21))
    assert "half an answer" in edge.note
    nothing = d_prime(0, 0, 3, 10)
    assert nothing.value is None
    assert nothing.note


def test_the_interval_of_d_prime_covers_the_truth_in_93_to_97_of_100_readers():
    rng = np.random.default_rng(0)
    hits = rng.binomial(60, norm.cdf(0.5), 1000)
    alarms = rng.binomial(60, norm.cdf(-0.5), 1000)
    reads = [d_prime(int(h), 60, int(a), 60) for h, a in zip(hits, alarms, strict=True)]
    assert 0.93 <= np.mean([read.low <= 1 <= read.high for read in reads]) <= 0.97


def test_the_exact_interval_covers_at_least_95_of_100_and_holds_the_level():
    rng = np.random.default_rng(0)
    of = {k: exact_test(k, 100) for k in range(101)}
    tests = [of[int(k)] for k in rng.binomial(100, 0.5, 1000)]
    assert np.mean([t.share.low <= 0.5 <= t.share.high for t in tests]) >= 0.945
    assert np.mean([t.p < 0.05 for t in tests]) <= 0.055


def test_readers_who_cannot_tell_are_found_to_be_able_in_5_of_100_studies():
    found, covered = [], []
    for seed in range(120):
        table = guesses(np.random.default_rng(seed), skill=0.8)
        read = detection(table)
        covered.append(read.d_prime.low <= 0.8 <= read.d_prime.high)
        table = guesses(np.random.default_rng(seed), skill=0.0)
        found.append(detection(table).p < 0.05)
    assert 0.88 <= np.mean(covered) <= 0.99
    assert 0.0 < np.mean(found) <= 0.085


def guesses(rng, skill, readers=5, cases_per_arm=30):
    """Guesses of readers who lean differently to "synthetic"."""
    lean = rng.normal(0, 0.15, (1, readers))
    hunch = rng.normal(size=(2 * cases_per_arm, readers)) + lean
    hunch[:cases_per_arm] -= skill / 2
    hunch[cases_per_arm:] += skill / 2
    return Table(
        values=(hunch > 0).astype(float),
        cases=np.array([f"C{c:03}" for c in range(2 * cases_per_arm)]),
        readers=np.array([f"R{r}" for r in range(readers)]),
        arms=np.repeat([REAL, PSEUDO], cases_per_arm),
    )


def test_a_skilled_reader_stands_out_and_a_lean_to_real_shows_in_the_criterion():
    table = guesses(np.random.default_rng(3), skill=0.0)
    table.values[:, 2] = table.arms == PSEUDO
    table.values[:, 4] = 0.0
    read = detection(table)
    assert [reader.reader for reader in read.readers] == ["R0", "R1", "R2", "R3", "R4"]
    assert read.readers[2].accuracy.p < 1e-6
    assert read.readers[2].d_prime.low > 1.5
    assert read.readers[4].d_prime.value == pytest.approx(0)
    assert read.readers[4].criterion > 2
    assert read.readers[4].accuracy.share.value == 0.5
    assert read.pooled.share.value == pytest.approx(read.accuracy.value)


def test_arms_of_different_size_are_not_told_from_one_half_by_count():
    table = invented(seed=0).table("guess")
    assert "read d'" not in detection(table).accuracy.note
    uneven = Table(
        values=np.zeros_like(table.values[5:]),
        cases=table.cases[5:],
        readers=table.readers,
        arms=table.arms[5:],
    )
    read = detection(uneven)
    assert read.accuracy.value == 0.5  # who always says "real" cannot tell
    assert read.pooled.share.value < 0.45
    assert "read d'" in read.accuracy.note
    assert read.p is None


def test_an_arm_without_answers_is_undefined():
    table = invented(seed=0).table("guess")
    table.values[table.arms == PSEUDO] = np.nan
    read = detection(table)
    assert read.d_prime.value is None
    assert read.accuracy.note
    assert read.p is None
