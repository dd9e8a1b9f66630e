"""The challenger beside the champion on the same patients, as figures over many of them.

Standard library alone: a web process computes it. Nobody is shown alone: counts below five hide.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from apps.inference.models import InferenceRun, ShadowPrediction, ShadowRun
from apps.inference.performance import (
    AD,
    CLASS_NEEDS,
    CN,
    DIAGNOSIS,
    FEWEST_TOLD,
    GROUP_NEEDS,
    NORMAL_QUANTILE,
    Figure,
    auc,
    share_below,
    wilson,
)
from apps.jobs.models import JobState
from apps.patients.models import Finding
from apps.registry.models import Bundle

TENTHS = 10
MOST_PEOPLE = 20_000
"""The newest answers of so many patients are compared, at most."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What the two say of one patient.

    Attributes:
        has_ad: recorded diagnosis; None where none of AD or CN is recorded.
    """

    champion: float | None
    challenger: float | None
    champion_answer: str
    challenger_answer: str
    has_ad: bool | None


@dataclass(frozen=True, slots=True)
class Change:
    """How many answers go from one kind to another; `n` is None where they are under five."""

    champion: str
    challenger: str
    n: int | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """The two over many patients.

    Attributes:
        people: patients whom both answered in some way.
        numbered: of these, with a number from both.
        agreeing: share with the same answer.
        mean_difference: challenger minus champion; None of fewer than five.
        limits: between which 95 % of the differences lie (Bland and Altman 1986).
        changes: kinds of answers that are not the same.
        labelled, with_ad: of the numbered, with a recorded diagnosis, and with AD.
        champion_auc, challenger_auc, auc_difference: on these, paired; None of too few.
        cells: tenth of the champion's probability, tenth of the challenger's, and how many.
        bands: tenth of the mean of both, its middle, mean difference and how many.
    """

    people: int
    numbered: int
    agreeing: Figure | None
    mean_difference: Figure | None
    limits: tuple[float, float] | None
    changes: Sequence[Change]
    labelled: int
    with_ad: int
    champion_auc: Figure | None
    challenger_auc: Figure | None
    auc_difference: Figure | None
    cells: Sequence[dict[str, Any]]
    bands: Sequence[dict[str, Any]]

    @property
    def told(self) -> str:
        """How many there are, without counting single people out."""
        return f"fewer than {FEWEST_TOLD}" if 0 < self.people < FEWEST_TOLD else f"{self.people:,}"


def pairs_of(challenger: Bundle, champion: Bundle) -> list[Pair]:
    """The newest pair of answers of each patient whom both models have scored."""
    rows = (
        ShadowPrediction.objects.filter(
            shadow__bundle=challenger, prediction__run__bundle=champion
        )
        .order_by("-prediction__created_at", "-pk")
        .values_list(
            "prediction__patient", "prediction__probability", "probability",
            "prediction__answer", "answer",
        )[: 2 * MOST_PEOPLE]
    )  # fmt: skip
    newest: dict[Any, tuple[Any, ...]] = {}
    for patient, *rest in rows:
        newest.setdefault(patient, tuple(rest))
        if len(newest) == MOST_PEOPLE:
            break
    found = Finding.objects.filter(patient__in=list(newest), concept=DIAGNOSIS).newest()
    diagnoses = dict(found.values_list("patient_id", "value"))
    return [
        Pair(ours, theirs, says, would_say, {AD: True, CN: False}.get(diagnoses.get(patient, -1.0)))
        for patient, (ours, theirs, says, would_say) in newest.items()
    ]


def agreement(pairs: Sequence[Pair]) -> Agreement:
    """Compare the two."""
    both = [
        (pair.champion, pair.challenger, pair.has_ad)
        for pair in pairs
        if pair.champion is not None and pair.challenger is not None
    ]
    enough = len(both) >= FEWEST_TOLD
    differences = [theirs - ours for ours, theirs, _ in both]
    mean, spread = _moments(differences) if enough else (0.0, 0.0)
    reach = NORMAL_QUANTILE * spread / sqrt(len(both)) if enough else 0.0
    same = sum(pair.champion_answer == pair.challenger_answer for pair in pairs)
    known = [(ours, theirs, bool(ad)) for ours, theirs, ad in both if ad is not None]
    with_ad = sum(ad for *_, ad in known)
    judged = len(known) >= GROUP_NEEDS and min(with_ad, len(known) - with_ad) >= CLASS_NEEDS
    labels = [ad for *_, ad in known]
    first, second = [ours for ours, *_ in known], [theirs for _, theirs, _ in known]
    return Agreement(
        people=len(pairs),
        numbered=len(both),
        agreeing=wilson(same, len(pairs)) if len(pairs) >= FEWEST_TOLD else None,
        mean_difference=Figure(mean, mean - reach, mean + reach) if enough else None,
        limits=(mean - NORMAL_QUANTILE * spread, mean + NORMAL_QUANTILE * spread)
        if enough
        else None,
        changes=_changes(pairs),
        labelled=len(known),
        with_ad=with_ad,
        champion_auc=auc(first, labels) if judged else None,
        challenger_auc=auc(second, labels) if judged else None,
        auc_difference=paired_auc(second, first, labels) if judged else None,
        cells=_cells([(ours, theirs) for ours, theirs, _ in both]),
        bands=_bands([(ours, theirs) for ours, theirs, _ in both]),
    )


def paired_auc(first: Sequence[float], second: Sequence[float], has_ad: Sequence[bool]) -> Figure:
    """AUC of `first` minus that of `second` on the same people, with DeLong's paired interval."""
    ours, theirs = (_placements(scores, has_ad) for scores in (first, second))
    value, variance = 0.0, 0.0
    for mine, other in zip(ours, theirs, strict=True):
        gaps = [a - b for a, b in zip(mine, other, strict=True)]
        mean, spread = _moments(gaps)
        value += mean / 2  # each of the two kinds of placement has the same mean: the area
        variance += spread**2 / len(gaps)
    reach = NORMAL_QUANTILE * sqrt(variance)
    return Figure(value, max(-1.0, value - reach), min(1.0, value + reach))


def shadowed_champion(challenger: Bundle) -> Bundle | None:
    """The champion beside whom a bundle has scored last."""
    newest = (
        ShadowRun.objects.filter(bundle=challenger, run__bundle__isnull=False)
        .order_by("-requested_at")
        .select_related("run__bundle")
        .first()
    )
    return newest.run.bundle if newest else None


def waiting(challenger: Bundle) -> int:
    """Runs that the challenger has yet to answer."""
    return ShadowRun.objects.filter(bundle=challenger).active().count()


def failed(challenger: Bundle) -> int:
    """Runs that it could not answer."""
    return ShadowRun.objects.filter(bundle=challenger, state=JobState.FAILED).count()


def runs_answered(challenger: Bundle) -> int:
    """Runs that it has answered."""
    done = ShadowRun.objects.filter(bundle=challenger, state=JobState.SUCCEEDED)
    return InferenceRun.objects.filter(shadows__in=done).count()


def _changes(pairs: Sequence[Pair]) -> list[Change]:
    counts = Counter(
        (pair.champion_answer, pair.challenger_answer)
        for pair in pairs
        if pair.champion_answer != pair.challenger_answer
    )
    return [
        Change(champion, challenger, n if n >= FEWEST_TOLD else None)
        for (champion, challenger), n in counts.most_common()
    ]


def _cells(both: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    counts = Counter((_tenth(ours), _tenth(theirs)) for ours, theirs in both)
    return [
        {"champion": x, "challenger": y, "n": n if n >= FEWEST_TOLD else None}
        for (x, y), n in sorted(counts.items())
    ]


def _bands(both: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    """Differences over the mean of both, by tenths; a tenth of fewer than five is left out."""
    tenths: dict[int, list[float]] = {}
    for ours, theirs in both:
        tenths.setdefault(_tenth((ours + theirs) / 2), []).append(theirs - ours)
    found = []
    for tenth, gaps in sorted(tenths.items()):
        if len(gaps) < FEWEST_TOLD:
            continue
        mean, spread = _moments(gaps)
        reach = NORMAL_QUANTILE * spread / sqrt(len(gaps))
        found.append(
            {
                "middle": (tenth + 0.5) / TENTHS,
                "value": mean,
                "low": mean - reach,
                "high": mean + reach,
                "n": len(gaps),
            }
        )
    return found


def _tenth(probability: float) -> int:
    return min(TENTHS - 1, int(probability * TENTHS))


def _placements(scores: Sequence[float], has_ad: Sequence[bool]) -> tuple[list[float], list[float]]:
    """Of each person the share of the other class that lies on the right side; ties count half."""
    with_ad = sorted(score for score, ad in zip(scores, has_ad, strict=True) if ad)
    without = sorted(score for score, ad in zip(scores, has_ad, strict=True) if not ad)
    return (
        [share_below(score, without) for score, ad in zip(scores, has_ad, strict=True) if ad],
        [1 - share_below(s, with_ad) for s, ad in zip(scores, has_ad, strict=True) if not ad],
    )


def _moments(values: Sequence[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, sqrt(sum((each - mean) ** 2 for each in values) / max(1, len(values) - 1))
