"""Traps of method.md that concern records, each with a control in which the trap is sprung."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ml.bundle import load_mirage
from ml.card import verify
from ml.concepts import dictionary, label_proximal_inputs, schema
from ml.data.phantom import PhantomConfig
from ml.data.phantom_ehr import SEVERITY_EFFECTS
from ml.data.phantom_people import dense_people
from ml.evaluation.audit import audit_features
from ml.evaluation.baselines import fit_baseline
from ml.evaluation.explain import explain
from ml.evaluation.metrics import auc, balanced_accuracy
from ml.patient_graph import FindingScaler
from ml.records import PatientRecord

CONCEPTS = [dictionary()[name] for name in schema() if not dictionary()[name].label_proximal]
CAUSES = {*SEVERITY_EFFECTS, "apoe4", "age", "education_years"} - set(label_proximal_inputs())
DEMO = Path(__file__).parents[2] / "bundles" / "demo"


@pytest.fixture(scope="module")
def train():
    return dense_people(250, entropy=(1, 1), config=PhantomConfig())


@pytest.fixture(scope="module")
def test():
    return dense_people(300, entropy=(1, 2), config=PhantomConfig())


@pytest.fixture(scope="module")
def mirage():
    return load_mirage(DEMO, verify(DEMO))


def with_value(people, name, values):
    """The same records with one finding set; NaN leaves it out."""
    return [
        PatientRecord(
            patient=record.patient,
            values={
                **{key: old for key, old in record.values.items() if key != name},
                **({} if np.isnan(value) else {name: float(value)}),
            },
        )
        for record, value in zip(people.records, values, strict=True)
    ]


# Trap 6: copies of the label


def test_the_audit_finds_a_planted_copy_of_the_label_and_nothing_in_honest_records(train):
    assert audit_features(CONCEPTS, train.records, train.label) == ()
    rng = np.random.default_rng(0)
    copied = np.where(rng.random(len(train)) < 0.05, 1 - train.label, train.label)
    [suspect] = audit_features(CONCEPTS, with_value(train, "rash", copied), train.label)
    assert (suspect.concept, suspect.by) == ("rash", "value")
    assert suspect.auc.value > 0.9


def test_the_audit_finds_what_is_measured_in_the_ill_alone(train):
    ordered = np.where(train.label == 1, 1.0, np.nan)
    ordered[:2] = 0.0, 1.0  # both values occur, so that the column is kept
    [suspect] = audit_features(CONCEPTS, with_value(train, "rash", ordered), train.label)
    assert (suspect.concept, suspect.by) == ("rash", "presence")


def test_a_score_on_the_declared_list_changes_nothing_and_would_have_given_the_label_away(
    train, test
):
    def scored(people):
        rng = np.random.default_rng(len(people))
        return with_value(
            people, "mmse", np.clip(28 - 8 * people.label + rng.normal(0, 1, len(people)), 0, 30)
        )

    def read(concepts, records, asked):
        return fit_baseline("lr", concepts, records, train.label, seed=0).predict_proba(asked)

    without = read(CONCEPTS, train.records, test.records)
    assert np.array_equal(without, read(CONCEPTS, scored(train), scored(test)))
    assert auc(without, test.label).high < 0.9
    leaky = read([*CONCEPTS, dictionary()["mmse"]], scored(train), scored(test))
    assert auc(leaky, test.label).low > 0.98
    assert dictionary()["mmse"].label_proximal


# Canaries: labels and records without any truth in them


def test_permuted_labels_give_half_within_the_binomial_band_and_true_labels_do_not(train, test):
    def accuracy(labels):
        model = fit_baseline("lr", CONCEPTS, train.records, labels, seed=0)
        threshold = float(np.median(model.predict_proba(train.records)))
        return balanced_accuracy(model.predict_proba(test.records), test.state, threshold).value

    band = 2.6 * 0.5 / np.sqrt(len(test))  # 99 % of a fair coin's shares
    permuted = np.random.default_rng(3).permutation(train.label)
    assert abs(accuracy(permuted) - 0.5) < band
    assert accuracy(train.label) - 0.5 > band


def test_pure_noise_gives_an_interval_that_holds_one_half_and_a_record_does_not(train, test):
    def noise(people, seed):
        draw = np.random.default_rng(seed)
        return with_value(
            type(people)(
                people.persons,
                [
                    PatientRecord(patient="", values={"age": 70.0 + 10 * draw.standard_normal()})
                    for _ in range(len(people))
                ],
            ),
            "bmi",
            draw.normal(26, 3, len(people)).clip(12, 60),
        )

    concepts = [dictionary()["age"], dictionary()["bmi"]]
    blind = fit_baseline("lr", concepts, noise(train, 1), train.label, seed=0)
    estimate = auc(blind.predict_proba(noise(test, 2)), test.label)
    assert estimate.low <= 0.5 <= estimate.high
    reader = fit_baseline("lr", CONCEPTS, train.records, train.label, seed=0)
    assert auc(reader.predict_proba(test.records), test.label).low > 0.5


# Explanations of the surrogate's log-odds


def recovery(mirage, records):
    """AUC with which the size of a concept's contributions tells causes from the rest."""
    sizes = {concept.id: 0.0 for concept in mirage.scaler.concepts}
    for explanation in explain(mirage, records):
        for name, part in explanation.contributions.items():
            sizes[name] += abs(part)
    is_cause = np.array([int(name in CAUSES) for name in sizes])
    return auc(np.array(list(sizes.values())), is_cause).value


def test_contributions_sum_to_the_change_of_the_log_odds(mirage, test):
    records = test.records[:4]
    logit = (
        mirage.calibration.slope * mirage.read(mirage.scaler.encode(records)).logits.mean(0)
        + mirage.calibration.intercept
    )
    for explanation, known in zip(explain(mirage, records), logit.tolist(), strict=True):
        assert explanation.logit == pytest.approx(known, abs=1e-5)
        change = explanation.logit - explanation.base_logit
        assert sum(explanation.contributions.values()) == pytest.approx(change, abs=1e-4)
        assert abs(change) > 1e-2


def test_a_finding_that_the_record_lacks_contributes_nothing(mirage):
    [explanation] = explain(
        mirage, [PatientRecord(patient="x", values={"age": 80.0, "falls": 1.0})]
    )
    assert set(explanation.contributions) == {"age", "falls"}


def test_planted_causes_are_recovered_and_a_model_with_mixed_up_concepts_recovers_none(
    mirage, test
):
    records = test.records[:16]
    assert recovery(mirage, records) > 0.7
    mixed = load_mirage(DEMO, verify(DEMO))
    order = torch.randperm(len(mixed.scaler.columns), generator=torch.Generator().manual_seed(0))
    for member in mixed.members:
        member.reader.states.copy_(member.reader.states[:, order].clone())
    assert recovery(mixed, records) < 0.65


# Group masking


def test_a_person_loses_one_whole_group_or_nothing(train):
    scaler = FindingScaler(CONCEPTS).fit(train.records)
    findings = scaler.encode(train.records)
    torch.manual_seed(0)
    masked = findings.without_a_group(scaler.group, 0.5)
    groups = scaler.group[findings.column]
    lost = findings.observed & ~masked.observed
    changed = lost.any(1)
    assert 0.3 < changed.float().mean() < 0.6
    for row in changed.nonzero().squeeze(1).tolist():
        [group] = set(groups[row, lost[row]].tolist())
        assert not (masked.observed[row] & (groups[row] == group)).any()
    assert torch.equal(findings.without_a_group(scaler.group, 0.0).observed, findings.observed)
