import json

import numpy as np
import pytest
from scipy import stats

from ml.data.cohort import Participant
from ml.norms import Norms, NormsError
from ml.training.norms import FEWEST, fit_norms

STRUCTURES = ("hippocampus", "lateral ventricles")


def _cohort(people=400, *, head=False, label=0):
    """Volumes that are linear in age, sex and head by known numbers."""
    rng = np.random.default_rng(2)
    age, male = rng.uniform(55, 90, people), rng.integers(0, 2, people)
    size = rng.normal(1500, 120, people)
    noise = rng.standard_normal((2, people))
    hippocampus = 8 - 0.04 * (age - 70) + 0.3 * male + 0.5 * noise[0]
    if head:
        hippocampus += 0.004 * (size - 1500)
    ventricles = np.exp(3.2 + 0.03 * (age - 70) + 0.1 * male + 0.4 * noise[1])
    rows = [
        Participant(f"sub-{n}", f"p{n}", float(age[n]), "M" if male[n] else "F", label)
        for n in range(people)
    ]
    return rows, np.stack([hippocampus, ventricles], axis=1), size


def test_the_fit_finds_the_numbers_that_made_the_volumes():
    people, volumes, size = _cohort(4000, head=True)
    norm = fit_norms(people, volumes, STRUCTURES, size).structures["hippocampus"]
    assert norm.per_year == pytest.approx(-0.04, abs=0.003)
    assert norm.male == pytest.approx(0.3, abs=0.05)
    assert norm.per_head_ml == pytest.approx(0.004, abs=0.0003)
    assert norm.residual_sd == pytest.approx(0.5, rel=0.05)


def test_the_fit_is_least_squares():
    people, volumes, _ = _cohort(60)
    age = np.array([person.age_years for person in people])
    male = np.array([person.sex == "M" for person in people])
    design = np.stack([np.ones(60), age - age.mean(), male], axis=1)
    reference, *_ = np.linalg.lstsq(design, volumes[:, 0], rcond=None)
    norm = fit_norms(people, volumes, STRUCTURES).structures["hippocampus"]
    assert (norm.mean, norm.per_year, norm.male) == pytest.approx(tuple(reference))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_percentiles_of_other_people_of_that_kind_are_uniform(structure):
    people, volumes, _ = _cohort(1200)
    norms = fit_norms(people[:600], volumes[:600], STRUCTURES)
    column = STRUCTURES.index(structure)
    found = [
        norms.percentile(structure, row[column], age_years=person.age_years, sex=person.sex)
        for person, row in zip(people[600:], volumes[600:], strict=True)
    ]
    known = np.array([value for value in found if value is not None]) / 100
    assert len(known) > 590
    assert stats.kstest(known, "uniform").pvalue > 0.01


def test_the_median_is_at_the_50th_percentile_and_the_5th_below_it():
    norms = fit_norms(*_cohort()[:2], STRUCTURES)
    here = {"age_years": 80.0, "sex": "F"}
    for structure in STRUCTURES:
        median = norms.expected_ml(structure, **here)
        assert norms.percentile(structure, median, **here) == pytest.approx(50)
        low = norms.expected_ml(structure, **here, percentile=5.0)
        assert low < median
        assert norms.percentile(structure, low, **here) == pytest.approx(5)


@pytest.mark.parametrize(
    ("structure", "volume", "age", "sex"),
    [
        ("hippocampus", 7.0, 40.0, "F"),
        ("hippocampus", 7.0, None, "F"),
        ("hippocampus", 7.0, 70.0, "n/a"),
        ("hippocampus", float("nan"), 70.0, "F"),
        ("hippocampus", -1.0, 70.0, "F"),
        ("spleen", 7.0, 70.0, "F"),
    ],
)
def test_where_the_norms_do_not_say_there_is_no_percentile(structure, volume, age, sex):
    norms = fit_norms(*_cohort()[:2], STRUCTURES)
    assert norms.percentile(structure, volume, age_years=age, sex=sex) is None


def test_norms_that_need_a_head_size_give_no_percentile_without_it():
    people, volumes, size = _cohort(head=True)
    norms = fit_norms(people, volumes, STRUCTURES, size)
    assert norms.percentile("hippocampus", 7.0, age_years=70.0, sex="F") is None
    assert norms.percentile("hippocampus", 7.0, age_years=70.0, sex="F", head_ml=1500.0) > 0


def test_patients_unknown_people_and_second_visits_do_not_count():
    people, volumes, _ = _cohort(60)
    alone = fit_norms(people, volumes, STRUCTURES)
    patients, sick, _ = _cohort(30, label=1)
    again = [Participant("sub-again", people[0].person, 60.0, "F", 0)]
    nameless = [Participant("sub-x", "x", None, "F", 0), Participant("sub-y", "y", 70.0, "n/a", 0)]
    more = np.concatenate([volumes, 0.5 * sick, sick[:3]])
    assert fit_norms([*people, *patients, *again, *nameless], more, STRUCTURES) == alone


def test_too_few_people_give_no_norms():
    people, volumes, _ = _cohort(FEWEST - 1)
    assert fit_norms(people, volumes, STRUCTURES) is None


def test_norms_survive_the_card():
    norms = fit_norms(*_cohort()[:2], STRUCTURES)
    assert Norms.from_entries(json.loads(json.dumps(norms.to_entries()))) == norms


@pytest.mark.parametrize("change", [{"n": None, "x": 1}, {"structures": {"a": {"mean": 1}}}])
def test_incomplete_norms_are_refused(change):
    entries = fit_norms(*_cohort()[:2], STRUCTURES).to_entries() | change
    with pytest.raises(NormsError, match="Train the bundle again"):
        Norms.from_entries(entries)
