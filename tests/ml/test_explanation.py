"""What moved a probability: checked against predictions of the same records, changed by hand."""

import pytest
import torch

from ml.bundle import load_mirage
from ml.concepts import dictionary
from ml.disease_paths import DISEASE, disease_paths
from ml.evaluation.faithfulness import randomised, rank_correlation
from ml.explanation import deletion_test, explain, plausible_values
from ml.patient_graph import Findings
from ml.predictor import Predictor
from ml.records import PatientRecord
from ml.training.input_ranges import FEWEST, input_ranges
from tests.ml.graph_case import records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def predictor(bundle_folder):
    return Predictor.load(bundle_folder)


@pytest.fixture(scope="module")
def mirage(predictor):
    return predictor._mirage


@pytest.fixture(scope="module")
def record(predictor):
    """Somebody with two inputs missing."""
    someone = records(8, seed=5)[3]
    known = {n: v for n, v in someone.values.items() if n in predictor.card.schema}
    for name in ("pulse_per_min", "hypertension"):
        known.pop(name, None)
    return PatientRecord(patient="someone", values=known)


@pytest.fixture(scope="module")
def explanation(predictor, record):
    return predictor.explain(record)


def probability(mirage, values):
    record = PatientRecord(patient="x", values=values)
    return float(mirage.probability(mirage.scaler.encode([record]))[0])


def without(record, *names):
    return {name: value for name, value in record.values.items() if name not in names}


def test_the_explained_number_is_the_predicted_one(predictor, record, explanation):
    [predicted] = predictor.predict([record])

    assert explanation.probability == pytest.approx(predicted.probability, abs=1e-6)


def test_an_effect_is_what_the_number_loses_without_the_finding(mirage, record, explanation):
    whole = probability(mirage, record.values)
    for effect in explanation.effects[:6]:
        rest = probability(mirage, without(record, effect.concept))
        assert effect.change == pytest.approx(whole - rest, abs=1e-5)
        assert effect.value == record.values[effect.concept]
    sizes = [abs(effect.log_odds) for effect in explanation.effects]
    assert sizes == sorted(sizes, reverse=True)


def test_all_levels_of_a_category_go_together(mirage, record, explanation):
    [married] = [e for e in explanation.effects if e.concept == "marital_status"]

    rest = probability(mirage, without(record, "marital_status"))

    assert married.change == pytest.approx(explanation.probability - rest, abs=1e-5)


def test_the_deletion_test_takes_the_findings_away_together(mirage, record, explanation):
    for deletion in explanation.deletions:
        rest = probability(mirage, without(record, *deletion.removed))
        assert deletion.change == pytest.approx(rest - explanation.probability, abs=1e-5)


def test_a_ranking_turned_round_does_not_pass(mirage, record, explanation):
    """The control: the same test refuses the findings that a true ranking puts last."""
    findings = mirage.scaler.encode([record])
    rising = [effect.concept for effect in explanation.effects if effect.log_odds > 0]
    best = deletion_test(mirage, findings, rising[:5], toward_ad=True)
    worst = deletion_test(mirage, findings, rising[-5:], toward_ad=True)

    assert best.passed
    assert best.outdone > worst.outdone
    assert not worst.passed


def test_a_record_with_too_few_findings_passes_no_test(mirage):
    few = PatientRecord(patient="few", values={"age": 70.0, "female": 1.0})

    explained = explain(mirage, few, {})

    assert explained.deletions == ()
    assert not explained.passed


def test_a_missing_input_is_tried_at_both_ends(mirage, record, explanation):
    tried = {each.concept: each for each in explanation.missing}
    assert {"pulse_per_min", "hypertension"} <= set(tried)
    assert not set(tried) & set(record.values)

    hypertension = tried["hypertension"]
    both = [probability(mirage, {**record.values, "hypertension": v}) for v in (0.0, 1.0)]

    assert [hypertension.low, hypertension.high] == pytest.approx(sorted(both), abs=1e-5)
    spans = [each.high - each.low for each in explanation.missing]
    assert spans == sorted(spans, reverse=True)


def test_spans_of_the_card_are_taken_where_there_are_some(mirage, record):
    narrow = explain(mirage, record, {"pulse_per_min": (60.0, 60.5)})
    wide = explain(mirage, record, {"pulse_per_min": (40.0, 140.0)})

    moved = [
        next(e.high - e.low for e in each.missing if e.concept == "pulse_per_min")
        for each in (narrow, wide)
    ]
    assert moved[0] < moved[1]


def test_an_input_nobody_in_training_had_is_left_out(mirage, record):
    scaler = mirage.scaler
    place = next(n for n, c in enumerate(scaler.columns) if c.concept == "hypertension")
    seen = scaler.seen[place].item()
    scaler.seen[place] = 0.0
    try:
        explained = explain(mirage, record, {})
    finally:
        scaler.seen[place] = seen

    assert "hypertension" not in {each.concept for each in explained.missing}


def test_an_ordinal_input_is_tried_level_by_level():
    assert plausible_values(dictionary()["apoe4"], (0.0, 1.0)) == (0.0, 1.0)
    assert plausible_values(dictionary()["apoe4"], (0.0, 2.0)) == (0.0, 1.0, 2.0)


def test_random_draws_are_the_same_whenever_it_is_asked(predictor, record, explanation):
    assert predictor.explain(record) == explanation


def test_removing_nothing_changes_nothing(mirage, record, explanation):
    findings = mirage.scaler.encode([record])
    assert isinstance(findings, Findings)
    again = mirage.read(findings.without(torch.zeros_like(findings.observed)))

    assert float(mirage.calibration.probability(again.logits.mean(0))[0]) == pytest.approx(
        explanation.probability, abs=1e-6
    )


@pytest.fixture(scope="module")
def found(predictor):
    graph = predictor.card.training["settings"]["graph"]
    return disease_paths(tuple(predictor.card.schema), graph["children"], graph["diagnoses"])


def test_a_path_climbs_to_what_finding_and_disease_both_are_and_descends(found):
    path = found.paths["exam_gait"]
    names = [step.name for step in path.steps]

    assert names[0] == "Gait disturbance"
    assert names[path.shared] == "Abnormality of the nervous system"
    assert (path.steps[-1].id, path.steps[-1].kind) == (DISEASE, "disease")


def test_what_has_only_the_root_in_common_with_the_disease_has_no_path(found):
    assert "nausea" not in found.paths
    assert "age" not in found.paths


def test_the_gene_of_a_genotype_is_tied_to_the_disease_by_the_ontologys_annotations(found):
    assert [step.kind for step in found.paths["apoe4"].steps] == ["gene", "disease"]


def test_a_path_says_that_the_disease_is_not_in_the_graph_of_the_model(found):
    steps = found.paths["exam_gait"].steps

    assert steps[0].read
    assert not steps[-1].read


def test_the_graph_of_the_paths_is_the_one_that_the_bundle_was_trained_on(predictor, found):
    assert found.graph_nodes == predictor.card.training["graph"]["nodes"]


def test_ranges_of_the_card_are_percentiles_of_enough_people_and_of_no_yes_or_no():
    concepts = [dictionary()[name] for name in ("age", "hypertension", "weight_kg")]
    people = [
        PatientRecord(patient=str(n), values={"age": 50.0 + n, "hypertension": n % 2})
        for n in range(41)
    ]
    for person in people[: FEWEST - 1]:
        person.values["weight_kg"] = 70.0

    assert input_ranges(concepts, people) == {"age": [52.0, 88.0]}


def test_a_model_of_noise_explains_otherwise(predictor, bundle_folder, record, explanation):
    noise = randomised(load_mirage(bundle_folder, predictor.card), seed=3)

    other = explain(noise, record, {})

    assert rank_correlation(explanation.effects, explanation.effects) == pytest.approx(1.0)
    assert abs(rank_correlation(explanation.effects, other.effects)) < 0.5
    assert other.probability != pytest.approx(explanation.probability, abs=1e-4)
