"""The surrogate of one patient and of 100,000, on one thread, beside logistic regression.

Limits: 20 ms for a stored record inside the worker, 1 ms from encoded findings to the surrogate,
20 s for 100,000 records. Peers in the same run: scikit-learn's logistic regression on the same 88
numbers, and the members read one after another instead of at once.
"""

import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.stack import SHIPPED, record
from ml.bundle import load_mirage
from ml.card import verify
from ml.concepts import schema
from ml.data.phantom_ehr import sample_ehr
from ml.predictor import Predictor
from ml.records import PatientRecord
from ml.serving import StackedMembers

LIMIT_MS = 20
SURROGATE_LIMIT_MS = 1
MANY = 100_000
MANY_LIMIT_S = 20
REPEATS = 300


def median_ms(call: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    people = [
        PatientRecord(
            patient=str(n),
            values=sample_ehr(
                rng,
                age_years=70 + n % 20,
                female=n % 2 == 0,
                education_years=12,
                apoe4=n % 3,
                severity=n % 5 - 2,
            ),
        )
        for n in range(1000)
    ]
    predictor = Predictor.load(SHIPPED)
    predictor.predict(people)
    one_ms = median_ms(lambda: predictor.predict(people[:1]))
    started = time.perf_counter()
    predictor.predict(people * (MANY // len(people)))
    many_s = time.perf_counter() - started

    mirage = load_mirage(SHIPPED, verify(SHIPPED))
    findings = mirage.scaler.encode(people[:1])
    stacked = StackedMembers(mirage)
    surrogate_ms = median_ms(lambda: stacked.read(findings))
    one_by_one_ms = median_ms(lambda: mirage.read(findings))

    table = np.array([[p.values.get(name, 0.0) for name in schema()] for p in people])
    regression = LogisticRegression(max_iter=2000).fit(
        (table - table.mean(0)) / (table.std(0) + 1e-9), np.arange(1000) % 2
    )
    regression_ms = median_ms(lambda: regression.predict_proba(table[:1]))
    record(
        "surrogate",
        one_patient_ms=round(one_ms, 3),
        limit_ms=LIMIT_MS,
        logistic_regression_ms=round(regression_ms, 3),
        ratio_to_logistic_regression=round(one_ms / regression_ms, 1),
        surrogate_from_findings_ms=round(surrogate_ms, 3),
        surrogate_limit_ms=SURROGATE_LIMIT_MS,
        members_one_by_one_ms=round(one_by_one_ms, 3),
        hundred_thousand_patients_s=round(many_s, 1),
        hundred_thousand_limit_s=MANY_LIMIT_S,
        load=round(os.getloadavg()[0], 1),
        passed=one_ms <= LIMIT_MS and surrogate_ms <= SURROGATE_LIMIT_MS and many_s <= MANY_LIMIT_S,
    )


if __name__ == "__main__":
    main()
