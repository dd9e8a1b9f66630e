"""Studies in which nothing differs, and what the words make of figures."""

import json

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.review.equal_studies import Design, try_equals
from apps.review.statistics.bootstrap import Spread, _variance


def test_studies_of_equals_show_a_difference_about_as_often_as_the_level_says():
    found = try_equals(Design(readers=4, cases_per_arm=12, replicates=200), studies=40, seed=1)
    for name in ("realism", "usability", "detection"):
        rates = found[name]
        assert rates["studies"] == 40
        assert rates["differences_shown"]["value"] <= 0.175
        assert rates["coverage"]["low"] < 0.95 < rates["coverage"]["high"]
        assert rates["differences_shown"]["low"] < rates["differences_shown"]["high"]


def test_studies_whose_intervals_are_too_narrow_would_be_seen(monkeypatch):
    """Control: with half the spread, chance shows differences far too often."""
    honest = Spread.reach
    monkeypatch.setattr(Spread, "reach", lambda self, level=0.95: honest(self, level) / 2)
    found = try_equals(Design(readers=4, cases_per_arm=12, replicates=200), studies=40, seed=1)
    assert all(found[name]["coverage"]["high"] < 0.95 for name in ("realism", "usability"))


def test_the_command_reports_as_json_and_says_what_it_cannot_do(capsys):
    call_command("simulate_equal_studies", studies=2, readers=2, cases=4, replicates=100)
    report = json.loads(capsys.readouterr().out)
    assert report["readers"] == 2
    assert {"differences_shown", "coverage"} <= set(report["usability"])
    with pytest.raises(CommandError, match="--cases is 1; it must be at least 2"):
        call_command("simulate_equal_studies", cases=1)


def test_parts_of_the_variance_that_nearly_cancel_leave_a_usable_interval():
    """Readers who are alike: the plain formula would give 0.07 degrees of freedom."""
    variance, df = _variance(np.array([0.012, 0.0004, 0.0212]), readers=4, cases=24, arms=1)
    assert variance == pytest.approx(0.0008, rel=0.05)
    assert df == 3
