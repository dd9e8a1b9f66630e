"""The report of an evaluation: who may judge, what is computed, what the page says."""

import json
import shutil
from dataclasses import replace

import pytest

from ml.card import BundleError, verify
from ml.concepts import schema
from ml.data.cohort import Cohort, CohortError
from ml.data.phantom import make_phantom_cohort
from ml.evaluation.evaluate import EvaluationSettings, evaluate_bundle
from ml.evaluation.judged_people import SeenInTrainingError, check_unseen, judged_people
from ml.evaluation.report import FILES, view_of, write_report
from ml.evaluation.report.words import sentences, verdict
from tests.ml.report_case import by_letters, silent

pytestmark = pytest.mark.slow
SETTINGS = EvaluationSettings(new=True, others=("lr",), images=6, explained=5)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohorts") / "judges"
    return make_phantom_cohort(folder, patients=24, spacing_mm=8.0, seed=77, workers=1)


@pytest.fixture(scope="module")
def results(cohort, bundle_folder):
    return evaluate_bundle(bundle_folder, cohort, SETTINGS, embed=by_letters, progress=silent)


def edited(cohort, tmp_path, name, change):
    copy = shutil.copytree(cohort, tmp_path / "edited")
    lines = (copy / name).read_text().splitlines()
    (copy / name).write_text("\n".join(change(lines)) + "\n")
    return Cohort.load(copy)


def test_every_figure_has_its_interval_and_the_people_behind_it(results):
    bundle = results["bundle"]
    for name in ("auc", "auc_bootstrap", "average_precision", "brier", "ppv", "npv"):
        assert bundle[name]["low"] <= bundle[name]["value"] <= bundle[name]["high"], name
    assert bundle["auc"]["n"] == results["about"]["people"] == 24
    assert bundle["calibration_curve"] is None, "24 people are too few for a curve"
    assert all(group["auc"] is None for group in results["subgroups"] if group["people"] < 30)
    assert sum(results["answers"]["counts"].values()) == 24
    assert results["images"]["people"] == 6


def test_records_at_the_ends_of_every_range_are_refused_more_often(results):
    as_they_are, _, extreme = (each["refused"]["value"] for each in results["outside"])
    assert extreme > as_they_are


def test_only_methods_that_passed_all_five_tests_may_be_offered(results):
    found = results["explanations"]
    assert set(found["methods"]) == {"Effect of a finding", "Integrated gradients", "Attention"}
    for name, method in found["methods"].items():
        assert method["passed"] == all(test["passed"] for test in method["tests"].values())
        assert (name in found["passed"]) == method["passed"]
        stability = method["tests"]["stability"]
        assert stability["mean"] > stability["others"], "it is of the person"


def test_the_page_says_what_it_is_and_needs_no_network(results, bundle_folder, tmp_path):
    page = write_report(results, verify(bundle_folder), tmp_path / "report")
    text = page.read_text()
    assert {path.name for path in page.parent.iterdir()} == set(FILES)
    assert "Not a diagnosis" in text
    assert "These people are invented" in text
    assert "http" not in text.replace("http-equiv", "")
    assert sum(path.stat().st_size for path in page.parent.iterdir()) < 6_000_000
    assert json.loads((page.parent / "report.json").read_text()) == json.loads(json.dumps(results))
    metadata = json.loads((page.parent / "metadata.json").read_text())
    assert metadata["eval_metrics"]["auc"]["value"] == results["bundle"]["auc"]["value"]


def test_the_view_is_plain_json_whose_sections_show_something_or_say_why_not(
    results, bundle_folder
):
    view = view_of(results, verify(bundle_folder))
    assert json.loads(json.dumps(view)) == view
    for section in view["sections"]:
        shown = bool(section["table"] or section["figure"])
        assert shown != bool(section["empty"]), section["id"]
        for row in (section["table"] or {"rows": []})["rows"]:
            assert len(row) == len(section["table"]["head"]), section["id"]
    ids = [section["id"] for section in view["sections"]]
    assert len(set(ids)) == len(ids)
    calibration = view["sections"][ids.index("calibration")]
    assert calibration["empty"].startswith("Too few"), "24 people are too few for a curve"


def test_sentences_say_no_more_than_the_intervals_do(results):
    said = " ".join(sentences(results))
    assert "pseudo-MRI is synthetic" in said
    assert "100 such pairs" in said
    assert [
        verdict({"value": v, "low": v - 0.02, "high": v + 0.02}) for v in (0.01, 0.05, -0.05)
    ] == ["no difference is shown", "better", "worse"]


def test_people_called_as_donors_are_refused_unless_they_are_said_to_be_new(cohort, bundle_folder):
    with pytest.raises(SeenInTrainingError, match="happen to be the same"):
        judged_people(Cohort.load(cohort), bundle_folder, new=False, most=100)
    assert len(judged_people(Cohort.load(cohort), bundle_folder, new=True, most=100)) == 24


def test_copies_of_training_records_are_refused_under_any_name(cohort, bundle_folder, tmp_path):
    judges = judged_people(Cohort.load(cohort), bundle_folder, new=True, most=100)
    training = Cohort.load(cohort)
    renamed = replace(
        training,
        participants=tuple(
            replace(each, person=f"other {place}")
            for place, each in enumerate(training.participants)
        ),
    )
    with pytest.raises(SeenInTrainingError, match=r"0 have the id .* 24 have exactly the record"):
        check_unseen(judges, renamed)
    with pytest.raises(SeenInTrainingError, match="24 have the id"):
        check_unseen(judges, training)


def test_one_diagnosis_alone_judges_nothing(cohort, bundle_folder, tmp_path):
    healthy = edited(
        cohort,
        tmp_path,
        "participants.tsv",
        lambda lines: [x.replace("\tAD", "\tCN") for x in lines],
    )
    with pytest.raises(CohortError, match=r"24 people .* 0 of them with AD"):
        judged_people(healthy, bundle_folder, new=True, most=100)


def test_nine_people_judge_nothing(cohort, bundle_folder):
    with pytest.raises(CohortError, match=r"9 people .* needs 10 people"):
        judged_people(Cohort.load(cohort), bundle_folder, new=True, most=9)


def test_records_without_any_input_of_the_bundle_are_another_schema(
    cohort, bundle_folder, tmp_path
):
    unread = next(name for name in schema() if name not in verify(bundle_folder).schema)
    strange = edited(
        cohort,
        tmp_path,
        "ehr.csv",
        lambda lines: [f"patient,{unread}", *(f"{x.split(',')[0]},1" for x in lines[1:])],
    )
    with pytest.raises(BundleError, match="another schema"):
        judged_people(strange, bundle_folder, new=True, most=100)
