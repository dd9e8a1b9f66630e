"""The draw: balanced, stratified, repeatable, one person in one arm."""

from collections import Counter
from dataclasses import replace
from random import Random
from uuid import UUID

import pytest

from apps.review.drawing import Candidate, DrawError, draw
from apps.review.protocol import Arm, Protocol

PLAN = Protocol(cases_per_arm=20, practice_cases=2)


def person(number, *arms, is_ad=None, age=70.0, is_female=True, spacing_mm=2.0):
    patient = UUID(int=number)
    return [
        Candidate(
            arm=arm,
            patient=patient,
            source=UUID(int=number + 10_000 * place),
            sha256=f"{number:064x}",
            spacing_mm=spacing_mm,
            is_ad=is_ad,
            age_years=age,
            is_female=is_female,
        )
        for place, arm in enumerate(arms)
    ]


def people(count, *arms, first=0, seed=1):
    """People of mixed diagnosis, age and sex."""
    rng = Random(seed)  # noqa: S311 - repeatable on purpose
    return [
        volume
        for n in range(first, first + count)
        for volume in person(
            n,
            *arms,
            is_ad=rng.random() < 0.4,
            age=rng.uniform(55, 92),
            is_female=rng.random() < 0.6,
        )
    ]


MANY = people(60, Arm.REAL) + people(60, Arm.PSEUDO_MRI, first=100, seed=2)


def of_arm(drawn, arm):
    return [d.candidate for d in drawn if d.candidate.arm == arm and not d.is_practice]


def test_arms_are_of_one_size_and_half_ad():
    drawn = draw(MANY, PLAN)

    for arm in PLAN.arms:
        assert Counter(c.is_ad for c in of_arm(drawn, arm)) == {True: 10, False: 10}
    assert sum(d.is_practice for d in drawn) == 2


def test_arms_are_alike_in_age_and_sex():
    """Nearer than two draws without strata are, by decade and sex."""
    drawn = draw(MANY, PLAN)
    real, pseudo = (Counter(c.stratum for c in of_arm(drawn, arm)) for arm in PLAN.arms)
    apart = sum(abs(real[s] - pseudo[s]) for s in {*real, *pseudo})
    rng = Random(3)  # noqa: S311 - as above
    unstratified = []
    for _ in range(200):
        a, b = (
            Counter(c.stratum for c in rng.sample([c for c in MANY if c.arm == arm], 20))
            for arm in PLAN.arms
        )
        unstratified.append(sum(abs(a[s] - b[s]) for s in {*a, *b}))

    assert apart < sorted(unstratified)[2]


def test_a_seed_gives_the_same_draw_whatever_order_the_rows_come_in():
    shuffled = MANY.copy()
    Random(5).shuffle(shuffled)  # noqa: S311 - as above

    assert draw(shuffled, PLAN) == draw(MANY, PLAN)
    assert draw(MANY, replace(PLAN, seed=2)) != draw(MANY, PLAN)


def test_case_numbers_say_nothing_of_the_arm():
    drawn = draw(MANY, PLAN)
    real = [d.number for d in drawn if d.candidate.arm == Arm.REAL]

    assert sorted(d.number for d in drawn) == list(range(1, 43))
    assert 15 < sum(real) / len(real) < 28


def test_nobody_is_in_two_arms_or_in_practice_too():
    both = people(50, Arm.REAL, Arm.PSEUDO_MRI)

    drawn = draw(both, PLAN)

    assert max(Counter(d.candidate.patient for d in drawn).values()) == 1


def test_people_with_one_volume_are_taken_first():
    """With 20 people who have both and 21 who have a scan alone, there are enough for two arms."""
    few = people(22, Arm.REAL, Arm.PSEUDO_MRI) + people(22, Arm.REAL, first=100)

    assert len(draw(few, PLAN)) == 42


def test_the_same_people_can_be_asked_for():
    both = people(30, Arm.REAL, Arm.PSEUDO_MRI)

    drawn = draw(both, replace(PLAN, same_people=True))

    assert {c.patient for c in of_arm(drawn, Arm.REAL)} == {
        c.patient for c in of_arm(drawn, Arm.PSEUDO_MRI)
    }


def test_unknown_diagnoses_fill_what_is_left_open():
    some = [v for n in range(30) for v in person(n, Arm.REAL, is_ad=True if n < 6 else None)]
    some += [v for n in range(100, 130) for v in person(n, Arm.PSEUDO_MRI)]

    drawn = draw(some, PLAN)

    assert Counter(c.is_ad for c in of_arm(drawn, Arm.REAL)) == {True: 6, None: 14}


@pytest.mark.parametrize(
    ("candidates", "plan", "words"),
    [
        (people(60, Arm.REAL), PLAN, "pseudo-MRIs needs 20 cases; 0 people"),
        (
            [*MANY[:60], *[replace(c, spacing_mm=4.0) for c in MANY[60:]]],
            PLAN,
            "60 more are on a grid coarser than 2 mm",
        ),
        (people(20, Arm.REAL, Arm.PSEUDO_MRI), PLAN, "not enough different people"),
        (MANY, replace(PLAN, same_people=True), "0 people have a volume for every arm"),
        (
            people(20, Arm.REAL) + people(20, Arm.PSEUDO_MRI, first=50),
            PLAN,
            "0 of 2 practice cases",
        ),
    ],
)
def test_too_few_is_told_with_what_how_many_and_the_way_out(candidates, plan, words):
    with pytest.raises(DrawError) as refused:
        draw(candidates, plan)

    assert words in str(refused.value)
    assert "fewer" in str(refused.value)
