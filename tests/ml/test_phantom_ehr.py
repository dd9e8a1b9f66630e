"""Invented records look like a clinic's; severity moves what the table of causes says."""

import time

import numpy as np
import pytest

from ml.concepts import Kind, dictionary, label_proximal_inputs, schema
from ml.data.ehr import read_ehr_csv
from ml.data.phantom_ehr import SEVERITY_EFFECTS, sample_ehr
from ml.data.samples import write_samples

PEOPLE = 3_000


def draw(seed: int, *, people: int = PEOPLE, **person: object) -> np.ndarray:
    """People as rows, inputs of the schema as columns, NaN where not observed."""
    rng = np.random.default_rng(seed)
    rows = np.full((people, len(schema())), np.nan)
    settings = {
        "age_years": 75.0,
        "female": False,
        "education_years": 16.0,
        "apoe4": 0,
        "severity": 0.0,
        **person,
    }
    for row in rows:
        values = sample_ehr(rng, **settings)
        for column, name in enumerate(schema()):
            row[column] = values.get(name, np.nan)
    return rows


def column(rows: np.ndarray, name: str) -> np.ndarray:
    return rows[:, schema().index(name)]


@pytest.fixture(scope="module")
def healthy() -> np.ndarray:
    return draw(0)


@pytest.fixture(scope="module")
def severe() -> np.ndarray:
    return draw(1, severity=3.0)


def test_equal_generators_give_equal_records():
    person = {
        "age_years": 70.0,
        "female": True,
        "education_years": 12.0,
        "apoe4": 1,
        "severity": 1.0,
    }
    first = sample_ehr(np.random.default_rng(5), **person)
    second = sample_ehr(np.random.default_rng(5), **person)

    assert first == second
    assert first != sample_ehr(np.random.default_rng(6), **person)


def test_every_record_draws_the_same_amount_of_chance():
    ends = set()
    for age_years, severity in ((60.0, -2.0), (90.0, 4.0)):
        rng = np.random.default_rng(5)
        sample_ehr(
            rng,
            age_years=age_years,
            female=True,
            education_years=12.0,
            apoe4=2,
            severity=severity,
        )
        ends.add(rng.random())
    assert len(ends) == 1


@pytest.mark.parametrize("name", schema())
def test_every_value_is_one_that_the_dictionary_allows(name, healthy, severe):
    concept = dictionary()[name]
    values = np.concatenate([column(healthy, name), column(severe, name)])
    values = values[~np.isnan(values)]

    assert ((values >= concept.low) & (values <= concept.high)).all()
    if concept.kind is not Kind.CONTINUOUS:
        assert set(values) <= set(concept.levels)


@pytest.mark.parametrize("name", sorted(SEVERITY_EFFECTS))
def test_severity_moves_what_the_table_of_causes_says(name, healthy, severe):
    shift = np.nanmean(column(severe, name)) - np.nanmean(column(healthy, name))

    assert np.sign(shift) == np.sign(SEVERITY_EFFECTS[name])


def test_severity_moves_nothing_else_but_its_consequences(healthy, severe):
    """What stroke, hypertension and the like bring along may move a little; the rest may not."""
    brought_along = {
        "bmi",
        "diastolic_mmhg",
        "exam_motor_strength",
        "exam_sensory",
        "focal_signs",
        "focal_symptoms",
        "history_cardiovascular",
        "history_endocrine",
        "history_neurologic",
    }
    for name in set(schema()) - set(SEVERITY_EFFECTS) - brought_along:
        a, b = (c[~np.isnan(c)] for c in (column(healthy, name), column(severe, name)))
        error = np.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(a.mean() - b.mean()) <= 4.5 * error, name


def test_about_a_tenth_is_missing_but_never_age_and_sex(healthy):
    assert 0.08 < np.isnan(healthy).mean() < 0.12
    assert not np.isnan(column(healthy, "age")).any()
    assert not np.isnan(column(healthy, "female")).any()


def test_groups_are_missing_together(healthy):
    exams = [i for i, n in enumerate(schema()) if n.startswith("exam_")]
    assert np.isnan(healthy[:, exams]).all(axis=1).mean() == pytest.approx(0.08, abs=0.02)


def test_comorbidities_and_measurements_go_together(healthy):
    def together(a: str, b: str) -> float:
        pair = healthy[:, [schema().index(a), schema().index(b)]]
        return np.corrcoef(pair[~np.isnan(pair).any(axis=1)], rowvar=False)[0, 1]

    assert together("hypertension", "stroke") > 0.1
    assert together("hypertension", "diabetes") > 0.1
    assert together("hypertension", "systolic_mmhg") > 0.1
    assert together("systolic_mmhg", "diastolic_mmhg") > 0.4
    assert together("weight_kg", "height_cm") > 0.3
    assert together("depressed_mood", "crying") > 0.1
    assert abs(together("rash", "hypertension")) < 0.08


def test_women_are_smaller_and_old_people_fall_more(healthy):
    women, old = draw(2, female=True), draw(3, age_years=90.0)

    assert np.nanmean(column(healthy, "height_cm")) - np.nanmean(column(women, "height_cm")) > 10
    assert np.nanmean(column(old, "falls")) > 1.5 * np.nanmean(column(healthy, "falls"))


def test_a_reader_of_records_finds_severity_but_not_too_well():
    """Logistic regression on people like a study's: AUC .75 to .80, as EHR-only models have."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    ill = rng.random(4_000) < 0.45
    rows = np.full((len(ill), len(schema())), np.nan)
    for row, is_ill in zip(rows, ill, strict=True):
        values = sample_ehr(
            rng,
            age_years=float(np.clip(rng.normal(74.5 + is_ill, 7.0), 55.0, 94.0)),
            female=bool(rng.random() < 0.5),
            education_years=float(np.clip(rng.normal(16.2 - 0.6 * is_ill, 2.8), 6.0, 20.0)),
            apoe4=int(rng.binomial(2, 0.32 if is_ill else 0.16)),
            severity=float(rng.normal(1.6 * is_ill, 1.0)),
        )
        row[:] = [values.get(name, np.nan) for name in schema()]
    rows = np.where(np.isnan(rows), np.nanmedian(rows, axis=0), rows)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    fit, test = slice(0, 2_400), slice(2_400, None)

    def auc(columns: list[int]) -> float:
        model = LogisticRegression(C=0.01, max_iter=300).fit(rows[fit][:, columns], ill[fit])
        return roc_auc_score(ill[test], model.predict_proba(rows[test][:, columns])[:, 1])

    near = [schema().index(name) for name in label_proximal_inputs()]
    assert 0.74 < auc(list(range(len(schema())))) < 0.81
    assert 0.73 < auc([i for i in range(len(schema())) if i not in near]) < 0.81


def test_a_record_takes_less_than_a_millisecond():
    def batch() -> float:
        started = time.process_time()
        draw(4, people=100)
        return (time.process_time() - started) / 100

    assert min(batch() for _ in range(5)) < 0.001


def test_the_sample_files_in_the_repository_are_those_of_the_command(tmp_path, pytestconfig):
    for path in write_samples(tmp_path):
        kept = pytestconfig.rootpath / "static" / "samples" / path.name
        assert kept.read_bytes() == path.read_bytes(), f"run `python -m ml.data.samples` ({path})"
        assert read_ehr_csv(path, max_rows=50).rows > 0
