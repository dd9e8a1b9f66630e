"""What a report finds in a bundle whose concept states, names or findings were tampered with."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
import torch

from ml.data.phantom import make_phantom_cohort
from ml.data.phantom_second import OTHER_NAMES
from ml.evaluation.metrics import OneClassError, auc, auc_difference
from ml.evaluation.parts import stored_states
from ml.evaluation.parts.explanation_tests import (
    by_attention,
    by_effect,
    by_gradients,
    explanation_figures,
    first,
    moved,
    outdone,
    rank_correlation,
)
from ml.evaluation.parts.other_schema import under_other_schema
from ml.evaluation.parts.planted_cause import planted, quietest
from ml.evaluation.parts.quick_reading import QuickReading
from ml.evaluation.parts.stored_states import exchanged, over_draws, replaced, spoiled
from ml.evaluation.parts.trial import NOT_TOLD, NotToldError, copy_of, mean_of, told
from ml.evaluation.robustness import probabilities
from ml.explanation import deletion_test
from ml.records import PatientRecord
from tests.ml.report_case import by_letters, silent, trial_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trial(bundle_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohorts") / "judges"
    make_phantom_cohort(folder, patients=16, spacing_mm=8.0, seed=78, workers=1)
    return trial_of(bundle_folder, folder, new=True)


def read(mirage, trial):
    return QuickReading(mirage).probabilities(trial.people.records)


def test_reading_quickly_gives_what_the_model_gives(trial):
    expected = probabilities(trial.mirage, trial.people.records)
    assert read(trial.mirage, trial) == pytest.approx(expected, abs=1e-6)


def test_states_of_no_finding_exchanged_change_nothing_and_those_of_all_do(trial):
    whole = read(trial.mirage, trial)
    for spoil in (exchanged, replaced):
        assert read(spoiled(trial.mirage, 0.0, spoil, seed=1), trial) == pytest.approx(whole)
        assert np.abs(read(spoiled(trial.mirage, 1.0, spoil, seed=1), trial) - whole).max() > 1e-3
    assert read(trial.mirage, trial) == pytest.approx(whole), "the bundle itself is untouched"


def test_a_model_whose_findings_all_have_the_same_states_cannot_tell_their_exchange(trial):
    blind = copy_of(trial.mirage)
    for member in blind.members:
        states = member.reader.states
        states.copy_(states.mean(1, keepdim=True).expand_as(states))
    whole = read(blind, trial)
    assert read(spoiled(blind, 1.0, exchanged, seed=1), trial) == pytest.approx(whole)
    assert np.abs(read(spoiled(blind, 1.0, replaced, seed=1), trial) - whole).max() > 1e-3


def test_what_is_spoiled_grows_with_the_share_and_is_the_same_finding_in_every_member(trial):
    def touched(share):
        other = spoiled(trial.mirage, share, replaced, seed=3)
        return [
            (ours.reader.states != theirs.reader.states).any(2).any(0)
            for ours, theirs in zip(trial.mirage.members, other.members, strict=True)
        ]

    few, many = touched(0.3), touched(0.7)
    assert all(torch.equal(each, few[0]) for each in few)
    assert int(few[0].sum()) == round(0.3 * len(few[0])) < int(many[0].sum())
    assert bool((few[0] <= many[0]).all())


def test_one_draw_has_delongs_interval_and_draws_that_differ_a_wider_one():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    whole, other = (labels + rng.normal(size=60) for _ in range(2))
    alone = over_draws([other], whole, labels)
    assert alone["auc"] == pytest.approx(dataclasses.asdict(auc(other, labels)))
    paired = dataclasses.asdict(auc_difference(other, whole, labels))
    assert alone["change"] == pytest.approx(paired)
    same = over_draws([other, other], whole, labels)
    assert same["change"] == pytest.approx(paired), "draws that agree add nothing"
    low, high = (labels + scale * rng.normal(size=60) for scale in (5.0, 0.2))
    apart = over_draws([low, high], whole, labels)["auc"]
    spread = auc(high, labels).value - auc(low, labels).value
    assert apart["value"] - apart["low"] > 1.9 * spread / 2, "draws that differ widen it"


def test_the_curve_of_states_starts_at_the_complete_bundle_and_counts_its_people(trial):
    found = stored_states.under_spoiled_states(trial, silent)
    assert found["complete"]["n"] == len(trial.people)
    for way in ("exchanged", "random"):
        assert [each["share"] for each in found[way]] == list(stored_states.SHARES)
        for each in found[way]:
            assert each["change"]["value"] == pytest.approx(
                each["auc"]["value"] - found["complete"]["value"]
            )


def test_another_clinics_table_is_read_in_its_units_by_the_links_that_are_found(trial):
    found = under_other_schema(trial, by_letters)
    complete, cut = found["situations"]
    assert complete["columns"] == len(OTHER_NAMES) > cut["columns"]
    assert 0.5 < complete["linked_rightly"]["value"] < 1.0
    nothing = under_other_schema(trial, lambda texts: torch.zeros(len(texts), 4))
    assert nothing["situations"][0]["linked_rightly"]["value"] < 0.5
    assert nothing["situations"][0]["auc"] != complete["auc"]


def test_people_without_inputs_of_another_name_are_told_of(trial):
    bare = [PatientRecord(patient=each.patient, values={}) for each in trial.people.records]
    empty = dataclasses.replace(trial, people=dataclasses.replace(trial.people, records=bare))
    with pytest.raises(NotToldError, match="0 have another name"):
        under_other_schema(empty, by_letters)
    with pytest.raises(NotToldError, match="0 of these people have four findings"):
        explanation_figures(empty, 8, silent)


def test_a_cause_that_was_wired_in_is_named_by_effects_and_gradients_and_was_not_before(trial):
    records = trial.people.records[:8]
    own = [by_effect(trial.mirage, record) for record in records]
    name = quietest(trial.mirage, records, own)
    other = planted(trial.mirage, records, name)
    place = next(n for n, each in enumerate(other.scaler.columns) if each.concept == name)
    seen = 0
    for record, before in zip(records, own, strict=True):
        score = float(other.scaler.encode([record]).dense(len(other.scaler.columns))[0, place])
        if abs(score) < 1:
            continue
        seen += 1
        for method in (by_effect, by_gradients):
            after = method(other, record)
            assert max(after, key=lambda each: abs(after[each])) == name
            assert after[name] * score > 0
        heeded = by_attention(other, record)
        assert max(heeded, key=lambda each: abs(heeded[each])) != name, "attention misses it"
        assert max(before, key=lambda each: abs(before[each])) != name
    assert seen > 0


def test_attention_shares_one_among_the_findings_in_the_direction_of_their_effects(trial):
    record = trial.people.records[0]
    effects, shares = by_effect(trial.mirage, record), by_attention(trial.mirage, record)
    assert set(shares) == set(effects)
    assert sum(abs(each) for each in shares.values()) == pytest.approx(1.0)
    assert all(shares[name] * effect >= 0 for name, effect in effects.items())
    assert np.ptp([abs(each) for each in shares.values()]) > 0.001


def test_a_model_that_does_not_attend_heeds_all_findings_alike(trial):
    mirage, record = copy_of(trial.mirage), trial.people.records[0]
    for member in mirage.members:
        for attention in member.reader.attentions:
            attention.attends = False
    columns = mirage.scaler.encode([record]).column[0].tolist()
    of_concept = Counter(mirage.scaler.columns[column].concept for column in columns)
    for name, share in by_attention(mirage, record).items():
        assert abs(share) == pytest.approx(of_concept[name] / len(columns), rel=1e-5)


def test_taking_findings_away_is_judged_as_on_the_pages(trial):
    record = trial.people.records[0]
    findings = trial.mirage.scaler.encode([record])
    owner = [trial.mirage.scaler.columns[at].concept for at in findings.column[0].tolist()]
    contributions = by_effect(trial.mirage, record)
    reading = QuickReading(trial.mirage)
    for toward_ad in (True, False):
        top = first(contributions, toward_ad=toward_ad)
        weak = first({n: -c for n, c in contributions.items()}, toward_ad=toward_ad)
        for names in (top, weak):
            page = deletion_test(trial.mirage, findings, names, toward_ad=toward_ad)
            ours = outdone(reading, findings, owner, names, toward_ad=toward_ad, inserted=False)
            assert ours == pytest.approx(page.outdone, abs=0.02)
            given = outdone(reading, findings, owner, names, toward_ad=toward_ad, inserted=True)
            assert (given > 0.5) == (names is top), "the wrong direction moves it the wrong way"


def test_small_changes_touch_measurements_alone_and_by_little(trial):
    record = trial.people.records[0]
    near = moved(trial.mirage, record, np.random.default_rng(0))
    changed = {name for name in record.values if near.values[name] != record.values[name]}
    assert {"age", "weight_kg"} & set(record.values) <= changed
    assert all(near.values[n] == v for n, v in record.values.items() if v in (0.0, 1.0))
    again = rank_correlation(by_effect(trial.mirage, record), by_effect(trial.mirage, near))
    assert again > 0.8


def test_a_ranking_that_says_the_same_of_everything_correlates_with_nothing():
    flat = dict.fromkeys("abcd", 1.0)
    assert math.isnan(rank_correlation(flat, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}))
    steps = {name: float(place) for place, name in enumerate("abcd")}
    assert rank_correlation(steps, {name: -each for name, each in steps.items()}) == -1.0


def test_a_part_that_cannot_be_computed_says_why_and_bugs_are_raised():
    def fails(error):
        def part():
            raise error

        return part

    assert told(fails(NotToldError("no scans"))) == {NOT_TOLD: "no scans"}
    assert "two people" in told(fails(OneClassError("needs two people")))[NOT_TOLD]
    with pytest.raises(KeyError):
        told(fails(KeyError("a bug")))


def test_a_mean_of_few_has_no_interval_and_one_of_many_covers_as_often_as_it_says():
    assert mean_of([1.0, 2.0, 3.0, 4.0]) is None
    rng = np.random.default_rng(1)
    held = [
        found["low"] <= 0 <= found["high"]
        for found in (mean_of(rng.normal(size=8)) for _ in range(600))
    ]
    assert 0.93 <= np.mean(held) <= 0.97
