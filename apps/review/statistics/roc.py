r"""Areas under ROC curves: DeLong for readers one by one, Obuchowski and Rockette for all.

The second asks whether readers find the disease as well in one modality (or arm) as in another,
for readers and cases in general: an analysis of variance of the readers' areas, whose error is
corrected by the covariances that come from reading the same cases, with the degrees of freedom of
Hillis (2007). The covariances are DeLong's.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import f as fisher
from scipy.stats import norm
from scipy.stats import t as student

from apps.review.statistics.estimate import Estimate, undefined
from ml.evaluation.metrics import areas_with_covariance

LEAST_READERS = 2
FEW_READERS = 4
NORMAL_DF = 1e6  # degrees of freedom from which on Student's t is the normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Two areas on the same cases.

    Attributes:
        difference: first minus second, DeLong's interval.
        z, p: against no difference; None where the difference does not vary.
    """

    difference: Estimate
    z: float | None
    p: float | None


def compare_curves(
    first: Float[np.ndarray, " cases"],
    second: Float[np.ndarray, " cases"],
    truth: Int[np.ndarray, " cases"],
) -> PairedTest:
    """DeLong's test of two areas under the curve on the same cases.

    Raises:
        OneClassError: fewer than two cases with or without the disease.
    """
    areas, covariance = areas_with_covariance(np.stack([first, second]), truth)
    value, n = float(areas[0] - areas[1]), len(truth)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance < 1e-15:
        note = "The two curves order all cases alike, so their difference has no spread."
        difference = Estimate(value=value, n=n, of="cases", method="DeLong", note=note)
        return PairedTest(difference=difference, z=None, p=None)
    z = value / variance**0.5
    reach = float(norm.ppf(0.975)) * variance**0.5
    difference = Estimate(
        value=value, low=value - reach, high=value + reach, n=n, of="cases", method="DeLong"
    )
    return PairedTest(difference=difference, z=z, p=float(2 * norm.sf(abs(z))))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderAreas:
    """Mean areas of several readers in several modalities.

    Attributes:
        areas: mean over readers, one for each modality, for readers and cases in general.
        f, ddf, p: test that all modalities are alike; None if it is undefined.
        differences: first minus each other modality.
        by_reader: area of each modality and reader.
    """

    areas: tuple[Estimate, ...]
    f: float | None
    ddf: float | None
    p: float | None
    differences: tuple[Estimate, ...]
    by_reader: tuple[tuple[float, ...], ...]


def compare_modalities(
    ratings: Float[np.ndarray, "modalities readers cases"], truth: Int[np.ndarray, " cases"]
) -> ReaderAreas:
    """Obuchowski and Rockette where all readers read all cases in all modalities.

    Raises:
        OneClassError: fewer than two cases with or without the disease.
        ValueError: a missing rating.
    """
    if np.isnan(ratings).any():
        raise ValueError("Every reader must have read every case in every modality.")
    modalities, readers, cases = ratings.shape
    areas, covariance = areas_with_covariance(ratings.reshape(-1, cases), truth)
    return _obuchowski_rockette(areas.reshape(modalities, readers), covariance, cases=cases)


def compare_arms_by_area(
    arms: list[tuple[Float[np.ndarray, "readers cases"], Int[np.ndarray, " cases"]]],
) -> ReaderAreas:
    """The same where each arm has cases of its own, read by the same readers.

    Args:
        arms: ratings and truth of each arm; no rating missing.

    Raises:
        OneClassError: an arm has fewer than two cases with or without the disease.
        ValueError: a missing rating, or arms with different numbers of readers.
    """
    readers = {len(ratings) for ratings, _ in arms}
    if len(readers) > 1 or any(np.isnan(ratings).any() for ratings, _ in arms):
        raise ValueError("The same readers must have read every case of every arm.")
    each = [areas_with_covariance(ratings, truth) for ratings, truth in arms]
    [count] = readers
    covariance = np.zeros((len(arms) * count, len(arms) * count))
    for place, (_, within) in enumerate(each):
        block = slice(place * count, (place + 1) * count)
        covariance[block, block] = within  # different cases share nothing
    return _obuchowski_rockette(
        np.stack([areas for areas, _ in each]),
        covariance,
        cases=sum(len(truth) for _, truth in arms),
    )


def _obuchowski_rockette(
    areas: Float[np.ndarray, "modalities readers"],
    covariance: Float[np.ndarray, "curves curves"],
    *,
    cases: int,
) -> ReaderAreas:
    t, r = areas.shape
    by_reader = tuple(tuple(float(a) for a in row) for row in areas)
    if r < LEAST_READERS:
        reason = f"{r} reader: two are the least that tell how much readers differ; use DeLong."
        return ReaderAreas(
            areas=tuple(undefined(reason, n=cases, of="cases") for _ in range(t)),
            f=None,
            ddf=None,
            p=None,
            differences=tuple(undefined(reason, n=cases, of="cases") for _ in range(t - 1)),
            by_reader=by_reader,
        )
    cov2, cov3 = _between_readers(covariance.reshape(t, r, t, r))
    means = areas.mean(1)
    singles = tuple(_mean_area(float(means[i]), areas[i], cov2[i], cases, r) for i in range(t))
    if t == 1:
        return ReaderAreas(
            areas=singles, f=None, ddf=None, p=None, differences=(), by_reader=by_reader
        )
    of_modality = r * float(((means - means.mean()) ** 2).sum()) / (t - 1)
    rest = areas - areas.mean(1, keepdims=True) - areas.mean(0, keepdims=True) + areas.mean()
    of_rest = float((rest**2).sum()) / ((t - 1) * (r - 1))
    error = of_rest + max(r * (float(cov2.mean()) - cov3), 0.0)
    if error < 1e-15:
        reason = "Readers and cases do not vary the areas, so there is nothing to test against."
        differences = tuple(
            Estimate(value=float(means[0] - means[i]), n=cases, of="cases", note=reason)
            for i in range(1, t)
        )
        return ReaderAreas(
            areas=singles, f=None, ddf=None, p=None, differences=differences, by_reader=by_reader
        )
    ddf = _hillis(error, of_rest, (t - 1) * (r - 1))
    reach = float(student.ppf(0.975, ddf)) * (2 / r * error) ** 0.5
    differences = tuple(
        _with_reach(float(means[0] - means[i]), reach, -1.0, cases, ddf, r) for i in range(1, t)
    )
    f = of_modality / error
    p = float(fisher.sf(f, t - 1, ddf))
    return ReaderAreas(
        areas=singles, f=f, ddf=ddf, p=p, differences=differences, by_reader=by_reader
    )


def _between_readers(
    covariance: Float[np.ndarray, "modalities readers modalities readers"],
) -> tuple[Float[np.ndarray, " modalities"], float]:
    """Mean covariance of two readers: in each modality, and in two different ones."""
    t, r = covariance.shape[:2]
    others = ~np.eye(r, dtype=bool)
    within = np.array([covariance[i, :, i, :][others].mean() for i in range(t)])
    across = [covariance[i, :, j, :][others].mean() for i in range(t) for j in range(t) if i != j]
    return within, float(np.mean(across)) if across else 0.0


def _mean_area(
    value: float, areas: Float[np.ndarray, " readers"], cov2: float, cases: int, r: int
) -> Estimate:
    of_readers = float(np.var(areas, ddof=1))
    error = of_readers + max(r * float(cov2), 0.0)
    if error < 1e-15:
        note = "All readers have the same area and cases do not vary it: there is no interval."
        return Estimate(value=value, n=cases, of="cases", note=note)
    ddf = _hillis(error, of_readers, r - 1)
    reach = float(student.ppf(0.975, ddf)) * (error / r) ** 0.5
    return _with_reach(value, reach, 0.0, cases, ddf, r)


def _hillis(error: float, of_readers: float, df: int) -> float:
    return min(error**2 * df / of_readers**2, NORMAL_DF) if of_readers > 0 else NORMAL_DF


def _with_reach(
    value: float, reach: float, least: float, cases: int, ddf: float, readers: int
) -> Estimate:
    few = readers < FEW_READERS
    return Estimate(
        value=value,
        low=max(least, value - reach),
        high=min(1.0, value + reach),
        n=cases,
        of="cases",
        method=f"Obuchowski and Rockette, {ddf:.1f} degrees of freedom (Hillis)",
        note=f"{readers} readers: the interval rests on few readers and is wide." if few else "",
    )
