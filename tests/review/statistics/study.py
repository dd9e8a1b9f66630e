"""Invented reader studies with known truth."""

import numpy as np

from apps.review.statistics.ratings import Ratings, Table

REAL, PSEUDO = "real", "pseudo-MRI"


def invented(
    seed=0, *, readers=4, cases_per_arm=15, repeats=5, gap=0.0, skill=0.0, slope=0.0, certain=False
):
    """Ratings of realism, usability and a guess.

    Args:
        gap: by how much real scans are liked more, in standard deviations of the noise.
        skill: d' of every reader.
        slope: seconds that each place in the order adds.
        certain: whether all say the same.
    """
    rng = np.random.default_rng(seed)
    cases = 2 * cases_per_arm
    level = rng.normal(0, 0.5, cases)
    rows = []
    for reader in range(readers):
        strict = rng.normal(0, 0.3)
        order = rng.permutation(cases)
        shown = [(c, None) for c in order] + [(c, p + 1) for p, c in enumerate(order[:repeats])]
        for position, (case, repeat_of) in enumerate(shown, start=1):
            real = case < cases_per_arm
            liked = level[case] + strict + rng.normal() + (gap if real else 0.0)
            hunch = rng.normal() + (-skill / 2 if real else skill / 2)
            answers = {
                "realism": float(liked > 0 or certain),
                "usability": 4.0 if certain else float(np.clip(np.round(3 + liked), 1, 5)),
                "guess": float(hunch > 0 and not certain),
            }
            seconds = float(rng.lognormal(4, 0.3) + slope * position)
            for question, answer in answers.items():
                who_and_what = (f"R{reader}", f"C{case:03}", REAL if real else PSEUDO, question)
                rows.append((*who_and_what, answer, position, seconds, repeat_of))
    return Ratings.from_rows(rows)


def drawn(rng, *, readers, cases_per_arm, of_case, of_arm, of_reader, noise=1.0):
    """Answers to one question from normal effects; both arms have mean 0."""
    cases = 2 * cases_per_arm
    values = rng.normal(0, of_case, (cases, 1)) + rng.normal(0, of_reader, (1, readers))
    values = values + rng.normal(0, noise, (cases, readers))
    values += np.repeat(rng.normal(0, of_arm, (2, readers)), cases_per_arm, axis=0)
    return Table(
        values=values,
        cases=np.array([f"C{c:03}" for c in range(cases)]),
        readers=np.array([f"R{r:02}" for r in range(readers)]),
        arms=np.repeat([REAL, PSEUDO], cases_per_arm),
    )
