"""What is said of figures: as much as the tests allow, and no more."""

import json
import re
from dataclasses import asdict

import numpy as np
import pytest

from apps.review.describing import median_interval
from apps.review.protocol import Protocol
from apps.review.reporting.sentences import cautions_of, sentences_of
from apps.review.reporting.table3 import tables_of, verdict_of
from apps.review.reporting.words import cell, decimal, percents
from apps.review.statistics.analysis import Question, analyse
from apps.review.statistics.ratings import Ratings
from tests.review.statistics.study import PSEUDO, invented

STEPS = (1.0, 2.0, 3.0, 4.0, 5.0)
QUESTIONS = (
    Question(name="realism", kind="yes_no", margin=0.10),
    Question(name="usability", kind="scale", categories=STEPS, margin=0.5),
    Question(name="guess", kind="guess"),
)
PLAN = Protocol()


def content(**study):
    """What a worker would keep of an invented study."""
    ratings = invented(**study)
    columns = {name: getattr(ratings, name) for name in ratings.__dataclass_fields__}
    columns["reader"] = np.char.lstrip(ratings.reader, "R")  # numbers, as in the database
    columns["arm"] = np.where(ratings.arm == PSEUDO, "pseudo_mri", "real")
    found = analyse(
        Ratings(**columns), QUESTIONS, reference="real", compared=["pseudo_mri"], replicates=200
    )
    return {
        "statistics": json.loads(json.dumps(asdict(found))),
        "reference": "real",
        "compared": ["pseudo_mri"],
        "missing": 0,
        "arms_without_readings": [],
        "unanswered": [],
    }


def said(found):
    return {sentence.subject: sentence.text for sentence in sentences_of(found, PLAN)}


def test_a_difference_is_said_with_its_direction_and_its_interval():
    sentences = said(content(seed=0, readers=5, cases_per_arm=25, gap=1.5))
    assert "answers are higher for real scans than for pseudo-MRIs, by 1." in sentences["Usability"]
    assert sentences["Usability"].endswith("equivalence is not shown.")
    other = said(content(seed=0, readers=5, cases_per_arm=25, gap=-1.5))
    assert "higher for pseudo-MRIs than for real scans" in other["Usability"]


def test_equivalence_is_said_where_it_is_shown_and_nothing_where_nothing_is():
    sentences = said(content(seed=3, readers=6, cases_per_arm=60))
    assert "are equivalent within ±0.50 points (90\u00a0% interval" in sentences["Usability"]
    assert "neither a difference nor equivalence is shown" in sentences["Realism"]
    assert "needs 429 independent ratings" in sentences["Realism"]
    assert "not shown to do better than chance" in sentences["Real or synthetic?"]


def test_readers_who_can_tell_are_named_by_number_and_as_tested_alone():
    found = content(seed=0, readers=5, cases_per_arm=25, skill=2.5)
    text = said(found)["Real or synthetic?"]
    assert "right more often than by chance (p under 0.001)" in text
    assert re.search(r"each tested alone: Reader \d \(d' \d\.\d\d \(", text)


@pytest.mark.parametrize("study", [{"certain": True}, {"readers": 1}, {"gap": 1.0}, {"skill": 3.0}])
def test_no_sentence_says_what_no_test_shows(study):
    found = content(seed=0, **study)
    text = " ".join([*said(found).values(), *cautions_of(found)])
    assert not re.search(
        r"significant|\bbetter than (real|pseudo)|\bnan\b|\bNone\b|proves?\b", text
    )
    assert not re.search(r"\bno difference\b", text)
    for table in tables_of(found, PLAN):
        for row in table.rows:
            assert row.verdict.text
            assert (row.verdict.kind == "undefined") == (row.verdict.text == "No test")


def test_without_any_spread_there_is_no_test_and_the_reason_stands_beside():
    [table] = tables_of(content(seed=0, certain=True), PLAN)
    realism = next(row for row in table.rows if row.name == "realism")
    assert realism.verdict.kind == "undefined"
    assert "same in each arm" in realism.verdict.more


def test_the_small_picture_shows_equivalence_exactly_where_it_is_shown():
    kinds = set()
    for seed in (0, 3):
        found = content(seed=seed, readers=5, cases_per_arm=30, gap=0.1 * seed)
        [table] = tables_of(found, PLAN)
        for row in table.rows:
            picture = row.picture
            if picture.margin is None:
                continue
            low, high = picture.margin
            assert low + high == pytest.approx(2 * picture.zero, abs=0.2)
            inside = low <= picture.inner[0] and picture.inner[1] <= high
            assert inside == (row.verdict.kind == "equivalent")
            assert picture.outer[0] < picture.inner[0] < picture.dot < picture.inner[1]
            assert picture.outer[0] >= 0
            assert picture.outer[1] <= picture.width
            kinds.add(row.verdict.kind)
    assert {"equivalent", "neither"} <= kinds


def test_both_tests_can_be_passed_at_once():
    comparison = {
        "p": 0.01,
        "difference": {"note": ""},
        "equivalence": {"shown": True, "margin": 0.5, "note": ""},
    }
    verdict = verdict_of(comparison, 0.05)
    assert (verdict.text, verdict.more) == (
        "Equivalent within ±0.50",
        "and a difference is shown",
    )
    assert verdict_of(comparison, 0.005).more == ""  # the protocol's level is the level


def test_undefined_is_said_and_never_zero():
    nothing = {"value": None, "low": None, "high": None}
    assert cell(nothing).value == percents(nothing) == "not defined"
    assert cell({"value": 0.0, "low": None, "high": None}).interval == "(no interval)"
    assert decimal(-0.001, signed=True) == "0.00"


def test_the_interval_of_a_median_covers_it():
    rng = np.random.default_rng(0)
    draws = [sorted(rng.normal(size=15)) for _ in range(600)]
    held = [low <= 0 <= high for low, high in map(median_interval, draws)]
    assert 0.94 <= np.mean(held) <= 0.99
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
