"""The truth bounds what a record can give, and results of other settings are not mixed in."""

import pytest

from ml.evaluation.ceilings import CeilingsError, ceilings, readable


@pytest.fixture(scope="module")
def results():
    return ceilings((60,), seed=1, models=("lr",), label_errors=0.2)


def test_the_severity_bounds_the_deformations_and_those_a_record_of_few_people(results):
    severity, shape = (results["truth"][name]["state"] for name in ("severity", "deformations"))
    record = results["models"]["60"]["lr"]["state"]
    assert severity["value"] > shape["value"] > record["value"]
    assert severity["low"] > record["high"]


def test_wrong_labels_cost_on_the_label_and_not_on_the_true_state(results):
    severity = results["truth"]["severity"]
    assert severity["state"]["value"] - severity["label"]["value"] > 0.1


def test_what_is_done_is_kept_and_another_setting_is_refused(results):
    again = ceilings((60,), seed=1, models=("lr",), label_errors=0.2, done=results)
    assert again == results
    assert "| 60 | 0." in readable(again)
    with pytest.raises(CeilingsError, match=r"seed 1 with 0\.2 of the labels wrong"):
        ceilings((60,), seed=2, models=("lr",), label_errors=0.2, done=results)
