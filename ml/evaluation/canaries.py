"""Canaries: questions whose right answer is known, asked of a finished bundle.

A bundle that knows more than the record in front of it gives itself away here (method.md, traps 2
and 6, and section 5). Each is a gate for a promotion.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from ml.card import JUDGED_FROM, Gate
from ml.concepts import Concept, dictionary
from ml.evaluation.metrics import Labels, Scores, areas_with_covariance
from ml.predictor import Predictor
from ml.records import PatientRecord

SHUFFLES = 5
STRANGERS = 100
SAME = 1e-6
"""Two computations of one probability may differ by so much."""


def canary_gates(
    predictor: Predictor, records: Sequence[PatientRecord], labels: Labels, *, seed: int
) -> list[Gate]:
    """Ask all canaries of a bundle.

    Args:
        predictor: the bundle as it answers.
        records: of people who did not train it, whole, as the cohort has them.
        labels: theirs, 1 AD and 0 CN.
        seed: of the shuffling.
    """
    read = _cut(records, set(predictor.card.schema))
    rng = np.random.default_rng((seed, 8_023))
    return [
        _shuffled(predictor, read, labels, rng),
        _label_proximal(predictor, read, labels),
        _company(predictor, read, rng),
    ]


def scores_of(predictor: Predictor, records: Sequence[PatientRecord]) -> Scores:
    """What the bundle answers; .5 where it gives no number."""
    return np.array(
        [
            0.5 if each.probability is None else each.probability
            for each in predictor.predict(records)
        ]
    )


def _cut(records: Sequence[PatientRecord], known: set[str]) -> list[PatientRecord]:
    return [
        PatientRecord(
            patient=record.patient,
            values={name: value for name, value in record.values.items() if name in known},
        )
        for record in records
    ]


def _shuffled(
    predictor: Predictor,
    records: Sequence[PatientRecord],
    labels: Labels,
    rng: np.random.Generator,
) -> Gate:
    """Everybody keeps name and place and gets somebody else's findings: nothing may be known.

    Several shuffles are averaged. Their interval is that of one shuffle over the root of their
    number, because they are drawn apart from each other.
    """
    areas, variances = [], []
    for _ in range(SHUFFLES):
        order = rng.permutation(len(records))
        exchanged = [
            PatientRecord(patient=record.patient, values=records[other].values)
            for record, other in zip(records, order, strict=True)
        ]
        area, covariance = areas_with_covariance(scores_of(predictor, exchanged)[None], labels)
        areas.append(float(area[0]))
        variances.append(float(covariance[0, 0]))
    value = float(np.mean(areas))
    reach = float(norm.ppf(0.995)) * float(np.sqrt(np.mean(variances) / SHUFFLES))
    low, high = value - reach, value + reach
    return Gate(
        name="canary_shuffled",
        value=value,
        low=low,
        high=high,
        bound=0.5,
        people=len(records),
        passed=bool(low <= 0.5 <= high) if len(records) >= JUDGED_FROM else None,
        title="Canary: findings shuffled between people",
        finding=f"AUC {value:.2f} ({low:.2f} to {high:.2f}, a 99 % interval)",
        limit="its interval holds 0.50",
    )


def _label_proximal(predictor: Predictor, records: Sequence[PatientRecord], labels: Labels) -> Gate:
    """Give everybody the near-copies of their own label: no probability may move."""
    near = {name: each for name, each in dictionary().items() if each.label_proximal}
    read = sorted(set(predictor.card.schema) & set(near))
    planted = [
        PatientRecord(
            patient=record.patient,
            values={name: value for name, value in record.values.items() if name not in near}
            | _copies(near, bool(label)),
        )
        for record, label in zip(records, labels, strict=True)
    ]
    bare = _cut(records, set(dictionary()) - set(near))
    moved = float(np.abs(scores_of(predictor, planted) - scores_of(predictor, bare)).max())
    named = f"{len(read)} of its inputs are on the list" if read else "none of its inputs is on it"
    return Gate(
        name="canary_label_proximal",
        value=moved,
        bound=SAME,
        people=len(records),
        passed=not read and moved <= SAME,
        title="Canary: near-copies of the label are not read",
        finding=f"{named}; giving them moves a probability by at most {moved:.1g}",
        limit="none, and nothing moves",
    )


def _copies(near: Mapping[str, Concept], has_ad: bool) -> dict[str, float]:
    """A value at one end for those with AD and at the other for those without."""
    return {
        name: float(max(each.levels) if has_ad else min(each.levels))
        if each.levels
        else float(each.high if has_ad else each.low)
        for name, each in near.items()
    }


def _company(
    predictor: Predictor, records: Sequence[PatientRecord], rng: np.random.Generator
) -> Gate:
    """Alone, reversed, and among strangers with mixed-up findings: the same number each time."""
    everybody = scores_of(predictor, records)
    reversed_order = scores_of(predictor, list(reversed(records)))[::-1]
    some = rng.choice(len(records), size=min(20, len(records)), replace=False)
    alone = np.array([scores_of(predictor, [records[place]])[0] for place in some])
    strangers = [
        PatientRecord(patient=f"stranger-{n}", values=records[place].values)
        for n, place in enumerate(rng.integers(len(records), size=STRANGERS))
    ]
    among = scores_of(predictor, [*strangers, *records])[STRANGERS:]
    moved = max(
        float(np.abs(reversed_order - everybody).max()),
        float(np.abs(alone - everybody[some]).max()),
        float(np.abs(among - everybody).max()),
    )
    return Gate(
        name="canary_company",
        value=moved,
        bound=SAME,
        people=len(records),
        passed=moved <= SAME,
        title="Canary: an answer does not depend on who else is asked about",
        finding=f"alone, reversed and among {STRANGERS} strangers it moves by at most {moved:.1g}",
        limit=f"at most {SAME:.0e}".replace("e-0", "e-"),
    )
