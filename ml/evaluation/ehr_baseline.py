"""Tuned logistic regression on the EHR alone: what MIRAGE has to be at least as good as."""

import numpy as np
from jaxtyping import Float, Int

from ml.concepts import Concept
from ml.evaluation.baselines import fit_baseline
from ml.records import PatientRecord


def ehr_baseline(
    concepts: tuple[Concept, ...],
    train: list[PatientRecord],
    labels: Int[np.ndarray, " train"],
    test: list[PatientRecord],
    *,
    seed: int,
) -> Float[np.ndarray, " test"]:
    """P(AD) of the test people from penalised logistic regression, tuned by 5-fold log loss.

    Args:
        concepts: the columns to use.
        train, labels: labelled training people.
        test: people to predict.
        seed: of the folds.
    """
    return fit_baseline("lr", concepts, train, labels, seed=seed).predict_proba(test)
