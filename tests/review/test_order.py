"""Orders: permuted blocks, short runs, hidden repeats far from the first time."""

from collections import Counter

import pytest

from apps.review.order import OrderError, longest_run, order_of

ARMS = {n: "real" if n <= 25 else "pseudo_mri" for n in range(1, 51)}
PRACTICE = {51: "real", 52: "pseudo_mri"}
SEEDS = range(40)


def order(seed=1, reader=1, arms=ARMS, repeats=8):
    return order_of(arms, practice=PRACTICE, repeats=repeats, seed=seed, reader=reader)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_order_keeps_all_rules(seed):
    found = order(seed)
    cases = [each.case for each in found.presentations]
    repeats = [
        (at, each) for at, each in enumerate(found.presentations) if each.repeats is not None
    ]

    assert set(cases[:2]) == set(PRACTICE)
    assert Counter(cases) == Counter([*ARMS, *PRACTICE, *(each.case for _, each in repeats)])
    assert longest_run([{**ARMS, **PRACTICE}[case] for case in cases]) <= 4
    assert Counter(ARMS[each.case] for _, each in repeats) == {"real": 4, "pseudo_mri": 4}
    assert all(cases[each.repeats] == each.case for _, each in repeats)
    assert min(at - each.repeats - 1 for at, each in repeats) >= found.gap == 20


def test_the_arms_stay_level_on_the_way():
    """After any number of first presentations the arms differ by at most two cases."""
    for seed in SEEDS:
        balance = 0
        for each in order(seed, repeats=0).presentations[2:]:
            balance += 1 if ARMS[each.case] == "real" else -1
            assert abs(balance) <= 2


def test_a_seed_gives_the_same_order_and_each_reader_another():
    assert order(3) == order(3)
    assert len({order(3, reader).presentations for reader in range(20)}) == 20


def test_no_place_tells_the_arm():
    """Over many readers each place is real half of the time, so position predicts nothing."""
    readers = 400
    real = Counter()
    for reader in range(readers):
        for at, each in enumerate(order(1, reader, repeats=0).presentations[2:]):
            real[at] += ARMS[each.case] == "real"

    # 50 places; the normal quantile of a chance of 1 in 1,000 that any of them is further off
    assert max(abs(n / readers - 0.5) for n in real.values()) < 4.3 * 0.5 / readers**0.5


def test_a_short_study_takes_the_widest_gap_it_finds_and_says_so():
    few = {n: "real" if n % 2 else "pseudo_mri" for n in range(1, 9)}

    found = order(arms=few, repeats=2)

    assert 0 < found.gap < 8
    assert all(
        at - each.repeats - 1 >= found.gap
        for at, each in enumerate(found.presentations)
        if each.repeats is not None
    )


def test_arms_of_different_sizes_are_refused():
    with pytest.raises(OrderError, match="26 pseudo_mri, 25 real"):
        order(arms={**ARMS, 60: "pseudo_mri"})
