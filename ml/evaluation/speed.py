"""How long a bundle takes for one patient, here and now, beside another bundle."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml.card import Gate
from ml.predictor import Predictor
from ml.records import PatientRecord

ASKED = 60
WARM = 5
MOST_MS = 100.0
MOST_RATIO = 2.0


def latency_gates(
    predictor: Predictor, champion: Predictor | None, records: Sequence[PatientRecord]
) -> list[Gate]:
    """One patient at a time: the slowest twentieth, and the median beside the champion's.

    The two take turns, so that a machine that is busy for a while is busy for both.
    """
    asked = [records[place % len(records)] for place in range(ASKED)]
    ours, theirs = [], []
    for each in [*asked[:WARM], *asked]:
        ours.append(_ms(predictor, each))
        if champion is not None:
            theirs.append(_ms(champion, each))
    slowest = float(np.percentile(ours[WARM:], 95))
    gates = [_gate("latency", slowest, MOST_MS, title="Latency of one patient, 95th percentile",
                   finding=f"{slowest:.0f} ms", limit=f"at most {MOST_MS:.0f} ms")]  # fmt: skip
    if champion is not None:
        ratio = float(np.median(ours[WARM:]) / np.median(theirs[WARM:]))
        gates.append(
            _gate("latency_ratio", ratio, MOST_RATIO, title="Latency, over the champion's",
                  finding=f"{ratio:.2f} times", limit=f"at most {MOST_RATIO:.0f} times")
        )  # fmt: skip
    return gates


def _gate(name: str, value: float, most: float, **words: Any) -> Gate:
    return Gate(name=name, value=value, bound=most, people=ASKED, passed=value <= most, **words)


def _ms(predictor: Predictor, record: PatientRecord) -> float:
    known = set(predictor.card.schema)
    values = {name: value for name, value in record.values.items() if name in known}
    cut = PatientRecord(patient=record.patient, values=values)
    start = time.perf_counter()
    predictor.predict([cut])
    return 1000 * (time.perf_counter() - start)
