"""Two arms: the paper's table, coverage over readers and cases, equivalence, and small studies."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import ttest_ind

from apps.review.statistics.bootstrap import resample, spread
from apps.review.statistics.differences import (
    YES_NO,
    Scale,
    compare_arms,
    compare_shares,
    difference_of_means,
    equivalence_of,
    weighted_mean,
)
from apps.review.statistics.ratings import Table
from apps.review.statistics.reading_time import compare_times, trend_by_position, weighted_median
from tests.review.statistics.study import PSEUDO, REAL, drawn, invented

ANY = Scale(least=-100, most=100)


def compare(table, *, scale=ANY, margin=None, replicates=300, seed=0, **more):
    drawn_again = resample(len(table.readers), table.arms, replicates=replicates, seed=seed)
    return compare_arms(
        table, REAL, PSEUDO, scale=scale, resampling=drawn_again, margin=margin, **more
    )


def yes_no(table):
    return Table(
        values=(table.values > 0).astype(float),
        cases=table.cases,
        readers=table.readers,
        arms=table.arms,
    )


def test_the_papers_realism_of_50_ratings_an_arm():
    read = compare_shares((27, 50), (21, 50), margin=0.10)
    assert (read.reference.value, read.compared.value) == (0.54, 0.42)
    assert round(read.difference.value, 2) == 0.12
    assert (round(read.difference.low, 2), round(read.difference.high, 2)) == (-0.07, 0.30)
    assert round(read.equivalence.p, 2) == 0.56
    assert read.equivalence.shown is False
    assert "429" in read.equivalence.note


def test_one_rating_a_case_by_one_reader_gives_the_t_test():
    rng = np.random.default_rng(0)
    table = drawn(rng, readers=1, cases_per_arm=60, of_case=0, of_arm=0, of_reader=0)
    read = compare(table, replicates=20_000)
    assert read.p == pytest.approx(
        ttest_ind(table.values[:60, 0], table.values[60:, 0]).pvalue, rel=0.05
    )


# readers, cases an arm, effects of case, of reader by arm, and of reader
STUDIES = {
    "effects of all kinds": (5, 25, 0.7, 0.3, 0.5),
    "many readers": (10, 50, 0.7, 0.3, 0.5),
    "two readers": (2, 25, 0.6, 0.0, 0.5),
}


@cache
def draws(readers, cases_per_arm):
    """The same draws for all studies of one size: making them costs more than using them."""
    return resample(readers, np.repeat([REAL, PSEUDO], cases_per_arm), replicates=400, seed=0)


def spread_of(table):
    first = table.arms == REAL
    again = draws(len(table.readers), int(first.sum()))
    return spread(difference_of_means(table.values, first, ~first), again)


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_the_interval_of_the_difference_covers_the_truth_in_93_to_97_of_100_studies(study):
    readers, cases, of_case, of_arm, of_reader = study
    effects = {"of_case": of_case, "of_arm": of_arm, "of_reader": of_reader}
    covered = []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        table = drawn(rng, readers=readers, cases_per_arm=cases, **effects)
        result = spread_of(table)
        covered.append(abs(result.value) <= result.reach())
    assert 0.93 <= np.mean(covered) <= 0.97


def test_neither_ratings_taken_as_independent_nor_the_plain_pigeonhole_bootstrap_would_cover():
    ignored, thrice = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        table = drawn(rng, readers=5, cases_per_arm=25, of_case=0.7, of_arm=0.3, of_reader=0.5)
        pair = table.values[:25].ravel(), table.values[25:].ravel()
        ignored.append(ttest_ind(*pair).pvalue > 0.05)
        table = drawn(rng, readers=20, cases_per_arm=25, of_case=0, of_arm=0, of_reader=0)
        again = draws(20, 25)
        first = table.arms == REAL
        replicates = difference_of_means(table.values, first, ~first)(again.readers, again.cases)
        thrice.append(np.prod(np.quantile(replicates, [0.025, 0.975])) <= 0)
    assert np.mean(ignored) < 0.90
    assert np.mean(thrice) > 0.985


def test_the_share_of_an_arm_covers_the_truth_in_93_to_97_of_100_studies():
    covered = []
    for seed in range(500):  # two arms each
        rng = np.random.default_rng(seed)
        table = drawn(rng, readers=6, cases_per_arm=30, of_case=0.6, of_arm=0.2, of_reader=0.3)
        again = draws(6, 30)
        read = compare_arms(yes_no(table), REAL, PSEUDO, scale=YES_NO, resampling=again)
        covered += [share.low <= 0.5 <= share.high for share in (read.reference, read.compared)]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_equivalence_is_shown_by_a_large_study_of_equals_and_by_no_small_one():
    rng = np.random.default_rng(0)
    large = drawn(rng, readers=8, cases_per_arm=80, of_case=0.3, of_arm=0, of_reader=0.4)
    read = compare(large, margin=0.5)
    assert read.equivalence.shown is True
    assert -0.5 < read.equivalence.low < read.difference.value < read.equivalence.high < 0.5
    small = drawn(rng, readers=4, cases_per_arm=5, of_case=0.3, of_arm=0.2, of_reader=0.4)
    read = compare(small, margin=0.1)
    assert read.equivalence.shown is False
    assert "too small for this margin" in read.equivalence.note
    assert "too few" in read.difference.note


def test_two_arms_one_margin_apart_are_called_equivalent_in_5_of_100_studies():
    at_the_margin, alike = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        table = drawn(rng, readers=6, cases_per_arm=40, of_case=0.5, of_arm=0.1, of_reader=0.5)
        tested = equivalence_of(spread_of(table), 240, 0.5, 0.05, sd=1)
        assert tested.shown == (tested.low > -0.5 and tested.high < 0.5)
        alike.append(tested.shown)
        table.values[table.arms == REAL] += 0.5
        at_the_margin.append(equivalence_of(spread_of(table), 240, 0.5, 0.05, sd=1).shown)
    assert 0.02 <= np.mean(at_the_margin) <= 0.085
    assert np.mean(alike) > 0.5


def test_a_difference_that_is_there_is_seen():
    table = invented(seed=1, readers=6, cases_per_arm=40, gap=1.5).table("realism")
    read = compare(table, scale=YES_NO, margin=0.1)
    assert read.difference.low > 0
    assert read.p < 0.001
    assert read.equivalence.shown is False


def test_the_same_seed_gives_the_same_interval_and_progress_moves_on():
    table = invented(seed=2).table("usability")
    shares = []
    scale = Scale(least=1, most=5)
    one = compare(table, scale=scale, replicates=1000, progress=shares.append)
    assert one == compare(table, scale=scale, replicates=1000)
    assert one != compare(table, scale=scale, replicates=1000, seed=1)
    assert shares == sorted(shares)
    assert len(shares) == 12
    assert shares[-1] == pytest.approx(1)


def test_swapping_the_arms_turns_the_sign():
    table = invented(seed=2).table("usability")
    again = resample(4, table.arms, replicates=300, seed=0)
    one = compare_arms(table, REAL, PSEUDO, scale=ANY, resampling=again)
    two = compare_arms(table, PSEUDO, REAL, scale=ANY, resampling=again)
    assert one.difference.value == pytest.approx(-two.difference.value)
    assert one.difference.low == pytest.approx(-two.difference.high)


def test_few_readers_are_told_that_the_interval_is_not_about_other_readers():
    few = compare(invented(seed=0, readers=2).table("realism"), scale=YES_NO)
    assert "not about other readers" in few.difference.note
    assert few.difference.method.endswith("bootstrap over cases")
    many = compare(invented(seed=0, readers=4).table("realism"), scale=YES_NO)
    assert "other readers" not in many.difference.note
    assert many.difference.method.endswith("bootstrap over readers and cases")


def test_answers_that_are_all_the_same_keep_an_interval_for_shares_and_none_for_means():
    certain = invented(seed=0, certain=True)
    shares = compare(certain.table("realism"), scale=YES_NO, margin=0.1)
    assert shares.reference.value == 1
    assert 0.6 < shares.reference.low < 1
    assert shares.difference.value == 0
    assert shares.difference.low < -0.1 < 0.1 < shares.difference.high
    assert shares.p is None
    assert shares.equivalence.shown is None
    assert "the same" in shares.equivalence.note
    means = compare(certain.table("usability"), scale=Scale(least=1, most=5), margin=0.5)
    assert means.reference.value == 4
    assert means.reference.low is None
    assert means.difference.low is None
    assert "the same" in means.difference.note


def test_one_case_an_arm_and_an_empty_arm_are_undefined_with_a_reason():
    table = invented(seed=0).table("realism")
    pick = [0, len(table.cases) - 1]
    two = Table(
        values=table.values[pick],
        cases=table.cases[pick],
        readers=table.readers,
        arms=table.arms[pick],
    )
    read = compare(two, scale=YES_NO, margin=0.1)
    assert read.difference.low is None
    assert "One case an arm" in read.difference.note
    assert read.equivalence.shown is None
    table.values[table.arms == PSEUDO] = np.nan
    read = compare(table, scale=YES_NO, margin=0.1)
    assert read.compared.value is None
    assert "no ratings in arm 'pseudo-MRI'" in read.difference.note
    assert read.equivalence.p is None


def test_missing_answers_leave_the_mean_of_the_others():
    table = invented(seed=4).table("usability")
    table.values[3, 1] = table.values[20, 2] = np.nan
    read = compare(table, scale=Scale(least=1, most=5))
    assert read.reference.value == pytest.approx(np.nanmean(table.values[table.arms == REAL]))
    assert read.difference.n == 4 * 30 - 2


def test_weights_of_1_give_numpys_mean_and_median():
    values = np.random.default_rng(0).normal(size=(9, 4))
    values[2, 2] = np.nan
    ones = np.ones((1, 4)), np.ones((1, 9))
    assert weighted_mean(values)(*ones) == pytest.approx(np.nanmean(values))
    assert weighted_median(values)(*ones) == pytest.approx(np.nanmedian(values))
    drawn_again = resample(4, np.repeat("a", 9), replicates=5, seed=0)
    medians = weighted_median(values)(drawn_again.readers, drawn_again.cases)
    for reader, case, median in zip(drawn_again.readers, drawn_again.cases, medians, strict=True):
        copies = np.repeat(np.repeat(values, case.astype(int), 0), reader.astype(int), 1)
        assert median == pytest.approx(np.nanmedian(copies))


def test_the_median_time_of_a_slow_arm_is_longer_and_equal_arms_cover():
    covered = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        times = drawn(rng, readers=5, cases_per_arm=15, of_case=0.3, of_arm=0, of_reader=0.3)
        times.values[:] = np.exp(4 + 0.4 * times.values)
        again = draws(5, 15)
        read = compare_times(times, REAL, PSEUDO, resampling=again)
        covered.append(read.difference.low <= 0 <= read.difference.high)
    assert 0.9 <= np.mean(covered) <= 0.99
    times.values[times.arms == REAL] += 40
    read = compare_times(times, REAL, PSEUDO, resampling=again)
    assert read.difference.low > 0
    assert read.reference.value - read.compared.value == pytest.approx(read.difference.value)


def test_readers_who_slow_down_show_it_along_the_order():
    slow = trend_by_position(invented(seed=0, slope=2.0).of("realism"), lambda r: r.seconds)
    assert slow.low < 2 < slow.high
    assert slow.low > 0
    covered = []
    for seed in range(150):
        steady = invented(seed=seed, readers=3, cases_per_arm=8, repeats=0).of("realism")
        trend = trend_by_position(steady, lambda r: r.seconds)
        covered.append(trend.low <= 0 <= trend.high)
    assert 0.91 <= np.mean(covered) <= 0.985
    alone = trend_by_position(invented(seed=0, readers=1).of("realism"), lambda r: r.seconds)
    assert "1 reader" in alone.note
    nothing = trend_by_position(
        invented(seed=0).of("realism"), lambda r: np.full(len(r.answer), np.nan)
    )
    assert nothing.value is None
    assert nothing.note
