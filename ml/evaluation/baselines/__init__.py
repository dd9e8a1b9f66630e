"""What can be had from a health record without any MRI: baselines, one file each.

All are tuned in the same way: the candidate with the smallest log loss on held-out training people
is fitted again on all of them. Test people play no part.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from ml.concepts import Concept
from ml.evaluation.baselines import (
    catboost,
    gradient_boosting,
    logistic_regression,
    mlp,
    random_forest,
)
from ml.patient_graph import FindingScaler
from ml.records import PatientRecord

Table: TypeAlias = Float[np.ndarray, "patients columns"] | csr_array
"""Patients as rows; what was not observed is 0, which is the training mean of a measurement."""

BASELINES: Mapping[str, Callable[[int], Sequence[Any]]] = MappingProxyType(
    {
        "lr": logistic_regression.candidates,
        "rf": random_forest.candidates,
        "gb": gradient_boosting.candidates,
        "mlp": mlp.candidates,
    }
)
PEERS: Mapping[str, Callable[[int], Sequence[Any]]] = MappingProxyType(
    {**BASELINES, "catboost": catboost.candidates}
)
"""With those that need a package of their own: rows of the paper's tables, never of a page."""
FOLDS = 5
MANY_PEOPLE = 5_000
"""From here on one held-out fifth is enough to choose by: a thousand people or more."""


class BaselineError(ValueError):
    """A baseline cannot be fitted; the text says what to give instead."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fitted baseline.

    Attributes:
        name: which one, a key of `PEERS`.
        settings: what was chosen.
        scaler: findings from records, on the scale of the training people.
        model: scikit-learn's.
    """

    name: str
    settings: Mapping[str, Any]
    scaler: FindingScaler
    model: Any

    def predict_proba(self, records: Sequence[PatientRecord]) -> Float[np.ndarray, " patients"]:
        """P(AD) of each patient, from its own record alone.

        Raises:
            RecordError: a record holds an unknown concept or an implausible value.
        """
        probability: np.ndarray = self.model.predict_proba(_table(self.scaler, records))[:, 1]
        return probability


def fit_baseline(
    name: str,
    concepts: Sequence[Concept],
    train_records: Sequence[PatientRecord],
    labels: Int[np.ndarray, " train"],
    *,
    seed: int,
) -> Baseline:
    """Tune and fit one baseline on the records of labelled people.

    Values are scaled by the training people's statistics; what is missing takes the training mean.

    Args:
        name: a key of `PEERS`.
        concepts: the columns to use.
        train_records, labels: training people; 1 AD, 0 CN.
        seed: of the folds and of the model.

    Raises:
        BaselineError: no baseline has that name, or a class has fewer than two people.
    """
    scaler = FindingScaler(concepts).fit(train_records)
    model, settings = fit_table(name, _table(scaler, train_records), labels, seed=seed)
    return Baseline(name, settings, scaler, model)


def fit_table(
    name: str, table: Table, labels: Int[np.ndarray, " train"], *, seed: int
) -> tuple[Any, Mapping[str, Any]]:
    """Tune and fit one baseline on a table, dense or sparse.

    Returns:
        scikit-learn's fitted model, and the settings that were chosen.

    Raises:
        BaselineError: no baseline has that name, or a class has fewer than two people.
    """
    if name not in PEERS:
        raise BaselineError(f"There is no baseline `{name}`; there are {', '.join(PEERS)}.")
    fewest = int(np.bincount(labels, minlength=2).min())
    if fewest < 2:
        raise BaselineError(
            f"Of {len(labels)} training people {int(labels.sum())} have AD; a baseline needs at "
            "least two with and two without. Add labelled people."
        )
    models = PEERS[name](seed)
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    parts = list(folds.split(np.zeros(len(labels)), labels))
    if len(labels) >= MANY_PEOPLE:
        parts = parts[:1]
    # One thread: two that wait for each other on busy cores made these small products 20 times
    # slower (method.md trap 12).
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        losses = [_held_out_loss(each, table, labels, parts) for each in models]
        best = models[int(np.argmin(losses))]
        fitted = clone(best).fit(table, labels)
    tried = [each.get_params() for each in models]
    varied = [key for key in tried[0] if len({str(each[key]) for each in tried}) > 1]
    return fitted, {key: best.get_params()[key] for key in varied}


def _held_out_loss(
    model: Any,
    table: Table,
    labels: Int[np.ndarray, " train"],
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
) -> float:
    losses = []
    for fit, held in parts:
        fitted = clone(model).fit(table[fit], labels[fit])
        losses.append(log_loss(labels[held], fitted.predict_proba(table[held])[:, 1]))
    return float(np.mean(losses))


def _table(scaler: FindingScaler, records: Sequence[PatientRecord]) -> Table:
    return scaler.encode(records).dense(len(scaler.columns)).double().numpy()
