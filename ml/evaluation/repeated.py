"""Repeated cross-validation of a small cohort: folds by person, and intervals over persons.

With a hundred people one split says little, and the scores of repeats are no new people. So the
figure is the mean over repeats, each repeat's held-out scores taken together, and its interval
comes from drawing persons anew.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ml.evaluation.metrics import Estimate, OneClassError

DRAWS = 2_000


def deal(
    persons: Sequence[str], strata: Sequence[object], folds: int, seed: int
) -> Int[ndarray, " patients"]:
    """Fold of each row: a person's rows are together, and each stratum is dealt out evenly.

    Args:
        persons: who each row is.
        strata: what is to be alike in all folds, as the label; a person's first row counts.
        folds: how many.
        seed: of the dealing.

    Example:
        >>> deal(["a", "a", "b", "c", "d"], [0, 0, 0, 1, 1], folds=2, seed=0).tolist()
        [0, 0, 1, 0, 1]
    """
    rng = np.random.default_rng(seed)
    stratum_of: dict[str, object] = {}
    for person, stratum in zip(persons, strata, strict=True):
        stratum_of.setdefault(person, stratum)
    fold_of: dict[str, int] = {}
    for stratum in dict.fromkeys(stratum_of.values()):
        members = [person for person, own in stratum_of.items() if own == stratum]
        for place in rng.permutation(len(members)):
            fold_of[members[place]] = len(fold_of) % folds
    return np.array([fold_of[person] for person in persons])


class PersonBootstrap:
    """AUC as the mean over repeats, with percentile intervals from persons drawn anew.

    The scores are kept as they are: the interval says how far other people would have moved the
    figure, not how far other training people would have.

    Args:
        labels: 1 or 0.
        persons: who each row is.
        draws: how often persons are drawn.
        seed: of the drawing.

    Raises:
        OneClassError: all labels are the same.
    """

    def __init__(
        self,
        labels: Int[ndarray, " patients"],
        persons: Sequence[str],
        *,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        if set(labels.tolist()) != {0, 1}:
            raise OneClassError("AUC needs people with the label 1 and people with the label 0.")
        self._cases, self._controls = labels == 1, labels == 0
        names = list(dict.fromkeys(persons))
        self._people = len(names)
        number = np.array([names.index(person) for person in persons])
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
        weight = drawn[:, number].astype(float)
        both = weight[:, self._cases].any(1) & weight[:, self._controls].any(1)
        self._weight = np.concatenate([np.ones((1, len(persons))), weight[both]])

    def auc(self, scores: Float[ndarray, "repeats patients"]) -> Estimate:
        """Mean over the repeats of the area under the ROC curve."""
        return self._estimate(self._draws(scores))

    def difference(
        self,
        first: Float[ndarray, "repeats patients"],
        second: Float[ndarray, "repeats patients"],
    ) -> Estimate:
        """AUC of `first` minus AUC of `second`, the same persons drawn for both."""
        return self._estimate(self._draws(first) - self._draws(second))

    def _draws(self, scores: Float[ndarray, "repeats patients"]) -> Float[ndarray, " draws"]:
        """AUC of everybody as they are, then of each draw."""
        cases, controls = scores[:, self._cases], scores[:, self._controls]
        gap = cases[:, :, None] - controls[:, None, :]
        won = ((gap > 0) + 0.5 * (gap == 0)).mean(0)
        of_cases, of_controls = self._weight[:, self._cases], self._weight[:, self._controls]
        pairs = of_cases.sum(1) * of_controls.sum(1)
        areas: ndarray = ((of_cases @ won) * of_controls).sum(1) / pairs
        return areas

    def _estimate(self, draws: Float[ndarray, " draws"]) -> Estimate:
        low, high = np.percentile(draws[1:], [2.5, 97.5])
        return Estimate(value=float(draws[0]), low=float(low), high=float(high), n=self._people)
