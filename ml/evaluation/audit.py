"""Find inputs that are the diagnosis under another name (method.md trap 6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from ml.concepts import Concept
from ml.evaluation.metrics import Estimate, auc
from ml.patient_graph import FindingScaler
from ml.records import PatientRecord

LIMIT = 0.85
"""No single finding of a real record tells AD from CN as well as this."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An input that tells the diagnosis too well on its own.

    Attributes:
        concept: its identifier.
        by: "value", or "presence" if it is whether there is a value at all.
        auc: how well, turned so that it is .5 or more.
    """

    concept: str
    by: str
    auc: Estimate


def audit_features(
    concepts: Sequence[Concept],
    records: Sequence[PatientRecord],
    labels: Int[np.ndarray, " people"],
    *,
    limit: float = LIMIT,
) -> tuple[Suspect, ...]:
    """Inputs whose own AUC lies above the limit with its whole 95 % interval, worst first.

    A measurement made only in those thought to be ill is as good a copy as its value, so being
    recorded is looked at, too.

    Raises:
        OneClassError: fewer than two people have AD, or fewer than two have not.
    """
    scaler = FindingScaler(concepts).fit(records)
    findings = scaler.encode(records)
    width = len(scaler.columns)
    value = findings.dense(width).double().numpy()
    there = np.zeros((len(records), width))
    rows, places = findings.observed.nonzero(as_tuple=True)
    there[rows.numpy(), findings.column[rows, places].numpy()] = 1.0
    worst: dict[str, Suspect] = {}
    for place, column in enumerate(scaler.columns):
        for by, table in (("value", value), ("presence", there)):
            scores = table[:, place]
            found = max((auc(s, labels) for s in (scores, -scores)), key=lambda each: each.value)
            known = worst.get(column.concept)
            if found.low > limit and (known is None or found.value > known.auc.value):
                worst[column.concept] = Suspect(column.concept, by, found)
    return tuple(sorted(worst.values(), key=lambda suspect: -suspect.auc.value))
