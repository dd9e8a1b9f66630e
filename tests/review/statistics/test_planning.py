"""Sample sizes of the protocol, by formula and by simulation, without numpy."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import binomtest

from apps.review.statistics.planning import (
    Design,
    PlanError,
    plan_equivalence,
    power_of_detection,
    power_of_difference,
    power_of_equivalence,
    ratings_for_difference,
    ratings_for_equivalence,
)


def test_the_sample_sizes_of_the_protocol():
    assert ratings_for_equivalence(margin=0.10) == 429
    assert ratings_for_equivalence(margin=0.20) == 108
    assert ratings_for_equivalence(margin=0.5, sd=1) == 69


def test_the_number_is_the_fewest_that_reach_the_power():
    for difference in (0.0, 0.02, 0.05):
        n = ratings_for_equivalence(margin=0.10, difference=difference)
        enough = power_of_equivalence(n, margin=0.10, sd=0.5, difference=difference)
        less = power_of_equivalence(n - 1, margin=0.10, sd=0.5, difference=difference)
        assert less < 0.8 <= enough
    assert ratings_for_difference(difference=0.5, sd=1) == 63  # Cohen 1988: 64 with Student's t


def test_the_power_is_what_a_simulation_finds():
    rng = np.random.default_rng(0)
    n, runs = 69, 20_000
    error = np.sqrt(2 / n)
    difference = rng.normal(0.1, error, runs)
    shown = np.abs(difference) + 1.6448536 * error < 0.5
    power = power_of_equivalence(n, margin=0.5, sd=1, difference=0.1)
    assert shown.mean() == pytest.approx(power, abs=0.01)
    seen = np.abs(difference) > 1.959964 * error
    assert seen.mean() == pytest.approx(power_of_difference(n, difference=0.1, sd=1), abs=0.01)


def test_the_power_of_detection_is_that_of_the_exact_test():
    n, accuracy = 37, 0.7
    rejected = [k for k in range(n + 1) if binomtest(k, n, 0.5).pvalue <= 0.05]
    rng = np.random.default_rng(0)
    simulated = np.isin(rng.binomial(n, accuracy, 100_000), rejected).mean()
    assert power_of_detection(n, accuracy=accuracy) == pytest.approx(simulated, abs=0.006)
    assert power_of_detection(n, accuracy=0.5) <= 0.05
    assert power_of_detection(n, accuracy=1.0) == 1


def test_the_design_effect_is_the_variance_of_a_simulated_study():
    design = Design(
        readers=6,
        cases_per_arm=20,
        case_share=0.25,
        reader_by_arm_share=0.05,
        reader_share=0.2,
    )
    rng = np.random.default_rng(1)
    runs, r, c = 20_000, 6, 20

    def arm(reader):
        case = rng.normal(0, 0.25**0.5, (runs, c)).mean(1)
        by_arm = rng.normal(0, 0.05**0.5, (runs, r)).mean(1)
        rest = rng.normal(0, (0.5 / (r * c)) ** 0.5, runs)
        return case + by_arm + rest + reader

    reader = rng.normal(0, 0.2**0.5, (runs, r)).mean(1)
    variance = np.var(arm(reader) - arm(reader))
    assert variance / (2 / design.ratings) == pytest.approx(design.effect, rel=0.04)
    assert design.effective_ratings == pytest.approx(120 / design.effect)


def test_a_design_that_is_too_small_is_told_what_it_needs():
    small = plan_equivalence(Design(readers=2, cases_per_arm=25), margin=0.10)
    assert (small.needed, small.cases_needed, small.power) == (429, 215, 0)
    assert "429 are needed: 215 cases an arm for 2 readers" in small.advice
    assert small.smallest_margin == pytest.approx(0.2926, abs=1e-3)
    enough = plan_equivalence(Design(readers=2, cases_per_arm=215), margin=0.10)
    assert enough.advice == ""
    assert enough.power >= 0.8


def test_the_cases_it_asks_for_are_the_fewest_that_do():
    for shares in ((0.3, 0.0, 0.1), (0.2, 0.01, 0.0), (0.0, 0.005, 0.4)):
        names = ("case_share", "reader_by_arm_share", "reader_share")
        of = dict(zip(names, shares, strict=True))
        cases = plan_equivalence(Design(readers=10, cases_per_arm=5, **of), margin=0.1).cases_needed
        assert Design(readers=10, cases_per_arm=cases, **of).effective_ratings >= 429 - 1e-6
        assert Design(readers=10, cases_per_arm=cases - 1, **of).effective_ratings < 429


def test_no_number_of_cases_makes_up_for_readers_who_see_the_arms_differently():
    plan = plan_equivalence(
        Design(readers=3, cases_per_arm=50, reader_by_arm_share=0.1), margin=0.10
    )
    assert plan.cases_needed is None
    assert "Invite more readers" in plan.advice


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ratings_for_equivalence(margin=0), "not within the margin of 0"),
        (lambda: ratings_for_equivalence(margin=0.1, difference=0.1), "not within the margin"),
        (lambda: ratings_for_equivalence(margin=0.1, sd=0), "above 0"),
        (lambda: ratings_for_equivalence(margin=1e-6), "Widen the margin"),
        (lambda: ratings_for_difference(difference=0.1, power=1.0), "between 0 and 1"),
        (lambda: Design(readers=2, cases_per_arm=9, case_share=1.2), "at most 1"),
        (lambda: Design(readers=0, cases_per_arm=9), "0 readers"),
    ],
)
def test_a_plan_that_cannot_be_computed_says_why(call, says):
    with pytest.raises(PlanError, match=says):
        call()


def test_a_web_process_can_plan_without_numpy():
    code = (
        "import sys, apps.review.apps, apps.review.statistics.planning;"
        "print([m for m in ('numpy', 'scipy', 'statsmodels', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]"
