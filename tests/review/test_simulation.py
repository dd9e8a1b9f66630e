"""What simulated readers say follows the numbers that they were given."""

from statistics import NormalDist, mean

import pytest

from apps.review.answers import checked, missing
from apps.review.protocol import Protocol, Question
from apps.review.simulation import SimulatedReader, Skill, Truth

PLAN = Protocol()
GUESS = Protocol(questions=(Question(name="guess", text="Real or synthetic?", kind="guess"),))
LOOKS = 1500


def truth(case, *, is_synthetic=False, is_ad=None, occasion=1):
    return Truth(case=case, is_synthetic=is_synthetic, is_ad=is_ad, occasion=occasion)


def reader(number=1, *, seed=1, **skill):
    return SimulatedReader(seed=seed, number=number, skill=Skill(**skill))


@pytest.mark.parametrize("d_prime", [0.0, 1.2])
def test_the_guesses_have_the_d_prime_that_was_asked_for(d_prime):
    program = reader(d_prime=d_prime)
    hits, false_alarms = (
        mean(
            program.read(GUESS, truth(case + first, is_synthetic=is_synthetic))["guess"]
            for case in range(LOOKS)
        )
        for is_synthetic, first in ((True, 0), (False, LOOKS))
    )

    z = NormalDist().inv_cdf
    assert z(hits) - z(false_alarms) == pytest.approx(d_prime, abs=0.15)  # 3 standard errors


def test_a_shift_moves_the_ratings_of_synthetic_volumes_alone():
    equal, shifted = (reader(shift=shift) for shift in (0.0, -0.8))
    for case in range(50):
        on = truth(case)
        assert equal.read(PLAN, on) == shifted.read(PLAN, on)
    ratings = [
        mean(program.read(PLAN, truth(case, is_synthetic=True))["usability"] for case in range(300))
        for program in (equal, shifted)
    ]
    assert ratings[1] < ratings[0] - 0.5


def test_the_same_seed_says_the_same_and_another_look_need_not():
    on = [truth(case) for case in range(40)]
    said = [reader().read(PLAN, each) for each in on]

    assert said == [reader().read(PLAN, each) for each in reversed(on)][::-1]
    assert said != [reader(seed=2).read(PLAN, each) for each in on]
    assert said != [reader(number=2).read(PLAN, each) for each in on]
    again = [reader().read(PLAN, truth(case, occasion=2)) for case in range(40)]
    agreed = mean(a["realism"] == b["realism"] for a, b in zip(said, again, strict=True))
    assert 0.5 < agreed < 1


def test_every_reading_is_complete_and_takes_its_time():
    program = reader(number=3)
    for case in range(50):
        on = truth(case, is_synthetic=case % 2 == 0, is_ad=[True, False, None][case % 3])
        answers = program.read(PLAN, on)
        assert checked(PLAN, answers) == answers
        assert not missing(PLAN, answers)
        assert program.active_ms(on, at_least_s=30) >= 31_000
