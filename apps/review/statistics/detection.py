r"""Can readers tell pseudo-MRIs from real scans? Accuracy against chance, and d'.

The signal is "synthetic": a hit is a pseudo-MRI called synthetic, a false alarm a real scan called
synthetic. $d' = z(H) - z(F)$ is 0 where readers cannot tell, whatever they like to answer; the
criterion $c = -(z(H) + z(F))/2$ is above 0 where they prefer "real".
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import binomtest, norm
from statsmodels.stats.proportion import proportion_confint

from apps.review.statistics.bootstrap import (
    Progress,
    Resampling,
    Weights,
    no_progress,
    spread,
)
from apps.review.statistics.differences import from_spread, small_study, weighted_mean
from apps.review.statistics.estimate import Estimate, sentences, undefined
from apps.review.statistics.ratings import Table

UNEQUAL = 0.1  # arms whose sizes differ by more than this share are not told from one half by count


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactTest:
    """A share against a stated value, for one sample.

    Attributes:
        share: with the exact interval of Clopper and Pearson, which covers at least 95 %.
        chance: the value tested against.
        p: exact, two-sided.
    """

    share: Estimate
    chance: float
    p: float | None


def exact_test(hits: int, n: int, chance: float = 0.5) -> ExactTest:
    """The exact binomial test; takes the answers as independent, as those of one reader are.

    Example:
        >>> round(exact_test(779, 1500).p, 3)
        0.141
    """
    if n == 0:
        return ExactTest(
            share=undefined("There are no answers.", n=0, of="answers"), chance=chance, p=None
        )
    low, high = proportion_confint(hits, n, method="beta")
    share = Estimate(
        value=hits / n,
        low=float(low),
        high=float(high),
        n=n,
        of="answers",
        method="exact binomial (Clopper and Pearson)",
        note=small_study(n),
    )
    return ExactTest(share=share, chance=chance, p=float(binomtest(hits, n, chance).pvalue))


def d_prime(hits: int, signals: int, false_alarms: int, noises: int) -> Estimate:
    r"""d' from counts, with the error of Gourevitch and Galanter (1967).

    $$\operatorname{var} d' = \frac{H(1-H)}{n_s\,\varphi(z(H))^2}
    + \frac{F(1-F)}{n_n\,\varphi(z(F))^2}$$

    Where a rate is 0 or 1, d' would be infinite: half an answer is added to each kind (Hautus 1995)
    and the note says so.

    Example: the paper's Table 3, real scans called real by 27 of 50 and pseudo-MRIs by 21 of 50.
        >>> read = d_prime(29, 50, 23, 50)
        >>> [round(x, 2) for x in (read.value, read.low, read.high)]
        [0.3, -0.19, 0.8]
    """
    if not signals or not noises:
        reason = "d' needs answers about cases of both arms."
        return undefined(reason, n=signals + noises, of="answers", method="d'")
    (hit, n_s), (alarm, n_n), note = _rates(hits, signals, false_alarms, noises)
    value = float(norm.ppf(hit) - norm.ppf(alarm))
    error = math.sqrt(_probit_variance(hit, n_s) + _probit_variance(alarm, n_n))
    reach = float(norm.ppf(0.975)) * error
    return Estimate(
        value=value,
        low=value - reach,
        high=value + reach,
        n=signals + noises,
        of="answers",
        method="Gourevitch and Galanter, answers taken as independent",
        note=sentences(note, small_study(min(signals, noises))),
    )


def _rates(
    hits: int, signals: int, alarms: int, noises: int
) -> tuple[tuple[float, float], tuple[float, float], str]:
    if 0 < hits < signals and 0 < alarms < noises:
        return (hits / signals, signals), (alarms / noises, noises), ""
    note = "An arm got one answer only: half an answer of each kind was added, or d' is infinite."
    signal_rate, noise_rate = (hits + 0.5) / (signals + 1), (alarms + 0.5) / (noises + 1)
    return (signal_rate, signals + 1), (noise_rate, noises + 1), note


def _probit_variance(rate: float, n: float) -> float:
    return float(rate * (1 - rate) / (n * norm.pdf(norm.ppf(rate)) ** 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderDetection:
    """One reader's answers to "real or synthetic?".

    Attributes:
        reader: name.
        accuracy: against one half.
        d_prime, criterion: of the same answers; the criterion has no interval.
    """

    reader: str
    accuracy: ExactTest
    d_prime: Estimate
    criterion: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What all readers together can tell.

    Attributes:
        accuracy: mean of the two arms' shares of right answers, over readers and cases.
        p: of accuracy against one half, two-sided; None if there is no test.
        pooled: the exact test of all answers as if they were independent.
        d_prime: of the pooled rates, over readers and cases.
        criterion: of the pooled rates.
        readers: each reader alone.
    """

    accuracy: Estimate
    p: float | None
    pooled: ExactTest
    d_prime: Estimate
    criterion: float | None
    readers: tuple[ReaderDetection, ...]


def detect(
    table: Table,
    real: str,
    synthetic: str,
    *,
    resampling: Resampling,
    progress: Progress = no_progress,
) -> Detection:
    """Accuracy and d' of all readers and of each.

    Args:
        table: answers to "real or synthetic?": 1 is "synthetic".
        real, synthetic: names of the arms.
        resampling: draws of the readers and cases of `table`.
        progress: told the share that is done.
    """
    both = np.isin(table.arms, (real, synthetic))
    drawn = resampling.of_cases(both, arms=2)
    signal = table.arms[both] == synthetic
    said = table.values[both]
    hits, alarms = weighted_mean(said[signal]), weighted_mean(said[~signal])

    def accuracy(readers: Weights, cases: Weights) -> Float[np.ndarray, " replicates"]:
        right = hits(readers, cases[:, signal]) + 1 - alarms(readers, cases[:, ~signal])
        return np.asarray(right / 2)

    half = 0.5 / max(1, min((~np.isnan(said[mine])).sum() for mine in (signal, ~signal)))

    def sensitivity(readers: Weights, cases: Weights) -> Float[np.ndarray, " replicates"]:
        rates = (hits(readers, cases[:, signal]), alarms(readers, cases[:, ~signal]))
        z = [norm.ppf(np.clip(rate, half, 1 - half)) for rate in rates]
        return np.asarray(z[0] - z[1])

    each = tuple(
        _one_reader(str(reader), column, signal)
        for reader, column in zip(table.readers, said.T, strict=True)
    )
    everyone = _one_reader("", said.ravel(), np.repeat(signal, said.shape[1]))
    n = everyone.accuracy.share.n
    if everyone.d_prime.value is None:
        nothing = undefined(everyone.d_prime.note, n=n, of="answers")
        return Detection(
            accuracy=nothing,
            p=None,
            pooled=everyone.accuracy,
            d_prime=nothing,
            criterion=None,
            readers=each,
        )
    of_accuracy = spread(accuracy, drawn, lambda s: progress(s / 2))
    of_d_prime = spread(sensitivity, drawn, lambda s: progress((1 + s) / 2))
    note = sentences(_unequal(said, signal), small_study(n))
    return Detection(
        accuracy=from_spread(of_accuracy, n=n, of="answers", least=0.0, most=1.0, note=note),
        p=of_accuracy.p(0.5) if of_accuracy.error else None,
        pooled=everyone.accuracy,
        d_prime=from_spread(
            of_d_prime, n=n, of="answers", least=-math.inf, most=math.inf, note=small_study(n)
        ),
        criterion=everyone.criterion,
        readers=each,
    )


def _one_reader(
    reader: str, said: Float[np.ndarray, " cases"], signal: Float[np.ndarray, " cases"]
) -> ReaderDetection:
    known = ~np.isnan(said)
    signals, noises = int((known & signal).sum()), int((known & ~signal).sum())
    hits, alarms = int((said[signal] == 1).sum()), int((said[~signal] == 1).sum())
    criterion = None
    if signals and noises:
        (hit, _), (alarm, _), _ = _rates(hits, signals, alarms, noises)
        criterion = float(-(norm.ppf(hit) + norm.ppf(alarm)) / 2)
    return ReaderDetection(
        reader=reader,
        accuracy=exact_test(hits + noises - alarms, signals + noises),
        d_prime=d_prime(hits, signals, alarms, noises),
        criterion=criterion,
    )


def _unequal(said: Float[np.ndarray, "cases readers"], signal: Float[np.ndarray, " cases"]) -> str:
    sizes = [int((~np.isnan(said[mine])).sum()) for mine in (signal, ~signal)]
    if max(sizes) - min(sizes) <= UNEQUAL * max(sizes):
        return ""
    return (
        f"The arms have {sizes[1]} and {sizes[0]} answers: who always says the same is right "
        "more often or less often than by halves, so read d' and not the exact test."
    )
