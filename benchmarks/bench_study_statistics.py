"""All statistics of a reader study: 10 readers, 100 cases, 5 questions, 15 repeats each.

2,000 bootstraps over readers and cases; limit 20 s. Peer in the same run: the differences alone by
scipy's bootstrap over cases, which knows no readers and no agreement.
"""

import time
import warnings

import numpy as np
from scipy.stats import bootstrap
from threadpoolctl import threadpool_limits

from apps.review.statistics.analysis import Question, analyse
from apps.review.statistics.ratings import Ratings
from benchmarks.stack import record

READERS, CASES, REPEATS, REPLICATES = 10, 100, 15, 2000
LIMIT_S = 20
STEPS = (1.0, 2.0, 3.0, 4.0, 5.0)
QUESTIONS = (
    Question(name="realism", kind="yes_no", margin=0.10),
    Question(name="usability", kind="scale", categories=STEPS, margin=0.5),
    Question(name="interpretability", kind="scale", categories=STEPS, margin=0.5),
    Question(name="confidence", kind="scale", categories=STEPS),
    Question(name="real or synthetic", kind="guess"),
)


def study(seed: int = 0) -> Ratings:
    """Readers and cases that differ, ratings with noise, and hidden repeats at the end."""
    rng = np.random.default_rng(seed)
    case_level, reader_level = rng.normal(0, 0.6, CASES), rng.normal(0, 0.4, READERS)
    rows = []
    for reader in range(READERS):
        order = rng.permutation(CASES)
        presented: list[tuple[int, int | None]] = [(int(c), None) for c in order]
        presented += [(int(c), place + 1) for place, c in enumerate(order[:REPEATS])]
        for position, (case, repeat_of) in enumerate(presented, start=1):
            seconds = float(rng.lognormal(4, 0.4))
            for question in QUESTIONS:
                feeling = case_level[case] + reader_level[reader] + rng.normal()
                answer = float(feeling > 0)
                if question.kind == "scale":
                    answer = float(np.clip(np.round(3 + feeling), 1, 5))
                arm = "real" if case % 2 else "pseudo-MRI"
                who_and_what = (f"R{reader}", f"C{case:03}", arm, question.name)
                rows.append((*who_and_what, answer, position, seconds, repeat_of))
    return Ratings.from_rows(rows)


def main() -> None:
    ratings = study()
    with threadpool_limits(1):
        shares: list[float] = []
        started, cpu = time.perf_counter(), time.process_time()
        result = analyse(
            ratings,
            QUESTIONS,
            reference="real",
            compared=["pseudo-MRI"],
            replicates=REPLICATES,
            progress=shares.append,
        )
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        cpu = time.process_time()
        for question in QUESTIONS:
            table = ratings.table(question.name)
            arms = [table.of_arm(arm).values.mean(1) for arm in ("real", "pseudo-MRI")]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bootstrap(
                    arms,
                    lambda a, b, axis: a.mean(axis) - b.mean(axis),
                    n_resamples=REPLICATES,
                    vectorized=True,
                    method="BCa",
                )
        bare_cpu_s = time.process_time() - cpu
    assert shares == sorted(shares)
    assert result.readers == READERS
    record(
        "study_statistics",
        readers=READERS,
        cases=CASES,
        questions=len(QUESTIONS),
        replicates=REPLICATES,
        rows=len(ratings.answer),
        wall_s=round(wall_s, 2),
        cpu_s=round(cpu_s, 2),
        progress_steps=len(shares),
        bare_bootstrap_over_cases_cpu_s=round(bare_cpu_s, 2),
        limit_s=LIMIT_S,
        passed=wall_s <= LIMIT_S,
    )


if __name__ == "__main__":
    main()
