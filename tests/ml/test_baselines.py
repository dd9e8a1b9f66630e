import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

from ml.concepts import dictionary
from ml.evaluation.baselines import PEERS, BaselineError, fit_baseline, fit_table
from ml.evaluation.metrics import auc
from ml.records import PatientRecord

pytestmark = pytest.mark.slow
CONCEPTS = [dictionary()[name] for name in ("age", "female", "falls", "diabetes", "bmi")]


def people(count=90, seed=0, effect=2.0):
    """Falls and BMI carry the label, the other columns do not."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    records = [
        PatientRecord(
            patient=str(number),
            values={
                "age": float(rng.uniform(60, 90)),
                "female": float(rng.integers(2)),
                "falls": float(rng.random() < 0.2 + 0.3 * label),
                "bmi": float(rng.normal(26 - effect * label, 2)),
                **({"diabetes": float(rng.integers(2))} if number % 3 else {}),
            },
        )
        for number, label in enumerate(labels)
    ]
    return records, labels


@pytest.mark.parametrize("name", PEERS)
def test_every_baseline_finds_what_is_in_the_record(name):
    train, labels = people(60)
    test, truth = people(200, seed=1)
    model = fit_baseline(name, CONCEPTS, train, labels, seed=0)
    together = model.predict_proba(test)
    assert auc(together, truth).low > 0.6
    assert model.settings
    alone = [model.predict_proba([record])[0] for record in test[:5]]
    assert together[:5] == pytest.approx(alone, abs=1e-6)


def test_logistic_regression_is_tuned_as_scikit_learns_own_search_does():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((120, 12))
    labels = (table[:, 0] + rng.standard_normal(120) > 0).astype(int)
    model, settings = fit_table("lr", table, labels, seed=3)
    reference = LogisticRegressionCV(
        Cs=np.logspace(-4, 2, 13),
        l1_ratios=(0.0,),
        cv=StratifiedKFold(5, shuffle=True, random_state=3),
        scoring="neg_log_loss",
        max_iter=500,
        use_legacy_attributes=False,
    ).fit(table, labels)
    assert settings["C"] == pytest.approx(reference.C_)
    assert model.coef_ == pytest.approx(reference.coef_, abs=1e-3)


def test_a_sparse_table_gives_what_the_dense_one_does():
    rng = np.random.default_rng(0)
    table = (rng.random((100, 40)) < 0.1).astype(float)
    labels = np.arange(100) % 2
    dense, _ = fit_table("lr", table, labels, seed=0)
    sparse, _ = fit_table("lr", csr_array(table), labels, seed=0)
    assert dense.coef_ == pytest.approx(sparse.coef_, abs=1e-4)


def test_what_cannot_be_fitted_is_refused_with_the_way_out():
    train, labels = people(20)
    with pytest.raises(BaselineError, match="no baseline `svm`; there are lr, rf, gb, mlp"):
        fit_baseline("svm", CONCEPTS, train, labels, seed=0)
    with pytest.raises(BaselineError, match="0 have AD; a baseline needs at least two"):
        fit_baseline("lr", CONCEPTS, train, labels * 0, seed=0)
