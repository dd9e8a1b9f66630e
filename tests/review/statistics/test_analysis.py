"""A whole study, from ratings to figures that can be stored."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from apps.review.statistics.analysis import Question, analyse
from apps.review.statistics.intraclass import FORMS
from apps.review.statistics.ratings import Ratings, RatingsError
from tests.review.statistics.study import PSEUDO, REAL, invented

STEPS = (1.0, 2.0, 3.0, 4.0, 5.0)
QUESTIONS = (
    Question(name="realism", kind="yes_no", margin=0.10),
    Question(name="usability", kind="scale", categories=STEPS, margin=0.5),
    Question(name="guess", kind="guess"),
)


def of(ratings, **more):
    return analyse(ratings, QUESTIONS, reference=REAL, compared=[PSEUDO], replicates=300, **more)


def estimates(thing):
    """All estimates of a result, as dictionaries."""
    if isinstance(thing, dict):
        if {"value", "low", "high", "n", "of"} <= set(thing):
            yield thing
        else:
            for part in thing.values():
                yield from estimates(part)
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from estimates(part)


def test_every_figure_has_an_interval_or_says_why_not_and_can_be_stored():
    shares = []
    result = of(invented(seed=0, readers=5, cases_per_arm=25), progress=shares.append)
    stored = json.loads(json.dumps(asdict(result), allow_nan=False))
    figures = list(estimates(stored))
    assert len(figures) > 80
    for figure in figures:
        if figure["low"] is None or figure["high"] is None:
            assert figure["note"]
        else:
            assert figure["low"] <= figure["value"] <= figure["high"]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    usability = result.questions["usability"]
    assert set(FORMS) <= set(usability.agreement["all"])
    assert set(usability.agreement) == {"all", REAL, PSEUDO}
    assert usability.repeats["identical"].n == 25
    assert usability.repeats["identical"].of == "pairs"
    assert set(result.detection) == {"guess"}
    assert (result.readers, result.cases) == (5, {REAL: 25, PSEUDO: 25})
    assert result.ratings == 3 * 5 * 50
    assert result.notes == ()


def test_the_order_of_rows_is_irrelevant_and_the_seed_is_not():
    ratings = invented(seed=1)
    order = np.random.default_rng(0).permutation(len(ratings.answer))
    names = ratings.__dataclass_fields__
    shuffled = Ratings(**{name: getattr(ratings, name)[order] for name in names})
    one, two, other = of(ratings), of(shuffled), of(ratings, seed=1)
    for first, second in zip(estimates(asdict(one)), estimates(asdict(two)), strict=True):
        for key in ("value", "low", "high"):
            assert first[key] == pytest.approx(second[key], abs=1e-9)
    assert one.questions["realism"].comparisons != other.questions["realism"].comparisons


@pytest.mark.parametrize(
    "study",
    [
        {"readers": 1},
        {"readers": 2, "cases_per_arm": 1, "repeats": 0},
        {"readers": 2, "cases_per_arm": 2, "repeats": 1},
        {"certain": True},
    ],
    ids=["one reader", "one case an arm", "two cases an arm", "all say the same"],
)
def test_a_study_too_small_for_statistics_says_so_and_invents_nothing(study):
    result = of(invented(seed=0, **study))
    stored = json.loads(json.dumps(asdict(result), allow_nan=False))
    assert all(f["note"] for f in estimates(stored) if f["low"] is None)
    if not study.get("certain"):
        assert result.notes
    agreed = result.questions["realism"].agreement["all"]["fleiss"]
    assert agreed.value is None or -1 <= agreed.value <= 1
    if study in ({"readers": 1}, {"certain": True}):
        assert agreed.value is None


def test_readers_who_repeat_themselves_at_random_agree_with_themselves_by_chance_only():
    ratings = invented(seed=0, readers=8, cases_per_arm=40, repeats=30)
    agreed = of(ratings).questions["guess"].repeats
    assert agreed["cohen"].low < 0 < agreed["cohen"].high
    same = of(with_true_repeats(ratings)).questions["guess"].repeats
    assert same["cohen"].value == 1


def with_true_repeats(ratings):
    columns = {name: getattr(ratings, name).copy() for name in ratings.__dataclass_fields__}
    first = {
        (r, q, p): a
        for r, q, p, a in zip(
            ratings.reader, ratings.question, ratings.position, ratings.answer, strict=True
        )
    }
    for i in np.flatnonzero(ratings.repeat_of != -1):
        key = ratings.reader[i], ratings.question[i], ratings.repeat_of[i]
        columns["answer"][i] = first[key]
    return Ratings(**columns)


def test_a_third_arm_is_compared_too():
    ratings = invented(seed=0, cases_per_arm=20)
    arms = ratings.arm.astype("<U20")
    arms[(ratings.arm == REAL) & (ratings.case >= "C010")] = "through the decoder"
    columns = {name: getattr(ratings, name) for name in ratings.__dataclass_fields__}
    result = analyse(
        Ratings(**columns | {"arm": arms}),
        QUESTIONS,
        reference=REAL,
        compared=[PSEUDO, "through the decoder"],
        replicates=200,
    )
    assert set(result.times) == {PSEUDO, "through the decoder"}
    assert result.cases == {REAL: 10, PSEUDO: 20, "through the decoder": 10}
    assert "10 cases in arm 'real'" in " ".join(result.notes)


def test_a_study_of_times_unknown_has_no_times():
    ratings = invented(seed=0)
    ratings.seconds[:] = np.nan
    result = of(ratings)
    assert result.time_trend is None
    assert result.times[PSEUDO].difference.value is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"questions": ()}, "no question"),
        ({"questions": (Question(name="cues", kind="yes_no"),)}, "Nobody has answered 'cues'"),
        (
            {"questions": (Question(name="usability", kind="yes_no"),)},
            "is no answer to 'usability'",
        ),
        ({"compared": ["pseudo"]}, "no readings in arm 'pseudo'"),
    ],
)
def test_a_protocol_that_does_not_fit_the_ratings_is_refused(change, says):
    protocol = {"questions": QUESTIONS, "reference": REAL, "compared": [PSEUDO]} | change
    with pytest.raises(RatingsError, match=says):
        analyse(invented(seed=0), **protocol)
