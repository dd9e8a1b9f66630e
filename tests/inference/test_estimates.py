"""How numbers are written: never without their interval, a minus as a minus."""

from datetime import datetime
from types import SimpleNamespace

import pytest
from django.template import engines
from django.utils import timezone

from apps.inference.templatetags import estimates
from apps.patients.templatetags import numbers
from apps.registry.templatetags import cards
from ml.concepts import dictionary
from ml.records import Answer


def a_prediction(probability=0.71, low=0.55, high=0.83):
    return SimpleNamespace(probability=probability, low=low, high=high)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "under 0.01"), (0.0099, "under 0.01"), (0.01, "0.01"), (0.7, "0.70"),
        (0.705, "0.70"), (0.99, "0.99"), (0.994, "over 0.99"), (1.0, "over 0.99"),
    ],
)  # fmt: skip
def test_a_probability_has_two_decimals_or_words(value, words):
    assert numbers.probability(value) == words


def test_an_estimate_is_a_number_and_its_interval():
    assert estimates.estimate(a_prediction()) == "0.71 (0.55 to 0.83)"


@pytest.mark.parametrize(
    ("value", "words"), [(0.714, "71"), (0.005, "fewer than 1"), (0.999, "more than 99")]
)
def test_a_probability_is_said_in_people_out_of_a_hundred(value, words):
    assert numbers.of_hundred(value) == words


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ({"value": 0.8, "low": 0.75, "high": 0.84, "n": 1353}, "0.80 (0.75 to 0.84), n 1,353"),
        ({"value": -0.5, "low": -1.0, "high": 0.0}, "\u22120.50 (\u22121.00 to 0.00)"),
        ({"value": None, "n": 3}, "not defined"),
        (12, "12"),
    ],
)
def test_a_figure_of_a_card_comes_with_its_interval(metric, words):
    assert cards.figure(metric) == words


@pytest.mark.parametrize(
    ("concept", "value", "words"),
    [
        ("age", 78.0, "78 years"),
        ("female", 1.0, "Female"),
        ("bmi", 27.14, "27.14 kg/m²"),
        ("temperature_c", 36.6, "36.6 °C"),
    ],
)
def test_a_finding_is_said_in_its_words_or_its_unit(concept, value, words):
    assert estimates.finding_value(value, dictionary()[concept]) == words


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("a", "years"), ("mm[Hg]", "mmHg"), ("/min", "per min"), ("10*3/uL", "10³/µL"),
        ("umol/L", "µmol/L"), ("m[IU]/L", "mIU/L"), ("kg/m2", "kg/m²"), ("mL/min", "mL/min"),
        ("mL/min/{1.73_m2}", "mL/min/1.73 m²"),
    ],
)  # fmt: skip
def test_a_unit_is_written_as_a_clinician_writes_it(unit, words):
    assert estimates.unit_words(unit) == words


def test_no_unit_of_the_dictionary_shows_its_code():
    units = {estimates.unit_words(concept.unit) for concept in dictionary().values()}

    assert not [unit for unit in units if set(unit) & set("[]{}*_")]


@pytest.mark.parametrize("answer", Answer)
def test_every_answer_has_words_and_a_shape(answer):
    assert estimates.answer_words(answer.value)
    template = engines["django"].get_template(estimates.answer_glyph(answer.value))
    assert "<svg" in template.render({})


def test_the_bar_puts_interval_estimate_and_base_rate_where_they_belong():
    bar = estimates.interval_bar(a_prediction(0.5, 0.0, 1.0), 0.25, width=112)

    assert (bar["low"], bar["dot"], bar["high"], bar["base"]) == (6.0, 56.0, 106.0, 31.0)


def test_without_a_number_only_the_track_is_drawn():
    template = engines["django"].from_string(
        "{% load estimates %}{% interval_bar prediction rate %}"
    )

    svg = template.render({"prediction": a_prediction(None, None, None), "rate": 0.3})

    assert "iv-track" in svg
    assert "iv-dot" not in svg


def test_times_of_today_are_told_by_the_clock_and_others_by_the_day():
    now = timezone.localtime()
    old = datetime(2025, 3, 12, 12, tzinfo=now.tzinfo)

    assert estimates.moment(now) == f"{now:%H:%M}"
    assert estimates.moment(old) == "12 Mar 2025"


@pytest.mark.parametrize(("most", "top"), [(1, 2), (5, 6), (20, 20), (41, 50), (1248, 1400)])
def test_the_axis_of_the_histogram_ends_above_the_highest_bar(most, top):
    lines = estimates.histogram([0, most], None)["lines"]

    assert int(lines[-1]["words"].replace(",", "")) >= most
    assert lines[-1]["words"] == f"{top:,}"


def test_figures_of_a_card_keep_the_order_of_the_page_and_their_headings():
    metrics = {"zeta": 1, "ssim": {"pseudo_mri": 0.83}, "auc": {"value": 0.8}}

    rows = cards.figures(metrics)

    assert [row["name"] for row in rows] == [
        "AUC", "Likeness of pseudo-MRI and scan (SSIM)", "Pseudo-MRI", "Zeta",
    ]  # fmt: skip
    assert [row["figure"] for row in rows] == ["0.80", "", "0.83", "1"]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.39, 0.56, "+0.08 (\u22120.39 to 0.56). No difference is shown"),
        (0.02, 0.14, "+0.08 (0.02 to 0.14)"),
    ],
)
def test_a_difference_says_whether_it_shows_one(low, high, words):
    metrics = {"auc_minus_logistic_regression": {"value": 0.08, "low": low, "high": high}}

    assert cards.figures(metrics)[0]["figure"] == words
