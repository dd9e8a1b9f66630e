r"""Intraclass correlation: agreement of ratings on a scale whose steps are taken to be equal.

Names and intervals are those of Shrout and Fleiss (1979) and McGraw and Wong (1996). (1, .): each
case was read by other readers. (2, .): the same readers read all cases and stand for others.
(3, .): these readers alone matter, and one who is stricter throughout still agrees. (., 1): one
reader's rating; (., k): the mean of all k.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import f as fisher

from apps.review.statistics.agreement import IN_FULL, Table, rough
from apps.review.statistics.estimate import Estimate, sentences, undefined

FORMS = ("ICC(1,1)", "ICC(2,1)", "ICC(3,1)", "ICC(1,k)", "ICC(2,k)", "ICC(3,k)")
ROUGH_BELOW = 30  # cases; Koo and Li (2016)


@dataclass(frozen=True, slots=True)
class _Squares:
    """Mean squares of cases, readers, the rest, and all within a case, of n cases and k readers."""

    cases: float
    readers: float
    rest: float
    within: float
    n: int
    k: int


def intraclass_correlations(ratings: Table) -> dict[str, Estimate]:
    """All six forms with 95 % intervals; cases that a reader did not rate are left out."""
    whole = ratings[~np.isnan(ratings).any(axis=1)]
    n, k = whole.shape
    out = len(ratings) - n
    left = f"{out} cases that not all readers rated are left out." if out else ""
    if k < 2 or n < 3:
        reason = f"{n} cases read by all of {k} readers; 3 cases and 2 readers are the least."
        return {form: undefined(sentences(reason, left), n=n, of="cases") for form in FORMS}
    squares = _mean_squares(whole)
    if squares.cases + squares.readers + squares.rest < 1e-12:
        reason = "All ratings are the same, so there is nothing that readers could agree on."
        return {form: undefined(sentences(reason, left), n=n, of="cases") for form in FORMS}
    forms = {**_one_way(squares), **_random_readers(squares), **_these_readers(squares)}
    note = sentences(left, rough(n, "cases", ROUGH_BELOW))
    return {form: _estimate(form, forms[form], squares, note) for form in FORMS}


def _mean_squares(ratings: Float[np.ndarray, "cases readers"]) -> _Squares:
    n, k = ratings.shape
    centred = ratings - ratings.mean()
    of_case, of_reader = centred.mean(1), centred.mean(0)
    rest = centred - of_case[:, None] - of_reader[None]
    rest[np.abs(rest) < 1e-12] = 0.0  # rounding is no disagreement
    return _Squares(
        cases=float(k * (of_case**2).sum() / (n - 1)),
        readers=float(n * (of_reader**2).sum() / (k - 1)),
        rest=float((rest**2).sum() / ((n - 1) * (k - 1))),
        within=float(((ratings - ratings.mean(1, keepdims=True)) ** 2).sum() / (n * (k - 1))),
        n=n,
        k=k,
    )


Three = tuple[float, float, float]  # value, low, high


def _one_way(s: _Squares) -> dict[str, Three]:
    return _simple(s, s.within, s.n * (s.k - 1), "1")


def _these_readers(s: _Squares) -> dict[str, Three]:
    return _simple(s, s.rest, (s.n - 1) * (s.k - 1), "3")


def _simple(s: _Squares, noise: float, noise_df: int, name: str) -> dict[str, Three]:
    low = s.cases / float(fisher.ppf(0.975, s.n - 1, noise_df))
    high = s.cases * float(fisher.ppf(0.975, noise_df, s.n - 1))
    single = [_ratio(top - noise, top + (s.k - 1) * noise) for top in (s.cases, low, high)]
    mean = [_ratio(top - noise, top) for top in (s.cases, low, high)]
    return {
        f"ICC({name},1)": (single[0], single[1], single[2]),
        f"ICC({name},k)": (mean[0], mean[1], mean[2]),
    }


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else float("nan")


def _random_readers(s: _Squares) -> dict[str, Three]:
    n, k = s.n, s.k
    value = _ratio(s.cases - s.rest, s.cases + (k - 1) * s.rest + k * (s.readers - s.rest) / n)
    mean = _ratio(s.cases - s.rest, s.cases + (s.readers - s.rest) / n)
    if s.rest == 0:  # readers differ by a shift alone: the approximate df do not exist
        return {
            "ICC(2,1)": (value, float("nan"), float("nan")),
            "ICC(2,k)": (mean, float("nan"), float("nan")),
        }
    ratio = s.readers / s.rest
    part = n * (1 + (k - 1) * value) - k * value
    df = (k - 1) * (n - 1) * (k * value * ratio + part) ** 2
    df /= (n - 1) * k**2 * value**2 * ratio**2 + part**2
    above, below = float(fisher.ppf(0.975, n - 1, df)), float(fisher.ppf(0.975, df, n - 1))
    others = k * s.readers + (k * n - k - n) * s.rest
    low = n * (s.cases - above * s.rest) / (above * others + n * s.cases)
    high = n * (below * s.cases - s.rest) / (others + n * below * s.cases)
    return {
        "ICC(2,1)": (value, low, high),
        "ICC(2,k)": (mean, _stepped_up(low, k), _stepped_up(high, k)),
    }


def _stepped_up(single: float, k: int) -> float:
    return k * single / (1 + (k - 1) * single)


def _estimate(form: str, figures: Three, squares: _Squares, note: str) -> Estimate:
    value, low, high = figures
    method = f"{form}, two-way analysis of variance, F interval"
    if form.startswith("ICC(1"):
        method = f"{form}, one-way analysis of variance, F interval"
    if np.isnan(value):
        reason = "All cases have the same mean rating, so there is nothing to agree on."
        return undefined(sentences(reason, note), n=squares.n, of="cases", method=method)
    if squares.rest == 0:
        reason = (
            IN_FULL
            if squares.readers < 1e-12
            else ("Readers differ by a constant alone, and the interval does not exist.")
        )
        return Estimate(
            value=value, n=squares.n, of="cases", method=method, note=sentences(reason, note)
        )
    return Estimate(
        value=value, low=low, high=high, n=squares.n, of="cases", method=method, note=note
    )
