"""Gates of a promotion find what they are for: each has a bundle that cheats as its control."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.bundle import load_decoder
from ml.card import Gate, gate_words, verify
from ml.data.phantom import PhantomConfig
from ml.data.phantom_people import dense_people
from ml.evaluation import promotion
from ml.evaluation.canaries import canary_gates
from ml.evaluation.metrics import auc_difference
from ml.evaluation.paired import paired_differences
from ml.evaluation.picture_gates import picture_gates
from ml.evaluation.speed import latency_gates
from ml.mirage import PseudoMRIDecoder
from ml.predictor import Predictor
from ml.records import PatientRecord

PEOPLE = 120


@pytest.fixture(scope="module")
def predictor(bundle_folder):
    return Predictor.load(bundle_folder)


@pytest.fixture(scope="module")
def people():
    """Records and labels of invented people; a name tells nobody's diagnosis."""
    return invented()


def invented():
    found = dense_people(PEOPLE, entropy=(77,), config=PhantomConfig())
    return found.records, found.label.astype(np.int64)


def by_name(gates):
    return {gate.name: gate for gate in gates}


class Cheats(Predictor):
    """A bundle that knows more than the record in front of it."""

    def __init__(self, predictor, probability):
        self.card, self._inner, self._probability = predictor.card, predictor, probability

    def predict(self, records):
        said = self._inner.predict(records)
        numbers = self._probability(records, said)
        return [
            replace(each, probability=float(number))
            for each, number in zip(said, numbers, strict=True)
        ]


def test_an_honest_bundle_passes_the_canaries(predictor, people):
    found = by_name(canary_gates(predictor, *people, seed=1))

    assert found["canary_shuffled"].low <= 0.5 <= found["canary_shuffled"].high
    assert all(gate.passed for gate in found.values())


def test_a_bundle_that_remembers_people_by_name_is_found(predictor, people):
    records, labels = people
    known = {record.patient: label for record, label in zip(records, labels, strict=True)}
    knows = Cheats(predictor, lambda rs, _: [known.get(r.patient, 0) * 0.5 + 0.2 for r in rs])

    found = by_name(canary_gates(knows, records, labels, seed=1))

    assert not found["canary_shuffled"].passed
    assert found["canary_shuffled"].value == 1.0


def test_a_bundle_that_reads_a_copy_of_the_label_is_found(predictor, people):
    reads = Cheats(
        predictor, lambda rs, _: [0.9 if r.values.get("mmse", 30) < 20 else 0.5 for r in rs]
    )

    found = by_name(canary_gates(reads, *people, seed=1))

    assert not found["canary_label_proximal"].passed


def test_a_bundle_whose_answers_depend_on_the_batch_is_found(predictor, people):
    scales = Cheats(predictor, lambda rs, said: [min(0.9, 0.1 + len(rs) / 1000) for _ in said])

    found = by_name(canary_gates(scales, *people, seed=1))

    assert not found["canary_company"].passed


@pytest.fixture(scope="module")
def drawer(bundle_folder):
    return load_decoder(bundle_folder, verify(bundle_folder)).decoder


def pictures(drawer, surrogates, labels):
    return by_name(picture_gates(drawer, surrogates, labels, 8.0))


def surrogates_with_disease(drawer, labels):
    """Latents along the direction that the bundle's ventricles grow in, nearly the donors' own."""
    bank = drawer.skip_bank
    mean, spread = bank.donor_z.mean(0), bank.donor_z.std(0)
    draw = torch.Generator().manual_seed(3)
    noise = torch.randn(len(labels), len(mean), generator=draw) * spread * 0.2
    return mean + noise


def test_pictures_that_do_not_depend_on_the_surrogate_fail_the_swap_test(drawer):
    labels = np.array([0, 1] * 24)
    same = drawer.skip_bank.donor_z.mean(0).expand(len(labels), -1)

    found = pictures(drawer, same, labels)

    assert found["swap_test"].value == 0.0
    assert not found["swap_test"].passed


def test_surrogates_that_are_donors_fail_the_donor_copy_test_and_others_do_not(drawer):
    labels = np.array([0, 1] * 24)
    bank = drawer.skip_bank
    copies = bank.donor_z[torch.arange(len(labels)) % len(bank.donor_z)]
    fresh = surrogates_with_disease(drawer, labels)

    class Copies(PseudoMRIDecoder):
        """Gives everybody the picture of the nearest donor, with that donor's own skips."""

        def forward(self, z, exclude=None):
            nearest = torch.cdist(z, bank.donor_z).argmin(1)
            return drawer.decoder(bank.donor_z[nearest], [s[nearest].float() for s in bank.skips])

    assert not pictures(Copies(drawer.decoder, bank), copies, labels)["donor_copy"].passed
    found = pictures(drawer, fresh, labels)
    assert found["donor_copy"].passed
    assert found["donor_shares"].passed


def test_paired_differences_agree_with_delong_and_with_hand_counts():
    rng = np.random.default_rng(5)
    labels = (rng.random(80) < 0.5).astype(np.int64)
    first, second = (np.clip(rng.random(80) * 0.5 + labels * 0.3, 0, 1) for _ in range(2))

    found = paired_differences((first, 0.5), (second, 0.5), labels)

    assert found["auc"] == auc_difference(first, second, labels)
    ad = labels == 1
    expected = (first[ad] >= 0.5).mean() - (second[ad] >= 0.5).mean()
    assert found["sensitivity"].value == pytest.approx(expected)
    both = found["sensitivity"].value + found["specificity"].value
    assert found["balanced_accuracy"].value == pytest.approx(both / 2)
    squares = (first - labels) ** 2 - (second - labels) ** 2
    assert found["brier"].value == pytest.approx(squares.mean())


def model(predictor, probability, answers=None):
    said = np.array(answers if answers is not None else ["uncertain"] * len(probability))
    return promotion.Model(
        predictor.card, Path(), predictor, predictor._mirage, np.asarray(probability), said
    )


@pytest.fixture(scope="module")
def judged(people):
    records, labels = people
    names = tuple(record.patient for record in records)
    return promotion.JudgedPeople(names, names, records, labels, ())


def test_a_worse_candidate_fails_and_an_equal_one_passes(predictor, judged):
    rng = np.random.default_rng(6)
    good = np.clip(0.5 + 0.3 * (judged.labels - 0.5) + rng.normal(0, 0.1, PEOPLE), 0.01, 0.99)
    worse = rng.permutation(good)

    equal = promotion._discrimination(model(predictor, good), model(predictor, good), judged)
    failed = promotion._discrimination(model(predictor, worse), model(predictor, good), judged)
    few = replace(
        judged, records=judged.records[:12], ids=judged.ids[:12], labels=judged.labels[:12]
    )
    unknown = promotion._discrimination(
        model(predictor, good[:12]), model(predictor, worse[:12]), few
    )

    assert (equal.passed, failed.passed, unknown.passed) == (True, False, None)
    assert "its interval above \u22120.02: failed" in gate_words(failed)


def test_a_subgroup_that_is_worse_beyond_its_interval_fails_although_all_together_pass(
    predictor, judged
):
    rng = np.random.default_rng(7)
    good = np.clip(0.5 + 0.5 * (judged.labels - 0.5) + rng.normal(0, 0.05, PEOPLE), 0.01, 0.99)
    women = promotion.subgroups_of(judged)["Women"]
    harmed = good.copy()
    harmed[women] = rng.permutation(good[women])

    gates = by_name(promotion._subgroups(model(predictor, harmed), model(predictor, good), judged))

    assert gates["subgroup_women"].passed is False
    assert gates["subgroup_men"].passed is True
    assert promotion._subgroups(model(predictor, good), None, judged) == []


def test_coverage_is_asked_by_class_and_of_enough_people(predictor, judged):
    n = len(judged)
    sure = ["ad" if label else "cn" for label in judged.labels]
    always_cn = ["cn"] * n

    passed = promotion._coverage(model(predictor, np.full(n, 0.5), sure), judged)
    failed = promotion._coverage(model(predictor, np.full(n, 0.5), always_cn), judged)

    assert [gate.passed for gate in passed] == [True, True]
    assert [gate.passed for gate in failed] == [False, True]


def test_overconfidence_fails_the_calibration(predictor, judged):
    rng = np.random.default_rng(8)
    risk = rng.random(PEOPLE) * 0.6 + 0.2
    labels = (rng.random(PEOPLE) < risk).astype(np.int64)
    people = replace(judged, labels=labels)
    logit = np.log(risk / (1 - risk))
    sharp = 1 / (1 + np.exp(-6 * logit))

    calm = by_name(promotion._calibration(model(predictor, risk), people))
    loud = by_name(promotion._calibration(model(predictor, sharp), people))

    assert calm["calibration_slope"].passed is not False
    assert loud["calibration_slope"].passed is False


def test_a_slow_bundle_fails_beside_a_quick_one(predictor, people):
    import time

    def slowly(records, said):
        time.sleep(0.02)
        return [0.5 for _ in said]

    records, _ = people
    few = [PatientRecord(patient="x", values=records[0].values)]
    slow = by_name(latency_gates(Cheats(predictor, slowly), predictor, few))

    assert slow["latency_ratio"].passed is False
    assert slow["latency"].passed is True


def test_a_gate_is_json_and_back():
    gate = Gate(name="a", value=1.0, bound=0.5, people=30, passed=True, title="A", finding="1.00",
                limit="at least 0.50")  # fmt: skip

    assert Gate(**asdict(gate)) == gate
    assert gate_words(gate) == "A: 1.00; at least 0.50: passed"
