"""What happens to a bundle's answers when records lose values or are spoiled."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ml.concepts import dictionary
from ml.evaluation.judged_people import JudgedPeople
from ml.evaluation.metrics import Scores, auc, auc_difference, proportion
from ml.evaluation.robustness import hide_group, hide_values
from ml.predictor import Predictor
from ml.records import Answer, PatientRecord

SHARES = (0.1, 0.3, 0.5, 0.7)
Probability = Callable[[Sequence[PatientRecord]], Scores]


def under_hiding(
    probability: Probability, people: JudgedPeople, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """AUC when values or whole groups of findings are missing, and what it loses.

    Args:
        probability: of each record's AD, whatever is missing.
        people: whose records are taken apart.
        seed: of what is hidden; what is missing grows from share to share.
    """
    complete = probability(people.records)

    def figures(records: Sequence[PatientRecord]) -> dict[str, Any]:
        scores = probability(records)
        return {
            "auc": asdict(auc(scores, people.labels)),
            "change": asdict(auc_difference(scores, complete, people.labels)),
        }

    def without_share(share: float) -> list[PatientRecord]:
        return hide_values(people.records, share, np.random.default_rng((seed, 7_002)))

    known = dictionary()
    groups = dict.fromkeys(known[name].group for record in people.records for name in record.values)
    return {
        "values": [{"share": share, **figures(without_share(share))} for share in SHARES],
        "groups": [
            {"name": group, **figures(hide_group(people.records, group))} for group in groups
        ],
    }


def refused_as_outside(
    predictor: Predictor, people: JudgedPeople, seed: int
) -> list[dict[str, Any]]:
    """How often records are refused as outside the training data, as they are and when spoiled."""
    rng = np.random.default_rng((seed, 7_004))
    planted = {
        "as they are": people.records,
        "findings shuffled between people": _shuffled(people.records, rng),
        "every measurement at an end of its plausible range": _extreme(people.records, rng),
    }
    found = []
    for name, records in planted.items():
        answers = [prediction.answer for prediction in predictor.predict(records)]
        share = proportion(sum(each == Answer.OUTSIDE for each in answers), len(answers))
        found.append({"name": name, "refused": asdict(share)})
    return found


def _shuffled(records: Sequence[PatientRecord], rng: np.random.Generator) -> list[PatientRecord]:
    values: list[dict[str, float]] = [{} for _ in records]
    for name in dict.fromkeys(name for record in records for name in record.values):
        owners = [i for i, record in enumerate(records) if name in record.values]
        for taker, giver in zip(owners, rng.permutation(owners), strict=True):
            values[taker][name] = records[giver].values[name]
    return [
        PatientRecord(patient=record.patient, values=mine)
        for record, mine in zip(records, values, strict=True)
    ]


def _extreme(records: Sequence[PatientRecord], rng: np.random.Generator) -> list[PatientRecord]:
    known = dictionary()

    def at_an_end(name: str, value: float) -> float:
        concept = known[name]
        if concept.levels:
            return value
        return float(concept.high if rng.random() < 0.5 else concept.low)

    return [
        PatientRecord(
            patient=record.patient,
            values={name: at_an_end(name, value) for name, value in record.values.items()},
        )
        for record in records
    ]
