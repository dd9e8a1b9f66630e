r"""How far a figure would move with other readers and other cases.

A study is one draw of readers and one of cases, and ratings share both, so rows are not
independent. Readers and cases (within their arm) are drawn again with replacement, each alone and
both together. Drawing both counts the noise of a single rating three times (Owen 2007, 'The
pigeonhole bootstrap'), so the parts are taken apart and added once:

$$V_{RC} = r + c + 3e,\quad V_R = r + e,\quad V_C = c + e,\qquad V = V_R + \max(V_C - e, 0)$$

with $e = V_{RC} - V_R - V_C$, each part divided by the share of it that drawing with replacement
keeps, $(R-1)/R$ and $(C-A)/C$ for $A$ arms. This is the variance of Obuchowski, Rockette and
Hillis, and the interval takes their degrees of freedom (Satterthwaite), but never fewer than the
smaller part has: where the parts nearly cancel, the formula falls below 1, and an interval would
be the whole scale. With fewer than `LEAST_READERS` readers, nothing can be said of readers in
general: cases alone are drawn, and the note says so.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from scipy.stats import t as student

Weights = Float[np.ndarray, "replicates units"]
Statistic = Callable[[Weights, Weights], Float[np.ndarray, " replicates"]]
Progress = Callable[[float], None]

LEAST_READERS = 4
LEAST_DEFINED = 0.95  # share of replicates in which a figure must exist
BLOCK = 250  # replicates at once: a few MB, and a progress bar that moves


def no_progress(share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Resampling:
    """How often each reader and each case is drawn in each replicate; one for all questions.

    Attributes:
        readers, cases: counts; rows are replicates.
        arms: how many arms the cases were drawn within.
    """

    readers: Weights
    cases: Weights
    arms: int

    def of_cases(self, kept: Shaped[np.ndarray, " cases"], arms: int) -> "Resampling":
        """The same draws seen by a figure that reads some cases alone."""
        return Resampling(readers=self.readers, cases=self.cases[:, kept], arms=arms)


def resample(
    readers: int, arms: Shaped[np.ndarray, " cases"], *, replicates: int, seed: int
) -> Resampling:
    """Draw readers, and cases within each arm; the same seed draws the same."""
    rng = np.random.default_rng(seed)
    by_reader = rng.multinomial(readers, np.full(readers, 1 / readers), size=replicates)
    by_case = np.zeros((replicates, len(arms)))
    names = np.unique(arms)
    for arm in names:
        mine = np.flatnonzero(arms == arm)
        by_case[:, mine] = rng.multinomial(
            len(mine), np.full(len(mine), 1 / len(mine)), size=replicates
        )
    return Resampling(readers=by_reader.astype(float), cases=by_case, arms=len(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure and how far it would move with other readers and cases.

    Attributes:
        value: the figure; None if it is undefined.
        error: its standard error; None if it is undefined, 0 if no draw moves the figure.
        df: degrees of freedom.
        random_readers: whether readers were drawn too.
        note: why value or error are undefined, or what the interval does not speak of.
    """

    value: float | None
    error: float | None
    df: float
    random_readers: bool
    note: str

    def reach(self, level: float = 0.95) -> float:
        """Half the width of the interval at a level of confidence."""
        if self.error is None:
            raise ValueError("There is no interval; `note` says why.")
        return float(student.ppf((1 + level) / 2, self.df)) * self.error

    def p(self, against: float, *, tail: str = "both") -> float:
        """Probability of a figure this far from `against`: above, below or on both sides of it."""
        if self.value is None or not self.error:
            raise ValueError("There is no test; `note` says why.")
        distance = (self.value - against) / self.error
        if tail == "both":
            return float(2 * student.sf(abs(distance), self.df))
        return float(student.sf(distance if tail == "above" else -distance, self.df))


def spread(
    statistic: Statistic, resampling: Resampling, progress: Progress = no_progress
) -> Spread:
    """Standard error of a figure over readers and cases.

    Args:
        statistic: from weights of readers and of cases, one row a replicate, to one value a
            replicate; NaN where it does not exist.
        resampling: the draws.
        progress: told the share that is done.
    """
    replicates, readers = resampling.readers.shape
    cases = resampling.cases.shape[1]
    random_readers = readers >= LEAST_READERS
    value = float(statistic(np.ones((1, readers)), np.ones((1, cases)))[0])
    if np.isnan(value):
        return Spread(
            value=None, error=None, df=0, random_readers=False, note="There are no ratings for it."
        )
    if cases <= resampling.arms:
        note = "One case an arm: how much cases differ cannot be told."
        return Spread(value=value, error=None, df=0, random_readers=False, note=note)
    drawn = []
    for start in range(0, replicates, BLOCK):
        block = slice(start, start + BLOCK)
        by_reader, by_case = resampling.readers[block], resampling.cases[block]
        same = np.ones_like(by_reader)
        rows = [statistic(same, by_case)]
        if random_readers:
            rows.append(statistic(by_reader, np.ones_like(by_case)))
            rows.append(statistic(by_reader, by_case))
        drawn.append(np.stack(rows))
        progress(min(1.0, (start + BLOCK) / replicates))
    replicated = np.concatenate(drawn, axis=1)
    if np.isfinite(replicated).mean(axis=1).min() < LEAST_DEFINED:
        note = "The figure does not exist in many of the redrawn studies: too few ratings."
        return Spread(value=value, error=None, df=0, random_readers=False, note=note)
    variances = np.nanvar(replicated, axis=1)
    variance, df = _variance(variances, readers, cases, resampling.arms)
    return Spread(
        value=value,
        error=float(np.sqrt(variance)),
        df=df,
        random_readers=random_readers,
        note=few_readers(readers),
    )


def _variance(
    variances: Float[np.ndarray, " ways"], readers: int, cases: int, arms: int
) -> tuple[float, float]:
    case_df, reader_df = cases - arms, readers - 1
    of_cases = float(variances[0]) * cases / case_df
    if len(variances) == 1:
        return of_cases, float(case_df)
    of_readers = float(variances[1]) * readers / reader_df
    noise = max(float(variances[2] - variances[1] - variances[0]), 0.0)
    noise *= (cases / case_df) * (readers / reader_df)
    case_part = max(of_cases - noise, 0.0)
    variance = of_readers + case_part
    if variance == 0:
        return 0.0, float(case_df)
    uncertain = of_readers**2 / reader_df
    if case_part > 0:
        uncertain += of_cases**2 / case_df + noise**2 / (case_df * reader_df)
    df = max(variance**2 / uncertain, float(min(case_df, reader_df)))
    return variance, min(df, float(case_df + reader_df))


def few_readers(readers: int) -> str:
    """What an interval over few readers does not speak of; empty if there are enough."""
    if readers >= LEAST_READERS:
        return ""
    who = "1 reader" if readers == 1 else f"{readers} readers"
    return (
        f"{who}, and {LEAST_READERS} are needed to tell how much readers differ: "
        "the interval is about other cases read by the same people, not about other readers."
    )
