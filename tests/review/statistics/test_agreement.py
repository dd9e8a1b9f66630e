"""Measures of agreement against published numbers, and what must hold for any data."""

import numpy as np
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa as fleiss_of_statsmodels
from statsmodels.stats.tests.test_inter_rater import diagnoses

from apps.review.statistics.agreement import (
    agreement,
    cohen_kappa,
    cohen_kappa_of_table,
    count_answers,
    fleiss_kappa,
    gwet_ac,
    krippendorff_alpha,
    mean_cohen_kappa,
    share_identical,
)
from apps.review.statistics.intraclass import FORMS, intraclass_correlations

NONE = np.nan
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
).T
SAS = np.array([[0, 4, 1], [0, 8, 0], [0, 1, 5]])
FIVE = [1, 2, 3, 4, 5]
YES_NO = [0, 1]


def pairs_of(table):
    """Two raters' answers from how often each pair of answers was given."""
    rows = [[k, m] for k, row in enumerate(table) for m, n in enumerate(row) for _ in range(n)]
    return np.array(rows, float)


def raters(seed, cases=40, readers=4, noise=0.7):
    rng = np.random.default_rng(seed)
    feeling = rng.normal(size=(cases, 1)) + rng.normal(0, noise, (cases, readers))
    return np.clip(np.round(3 + feeling), 1, 5)


MEASURES = {
    "share": lambda r: share_identical(r, FIVE),
    "fleiss": lambda r: fleiss_kappa(r, FIVE),
    "fleiss quadratic": lambda r: fleiss_kappa(r, FIVE, "quadratic"),
    "cohen": lambda r: mean_cohen_kappa(r, FIVE),
    "cohen linear": lambda r: mean_cohen_kappa(r, FIVE, "linear"),
    "ac1": lambda r: gwet_ac(r, FIVE),
    "ac2": lambda r: gwet_ac(r, FIVE, "quadratic"),
    "nominal": lambda r: krippendorff_alpha(r, FIVE, "nominal"),
    "ordinal": lambda r: krippendorff_alpha(r, FIVE, "ordinal"),
    "interval": lambda r: krippendorff_alpha(r, FIVE, "interval"),
    "ratio": lambda r: krippendorff_alpha(r, FIVE, "ratio"),
    **{form: lambda r, form=form: intraclass_correlations(r)[form] for form in FORMS},
}


@pytest.mark.parametrize(
    ("form", "value", "low", "high"),
    [
        ("ICC(1,1)", 0.165742, -0.133, 0.723),
        ("ICC(2,1)", 0.289764, 0.019, 0.761),
        ("ICC(3,1)", 0.714841, 0.342, 0.946),
        ("ICC(1,k)", 0.442797, -0.884, 0.912),
        ("ICC(2,k)", 0.620051, 0.071, 0.927),
        ("ICC(3,k)", 0.909316, 0.676, 0.986),
    ],
)
def test_the_six_intraclass_correlations_of_shrout_and_fleiss(form, value, low, high):
    estimate = intraclass_correlations(SHROUT_FLEISS)[form]
    assert estimate.value == pytest.approx(value, abs=5e-7)
    # intervals as R's psych package prints them for these data
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=6e-4)


def test_fleiss_kappa_of_the_diagnoses_of_1971():
    ratings = np.asarray(diagnoses, dtype=float)
    estimate = fleiss_kappa(ratings, FIVE)
    assert estimate.value == pytest.approx(0.4302445, abs=5e-8)
    assert estimate.low < 0.4302445 < estimate.high
    assert estimate.n == 30
    counts = count_answers(ratings, FIVE)
    assert estimate.value == pytest.approx(fleiss_of_statsmodels(counts), abs=1e-12)


@pytest.mark.parametrize(
    ("weighting", "value", "low", "high"),
    [("identity", 0.4842, 0.2137, 0.7547), ("linear", 0.4701, 0.1845, 0.7558)],
)
def test_cohens_kappa_as_sas_prints_it(weighting, value, low, high):
    of_table = cohen_kappa_of_table(SAS, weighting)
    of_ratings = cohen_kappa(pairs_of(SAS), [0, 1, 2], weighting)
    for estimate in (of_table, of_ratings):
        assert estimate.value == pytest.approx(value, abs=5e-5)
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)
    of_pairs = mean_cohen_kappa(pairs_of(SAS), [0, 1, 2], weighting)
    assert of_pairs.value == pytest.approx(of_table.value, abs=1e-12)


def test_gwets_ac1_holds_where_kappa_collapses():
    table = pairs_of([[130, 56], [9, 5]])
    assert gwet_ac(table, YES_NO).value == pytest.approx(0.53258, abs=5e-6)
    assert cohen_kappa(table, YES_NO).value == pytest.approx(0.02197, abs=5e-6)


@pytest.mark.parametrize(
    ("level", "value"),
    [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)],
)
def test_krippendorffs_alpha_of_his_example_with_missing_answers(level, value):
    estimate = krippendorff_alpha(KRIPPENDORFF, FIVE, level)
    assert estimate.value == pytest.approx(value, abs=5e-4)
    assert estimate.n == 11  # the twelfth has one answer


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_the_order_of_raters_and_cases_is_irrelevant(measure):
    ratings = raters(seed=1)
    rng = np.random.default_rng(0)
    shuffled = ratings[rng.permutation(len(ratings))][:, rng.permutation(4)]
    one, two = measure(ratings), measure(shuffled)
    for figure in ("value", "low", "high"):
        assert getattr(one, figure) == pytest.approx(getattr(two, figure), abs=1e-10)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_perfect_agreement_is_1_and_its_missing_interval_is_explained(measure):
    estimate = measure(np.repeat([[1.0], [2], [3], [5], [2], [1]], 3, axis=1))
    assert estimate.value == pytest.approx(1, abs=1e-12)
    assert estimate.low is None
    assert "All agree" in estimate.note


def test_a_constant_shift_of_one_rater_leaves_icc_3_and_lowers_icc_2():
    ratings = raters(seed=2)
    shifted = ratings + np.array([0, 0, 2, 0])
    before, after = intraclass_correlations(ratings), intraclass_correlations(shifted)
    assert after["ICC(3,1)"].value == pytest.approx(before["ICC(3,1)"].value, abs=1e-12)
    assert after["ICC(2,1)"].value < before["ICC(2,1)"].value - 0.05


def test_with_one_category_only_kappa_is_undefined_and_ac1_is_1():
    ratings = np.full((20, 3), 4.0)
    for name in ("fleiss", "cohen", "nominal", "ordinal", "ICC(2,1)"):
        estimate = MEASURES[name](ratings)
        assert estimate.value is None, name
        assert "same" in estimate.note
    assert cohen_kappa(ratings[:, :2], FIVE).value is None
    assert gwet_ac(ratings, FIVE).value == 1


def test_agreement_at_random_is_about_0():
    rng = np.random.default_rng(5)
    ratings = rng.integers(1, 6, (1000, 3)).astype(float)
    for name, measure in MEASURES.items():
        if name != "share":
            near = 0.15 if name.endswith("k)") else 0.06  # the mean of three wanders more
            assert measure(ratings).value == pytest.approx(0, abs=near), name


def test_a_weighted_measure_forgives_a_step_more_than_a_leap():
    near = np.array([[1, 2], [2, 3], [3, 4], [4, 5], [5, 4], [1, 1], [5, 5]], float)
    far = np.array([[1, 5], [2, 5], [3, 1], [4, 1], [5, 1], [1, 1], [5, 5]], float)
    for name in ("fleiss quadratic", "cohen linear", "ac2", "ordinal", "interval"):
        assert MEASURES[name](near).value > MEASURES[name](far).value + 0.3


def test_missing_answers_leave_what_the_others_say():
    ratings = raters(seed=3)
    alone = np.full((5, 4), NONE)
    alone[:, 0] = 3
    with_unread = np.vstack([ratings, np.full((7, 4), NONE)])
    for name, measure in MEASURES.items():
        assert measure(with_unread).value == pytest.approx(measure(ratings).value), name
    assert share_identical(np.vstack([ratings, alone]), FIVE).n == 40
    assert "7 cases" in intraclass_correlations(with_unread)["ICC(2,1)"].note


def test_nothing_to_compare_is_undefined_with_a_reason():
    single = np.array([[1.0, NONE], [NONE, 2.0]])
    for name, measure in MEASURES.items():
        estimate = measure(single)
        assert estimate.value is None, name
        assert estimate.note
    for figures in (agreement(np.empty((0, 2)), FIVE, graded=True, of="pairs").values(),):
        assert all(f.value is None and f.of == "pairs" and f.note for f in figures)


def test_few_cases_are_said_to_be_few():
    assert "few" in fleiss_kappa(raters(seed=0, cases=20), FIVE).note
    assert fleiss_kappa(raters(seed=0, cases=60), FIVE).note == ""


def test_an_answer_off_the_scale_is_refused():
    with pytest.raises(ValueError, match="6 is not on the scale"):
        fleiss_kappa(np.array([[1.0, 6.0]]), FIVE)
    with pytest.raises(ValueError, match="two different"):
        gwet_ac(np.array([[1.0, 1.0]]), [1])


LOGITS = np.linspace(-8, 8, 4001)
DENSITY = np.exp(-(((LOGITS - 1) / 1.5) ** 2) / 2)
SHARES = 1 / (1 + np.exp(-LOGITS))  # of "yes" to a case


def binary(rng, cases):
    """Four readers who say yes with a probability that depends on the case."""
    p = 1 / (1 + np.exp(-rng.normal(1, 1.5, (cases, 1))))
    return (rng.random((cases, 4)) < p).astype(float)


@pytest.mark.parametrize("name", ["fleiss", "gwet", "krippendorff", "cohen"])
def test_intervals_over_cases_cover_the_truth_in_93_to_97_of_100_studies(name):
    measure = {
        "fleiss": lambda r: fleiss_kappa(r, YES_NO),
        "gwet": lambda r: gwet_ac(r, YES_NO),
        "krippendorff": lambda r: krippendorff_alpha(r, YES_NO, "nominal"),
        "cohen": lambda r: cohen_kappa(r[:, :2], YES_NO),
    }[name]
    observed = np.average(SHARES**2 + (1 - SHARES) ** 2, weights=DENSITY)
    yes = np.average(SHARES, weights=DENSITY)
    mixed = 2 * yes * (1 - yes)
    expected = mixed if name == "gwet" else 1 - mixed
    truth = (observed - expected) / (1 - expected)
    covered = []
    for seed in range(1000):
        estimate = measure(binary(np.random.default_rng(seed), 80))
        covered.append(estimate.low <= truth <= estimate.high)
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("form", ["ICC(1,1)", "ICC(2,1)", "ICC(3,k)"])
def test_intraclass_intervals_cover_the_truth_in_93_to_97_of_100_studies(form):
    of_case, of_reader, of_rest = 1.0, 0.0 if form == "ICC(1,1)" else 0.3, 0.8
    single = of_case / (of_case + of_reader + of_rest)
    if form == "ICC(3,k)":
        single = of_case / (of_case + of_rest / 6)
    covered = []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        ratings = (
            rng.normal(0, of_case**0.5, (40, 1))
            + rng.normal(0, of_reader**0.5, (1, 6))
            + rng.normal(0, of_rest**0.5, (40, 6))
        )
        estimate = intraclass_correlations(ratings)[form]
        covered.append(estimate.low <= single <= estimate.high)
    assert 0.93 <= np.mean(covered) <= 0.97
