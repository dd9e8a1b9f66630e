"""Tuned logistic regression on the EHR alone: what MIRAGE has to be at least as good as."""

import warnings

import numpy as np
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

from ml.concepts import Concept
from ml.patient_graph import FindingScaler
from ml.records import PatientRecord

INVERSE_PENALTIES = tuple(np.logspace(-4, 2, 13))


def ehr_baseline(
    concepts: tuple[Concept, ...],
    train: list[PatientRecord],
    labels: Int[np.ndarray, " train"],
    test: list[PatientRecord],
    *,
    seed: int,
) -> Float[np.ndarray, " test"]:
    """P(AD) of the test people from penalised logistic regression, tuned by 5-fold log loss.

    Values are scaled by the training people's statistics; what is missing takes the training mean.

    Args:
        concepts: the columns to use.
        train, labels: labelled training people.
        test: people to predict.
        seed: of the folds.
    """
    scaler = FindingScaler(concepts).fit(train)
    width = len(scaler.columns)
    known = scaler.encode(train).dense(width).double().numpy()
    asked = scaler.encode(test).dense(width).double().numpy()
    fewest = int(np.bincount(labels, minlength=2).min())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        model = LogisticRegressionCV(
            Cs=INVERSE_PENALTIES,
            cv=StratifiedKFold(max(2, min(5, fewest)), shuffle=True, random_state=seed),
            scoring="neg_log_loss",
            max_iter=500,
        ).fit(known, labels)
    probability: np.ndarray = model.predict_proba(asked)[:, 1]
    return probability
