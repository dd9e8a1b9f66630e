"""How the answers of a cohort do where a diagnosis is recorded, and how they differ by group.

Standard library alone: a web process computes it from at most 10,000 patients' rows.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from uuid import UUID

from apps.inference.models import Prediction
from apps.patients.models import Cohort, Finding
from apps.patients.profiling import Sample, sample_of
from ml.records import Answer

DIAGNOSIS, CN, AD = "diagnosis", 0.0, 2.0
APOE4 = "apoe4"
CURVE_NEEDS = 200  # of each class, or a calibration curve is mostly noise
GROUP_NEEDS = 30
CLASS_NEEDS = 10  # of each class for an AUC
BINS = 10
NORMAL_QUANTILE = 1.959963984540054
FEWEST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Answered:
    """One patient's newest answer, with what groups are made of."""

    probability: float
    answer: str
    female: float | None
    age_years: float | None
    apoe4: float | None
    has_ad: bool | None


@dataclass(frozen=True, slots=True)
class Bin:
    """A tenth of the labelled patients, by probability.

    Attributes:
        mean: of their probabilities.
        observed: share of them with AD.
    """

    n: int
    mean: float
    observed: Figure


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One row of the table; figures are None where people are too few."""

    name: str
    n: int
    labelled: int
    with_ad: int
    mean: float | None
    certain: float | None
    auc: Figure | None

    @property
    def told(self) -> str:
        """How many there are, without counting single people out."""
        return f"fewer than {FEWEST_TOLD}" if 0 < self.n < FEWEST_TOLD else f"{self.n:,}"


@dataclass(frozen=True, slots=True)
class Performance:
    """What is known of a cohort's answers.

    Attributes:
        sample: how many patients were looked at.
        answered: of those, how many have a number.
        n_ad, n_cn: of those, how many are known to have AD, or to be cognitively normal.
        other: how many have another diagnosis (mild cognitive impairment), which is neither.
        slope, intercept: of the calibration, None where the curve's need is not met.
        mean_ad: mean probability of the labelled, beside the share of them with AD.
    """

    sample: Sample
    answered: int
    n_ad: int
    n_cn: int
    auc: Figure | None
    mean: float | None
    slope: Figure | None
    intercept: Figure | None
    bins: Sequence[Bin]
    groups: Sequence[tuple[str, Sequence[Subgroup]]]

    @property
    def labelled(self) -> int:
        return self.n_ad + self.n_cn

    @property
    def share_ad(self) -> float | None:
        return self.n_ad / self.labelled if self.labelled else None


def performance_of(cohort: Cohort) -> Performance:
    """Read the newest answers and diagnoses once, and compare them."""
    sample = sample_of(cohort)
    people = _answered(cohort, sample)
    known = [person for person in people if person.has_ad is not None]
    scores = [person.probability for person in known]
    has_ad = [bool(person.has_ad) for person in known]
    n_ad = sum(has_ad)
    enough = min(n_ad, len(known) - n_ad) >= CURVE_NEEDS
    slope, intercept = calibration(scores, has_ad) if enough else (None, None)
    return Performance(
        sample=sample,
        answered=len(people),
        n_ad=n_ad,
        n_cn=len(known) - n_ad,
        auc=_auc_if_enough(scores, has_ad),
        mean=sum(scores) / len(scores) if scores else None,
        slope=slope,
        intercept=intercept,
        bins=curve(scores, has_ad) if enough else [],
        groups=[(title, _subgroups(people, parts)) for title, parts in GROUPS],
    )


def auc(scores: Sequence[float], has_ad: Sequence[bool]) -> Figure:
    """Area under the ROC curve with DeLong's interval; both classes must be there."""
    with_ad = sorted(s for s, ad in zip(scores, has_ad, strict=True) if ad)
    without = sorted(s for s, ad in zip(scores, has_ad, strict=True) if not ad)
    # Of each person the share of the other class that lies on the right side; ties count half.
    of_ad = [share_below(score, without) for score in with_ad]
    of_cn = [1 - share_below(score, with_ad) for score in without]
    value = sum(of_ad) / len(of_ad)
    error = sqrt(_variance(of_ad) / len(of_ad) + _variance(of_cn) / len(of_cn))
    reach = NORMAL_QUANTILE * error
    return Figure(value, max(0.0, value - reach), min(1.0, value + reach))


def curve(scores: Sequence[float], has_ad: Sequence[bool]) -> list[Bin]:
    """Tenths by probability: what was said, and how many had AD, with Wilson's interval."""
    ordered = sorted(zip(scores, has_ad, strict=True))
    found = []
    for place in range(BINS):
        part = ordered[place * len(ordered) // BINS : (place + 1) * len(ordered) // BINS]
        if part:
            hits = sum(ad for _, ad in part)
            mean = sum(score for score, _ in part) / len(part)
            found.append(Bin(len(part), mean, wilson(hits, len(part))))
    return found


def wilson(hits: int, n: int) -> Figure:
    """A share with Wilson's interval."""
    share, z2 = hits / n, NORMAL_QUANTILE**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = NORMAL_QUANTILE * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Figure(share, max(0.0, centre - reach), min(1.0, centre + reach))


def calibration(
    scores: Sequence[float], has_ad: Sequence[bool]
) -> tuple[Figure, Figure] | tuple[None, None]:
    """Slope and intercept of the diagnosis on the log-odds of the probability, by Newton's steps.

    None where there is no finite answer: every probability is the same, or they part the classes.
    """
    with_ad = [score for score, ad in zip(scores, has_ad, strict=True) if ad]
    without = [score for score, ad in zip(scores, has_ad, strict=True) if not ad]
    if min(with_ad) >= max(without) or max(with_ad) <= min(without):
        return None, None
    x = [log(p / (1 - p)) for p in (min(max(score, 1e-6), 1 - 1e-6) for score in scores)]
    slope, intercept = 1.0, 0.0
    for _ in range(50):
        fitted = [1 / (1 + exp(-max(-35.0, min(35.0, slope * each + intercept)))) for each in x]
        weight = [p * (1 - p) for p in fitted]
        rest = [ad - p for ad, p in zip(has_ad, fitted, strict=True)]
        s0, s1 = sum(weight), sum(w * each for w, each in zip(weight, x, strict=True))
        s2 = sum(w * each * each for w, each in zip(weight, x, strict=True))
        g0, g1 = sum(rest), sum(r * each for r, each in zip(rest, x, strict=True))
        determinant = s0 * s2 - s1 * s1
        if determinant < 1e-9 * s0 * s0 or abs(slope) > 1e3:
            return None, None
        step0, step1 = (s2 * g0 - s1 * g1) / determinant, (s0 * g1 - s1 * g0) / determinant
        slope, intercept = slope + step1, intercept + step0
        if abs(step0) + abs(step1) < 1e-10:
            break
    return (
        _symmetric(slope, sqrt(s0 / determinant)),
        _symmetric(intercept, sqrt(s2 / determinant)),
    )


def _answered(cohort: Cohort, sample: Sample) -> list[Answered]:
    """The newest answers with a number, of every k-th patient where there are many."""
    rows = (
        Prediction.objects.filter(run__in=cohort.runs.order_by().values("pk"))
        .newest()
        .filter(probability__isnull=False)
        .order_by()
        .values_list(
            "patient", "probability", "answer", "patient__female", "patient__age_years",
            "patient__number",
        )
    )  # fmt: skip
    labels, alleles = (_newest(cohort, concept) for concept in (DIAGNOSIS, APOE4))
    return [
        Answered(
            probability=probability,
            answer=answer,
            female=female,
            age_years=age_years,
            apoe4=alleles.get(patient),
            has_ad={AD: True, CN: False}.get(labels.get(patient, inf)),
        )
        for patient, probability, answer, female, age_years, number in rows
        if probability is not None and number % sample.every == 0
    ]


def _newest(cohort: Cohort, concept: str) -> dict[UUID, float]:
    found = Finding.objects.filter(patient__cohort=cohort, concept=concept).newest()
    return dict(found.values_list("patient_id", "value"))


def _subgroups(
    people: Sequence[Answered], parts: Iterable[tuple[str, Callable[[Answered], bool]]]
) -> list[Subgroup]:
    return [
        _subgroup(name, [person for person in people if belongs(person)]) for name, belongs in parts
    ]


def _subgroup(name: str, people: Sequence[Answered]) -> Subgroup:
    known = [person for person in people if person.has_ad is not None]
    enough = len(people) >= GROUP_NEEDS
    has_ad = [bool(person.has_ad) for person in known]
    certain = sum(person.answer != Answer.UNCERTAIN for person in people)
    return Subgroup(
        name=name,
        n=len(people),
        labelled=len(known),
        with_ad=sum(has_ad),
        mean=sum(person.probability for person in people) / len(people) if enough else None,
        certain=certain / len(people) if enough else None,
        auc=_auc_if_enough([person.probability for person in known], has_ad),
    )


def _auc_if_enough(scores: Sequence[float], has_ad: Sequence[bool]) -> Figure | None:
    n_ad = sum(has_ad)
    enough = len(scores) >= GROUP_NEEDS and min(n_ad, len(scores) - n_ad) >= CLASS_NEEDS
    return auc(scores, has_ad) if enough else None


def share_below(score: float, others: Sequence[float]) -> float:
    """The share of sorted others below a score; equal ones count half."""
    return (bisect_left(others, score) + bisect_right(others, score)) / (2 * len(others))


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)


def _symmetric(value: float, error: float) -> Figure:
    return Figure(value, value - NORMAL_QUANTILE * error, value + NORMAL_QUANTILE * error)


def _aged(low: float, high: float) -> Callable[[Answered], bool]:
    return lambda person: person.age_years is not None and low <= person.age_years < high


def _alleles(least: float, most: float) -> Callable[[Answered], bool]:
    return lambda person: person.apoe4 is not None and least <= person.apoe4 <= most


GROUPS: Sequence[tuple[str, Sequence[tuple[str, Callable[[Answered], bool]]]]] = (
    (
        "Sex",
        (
            ("Female", lambda person: person.female == 1.0),
            ("Male", lambda person: person.female == 0.0),
        ),
    ),
    (
        "Age, years",
        (
            ("under 65", _aged(0, 65)),
            ("65 to 74", _aged(65, 75)),
            ("75 to 84", _aged(75, 85)),
            ("85 and over", _aged(85, inf)),
        ),
    ),
    (
        "APOE e4 alleles",
        (("none", _alleles(0, 0)), ("one", _alleles(1, 1)), ("two", _alleles(2, 2))),
    ),
)
