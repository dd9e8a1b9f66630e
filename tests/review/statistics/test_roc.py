"""Areas under curves against the reference data of pROC and MRMCaov, and on invented readers."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from apps.review.statistics.roc import compare_arms_by_area, compare_curves, compare_modalities
from ml.evaluation.metrics import OneClassError, auc

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "statistics"
REASON = "the reference data of pROC and MRMCaov are not on this machine"
with_reference = pytest.mark.skipif(not REAL.exists(), reason=REASON)


def read(name):
    with (REAL / name).open() as file:
        return list(csv.DictReader(file))


@with_reference
def test_delong_on_the_data_of_proc():
    rows = read("aSAH.csv")
    truth = np.array([row["outcome"] == "Poor" for row in rows]).astype(int)
    scores = {k: np.array([float(row[k]) for row in rows]) for k in ("wfns", "s100b", "ndka")}
    areas = {"wfns": 0.823678861788618, "s100b": 0.731368563685637, "ndka": 0.611957994579946}
    for name, area in areas.items():
        assert auc(scores[name], truth).value == pytest.approx(area, abs=1e-14)
    for first, second, z in (
        ("wfns", "s100b", 2.20898359144091),
        ("wfns", "ndka", 2.79777591868904),
        ("ndka", "s100b", -1.39077002573558),
    ):
        assert compare_curves(scores[first], scores[second], truth).z == pytest.approx(z, abs=1e-12)


def van_dyke():
    ratings, truth = np.full((2, 5, 114), np.nan), np.zeros(114, dtype=int)
    for row in read("VanDyke.csv"):
        modality, reader, case = (int(row[k]) - 1 for k in ("treatment", "reader", "case"))
        ratings[modality, reader, case] = float(row["rating"])
        truth[case] = int(row["truth"])
    return ratings, truth


@with_reference
def test_obuchowski_and_rockette_on_van_dyke():
    result = compare_modalities(*van_dyke())
    assert [area.value for area in result.areas] == pytest.approx([0.8970370, 0.9408374], abs=5e-8)
    assert result.f == pytest.approx(4.484854, abs=5e-7)
    assert result.ddf == pytest.approx(15.06611, abs=5e-6)
    assert result.p == pytest.approx(0.05123303, abs=5e-9)
    [difference] = result.differences
    assert difference.value == pytest.approx(-0.04380032, abs=5e-9)
    assert difference.low == pytest.approx(-0.0878671960, abs=5e-11)
    assert difference.high == pytest.approx(0.0002665519, abs=5e-11)


@with_reference
def test_the_order_of_readers_and_cases_is_irrelevant():
    ratings, truth = van_dyke()
    rng = np.random.default_rng(0)
    cases = rng.permutation(114)
    shuffled = compare_modalities(ratings[:, rng.permutation(5)][:, :, cases], truth[cases])
    assert shuffled.p == pytest.approx(compare_modalities(ratings, truth).p, abs=1e-12)


def readers(seed, *, modalities=2, readers=5, cases=60, gain=0.0):
    """Readings of the same cases; `gain` is added to the second modality."""
    rng = np.random.default_rng(seed)
    truth = np.repeat([0, 1], cases // 2)
    skill = (
        1.2 + rng.normal(0, 0.25, (1, readers, 1)) + rng.normal(0, 0.1, (modalities, readers, 1))
    )
    skill[-1] += gain
    shared = rng.normal(0, 0.7, (1, 1, cases)) + rng.normal(0, 0.3, (modalities, 1, cases))
    noise = rng.normal(0, 0.65, (modalities, readers, cases))
    return skill * truth + shared + noise, truth


def test_modalities_that_are_alike_are_called_different_in_5_of_100_studies():
    p = [compare_modalities(*readers(seed)).p for seed in range(1000)]
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07


def test_modalities_that_differ_are_found():
    p = [compare_modalities(*readers(seed, gain=1.0)).p for seed in range(30)]
    assert np.mean(np.array(p) < 0.05) > 0.9


def test_arms_with_cases_of_their_own_share_no_covariance():
    covered = []
    for seed in range(150):
        ratings, truth = readers(seed, modalities=1)
        others, their_truth = readers(10_000 + seed, modalities=1)
        [difference] = compare_arms_by_area(
            [(ratings[0], truth), (others[0], their_truth)]
        ).differences
        covered.append(difference.low <= 0 <= difference.high)
    assert 0.91 <= np.mean(covered) <= 0.99
    paired = compare_modalities(np.stack([ratings[0], others[0]]), truth).differences[0]
    assert paired.value == pytest.approx(difference.value)


def test_one_reader_is_too_few_and_is_told_so():
    ratings, truth = readers(0, readers=1)
    result = compare_modalities(ratings, truth)
    assert result.p is None
    assert [area.value for area in result.areas] == [None, None]
    assert "1 reader" in result.differences[0].note
    two = compare_modalities(*readers(0, readers=2))
    assert "2 readers" in two.differences[0].note


def test_modalities_read_exactly_alike_have_no_test():
    ratings, truth = readers(0, modalities=1)
    result = compare_modalities(np.concatenate([ratings, ratings]), truth)
    assert result.p is None
    assert result.differences[0].value == 0
    assert "nothing to test" in result.differences[0].note
    same = compare_curves(ratings[0, 0], ratings[0, 0] * 2, truth)
    assert same.z is None
    assert same.difference.value == 0
    json.dumps(asdict(result), allow_nan=False)


def test_bad_input_is_refused():
    ratings, truth = readers(0)
    with pytest.raises(OneClassError):
        compare_modalities(ratings, np.zeros_like(truth))
    ratings[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="every case"):
        compare_modalities(ratings, truth)
    with pytest.raises(ValueError, match="same readers"):
        compare_arms_by_area([(ratings[1], truth), (ratings[1, :3], truth)])
