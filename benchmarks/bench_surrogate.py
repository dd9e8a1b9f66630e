"""One stored patient inside the worker: the surrogate and its answer, beside logistic regression.

Limit: 20 ms. Peer: scikit-learn's logistic regression on the same 88 numbers, in the same run.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.stack import SHIPPED, record
from ml.concepts import schema
from ml.data.phantom_ehr import sample_ehr
from ml.predictor import Predictor
from ml.records import PatientRecord

LIMIT_MS = 20
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
    predictor.predict(people)
    thousand_s = time.perf_counter() - started

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
        thousand_patients_s=round(thousand_s, 3),
        passed=one_ms <= LIMIT_MS,
    )


if __name__ == "__main__":
    main()
