r"""How many ratings a study needs, and what its design can show; standard library only.

For equivalence both one-sided tests must reject. With a true difference $d$, a margin $m$ and a
standard error $s = \sigma\sqrt{2/n}$ for $n$ independent ratings an arm,

$$\text{power} = \Phi\!\left(\tfrac{m-d}{s} - z_{1-\alpha}\right)
+ \Phi\!\left(\tfrac{m+d}{s} - z_{1-\alpha}\right) - 1$$

Ratings that share a reader or a case are worth less than independent ones. Each of $R$ readers
reads the same $C$ cases an arm; cases differ between arms, readers do not. With the shares of the
variance of one rating that are due to the case, to how this reader sees this arm, and to the
reader, the variance of the difference grows by the design effect

$$1 + (R-1)\,\rho_{case} + (C-1)\,\rho_{reader \times arm} - \rho_{reader}$$
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

NORMAL = NormalDist()
SHARE_SD = 0.5  # of yes or no at one half, where it is largest
TOO_MANY = 10_000_000


class PlanError(ValueError):
    """A design that cannot be computed: a margin of 0, shares above 1."""


def power_of_equivalence(
    ratings: float, *, margin: float, sd: float, difference: float = 0.0, alpha: float = 0.05
) -> float:
    """Chance that two one-sided tests show equivalence with so many independent ratings an arm."""
    _check(margin=margin, sd=sd)
    error = sd * math.sqrt(2 / ratings)
    z = NORMAL.inv_cdf(1 - alpha)
    above = NORMAL.cdf((margin - difference) / error - z)
    below = NORMAL.cdf((margin + difference) / error - z)
    return max(0.0, above + below - 1)


def power_of_difference(
    ratings: float, *, difference: float, sd: float, alpha: float = 0.05
) -> float:
    """Chance that a two-sided test sees a true difference, with so many ratings an arm."""
    _check(margin=abs(difference), sd=sd)
    shift = abs(difference) / (sd * math.sqrt(2 / ratings))
    z = NORMAL.inv_cdf(1 - alpha / 2)
    return NORMAL.cdf(shift - z) + NORMAL.cdf(-shift - z)


def power_of_detection(ratings: int, *, accuracy: float, alpha: float = 0.05) -> float:
    """Chance that the exact two-sided binomial test sees readers beat one half.

    Example:
        >>> round(power_of_detection(100, accuracy=0.65), 2)
        0.83
    """
    half = [_binomial(k, ratings, 0.5) for k in range(ratings + 1)]
    tail = 0.0
    least = ratings + 1
    while least > ratings / 2 and 2 * (tail + half[least - 1]) <= alpha:
        least -= 1
        tail += half[least]
    return sum(
        _binomial(k, ratings, accuracy)
        for k in range(ratings + 1)
        if k >= least or k <= ratings - least
    )


def _binomial(k: int, n: int, p: float) -> float:
    if p in {0.0, 1.0}:
        return float(k == n * p)
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def ratings_for_equivalence(
    *,
    margin: float,
    sd: float = SHARE_SD,
    difference: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Fewest independent ratings an arm that show equivalence with this power.

    The default sd is that of a yes or no at one half. For a scale of 1 to 5 points take what an
    earlier study had; 1 point is usual.

    Example:
        >>> ratings_for_equivalence(margin=0.10), ratings_for_equivalence(margin=0.20)
        (429, 108)
        >>> ratings_for_equivalence(margin=0.5, sd=1)
        69
    """
    if abs(difference) >= margin:
        raise PlanError(
            f"A true difference of {difference:g} is not within the margin of {margin:g}: no "
            "number of ratings shows equivalence. Plan with a smaller difference or a wider margin."
        )
    return _fewest(
        lambda n: power_of_equivalence(n, margin=margin, sd=sd, difference=difference, alpha=alpha),
        power,
    )


def ratings_for_difference(
    *, difference: float, sd: float = SHARE_SD, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Fewest independent ratings an arm that show a difference with this power."""
    return _fewest(
        lambda n: power_of_difference(n, difference=difference, sd=sd, alpha=alpha), power
    )


def _fewest(power_of: Callable[[int], float], power: float) -> int:
    if not 0 < power < 1:
        raise PlanError(f"A power of {power:g} cannot be planned for; give one between 0 and 1.")
    high = 2
    while power_of(high) < power:
        high *= 2
        if high > TOO_MANY:
            raise PlanError(f"More than {TOO_MANY:,} ratings an arm are needed. Widen the margin.")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return high


def _check(*, margin: float, sd: float) -> None:
    if margin <= 0 or sd <= 0:
        raise PlanError(
            f"A margin of {margin:g} and a standard deviation of {sd:g}: both must be above 0."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Who reads what, and how alike ratings are that share a reader or a case.

    Attributes:
        readers: each reads every case.
        cases_per_arm: different cases in each arm.
        case_share: share of the variance of one rating that is due to the case; two readers'
            ICC within an arm.
        reader_by_arm_share: share due to how a reader sees this arm, beyond their usual level.
        reader_share: share due to the reader's usual level, which the difference of arms cancels.
    """

    readers: int
    cases_per_arm: int
    case_share: float = 0.0
    reader_by_arm_share: float = 0.0
    reader_share: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.case_share, self.reader_by_arm_share, self.reader_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise PlanError(
                f"Shares of variance of {shares}: each must be 0 or more, all together at most 1."
            )
        if self.readers < 1 or self.cases_per_arm < 1:
            raise PlanError(
                f"{self.readers} readers, {self.cases_per_arm} cases an arm: 1 is the least."
            )

    @property
    def ratings(self) -> int:
        """Ratings an arm."""
        return self.readers * self.cases_per_arm

    @property
    def effect(self) -> float:
        """By how much sharing readers and cases multiplies the variance of the difference."""
        return max(
            1
            + (self.readers - 1) * self.case_share
            + (self.cases_per_arm - 1) * self.reader_by_arm_share
            - self.reader_share,
            1e-9,
        )

    @property
    def effective_ratings(self) -> float:
        """Independent ratings an arm that would tell as much."""
        return self.ratings / self.effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a design can show about one question.

    Attributes:
        ratings, effective_ratings: an arm; as read, and as if independent.
        design_effect: the first over the second.
        needed: independent ratings an arm for the wanted power.
        cases_needed: cases an arm that these readers would have to read; None if no number will do.
        power: chance to show equivalence if the arms do not differ.
        smallest_margin: margin at which the wanted power would be reached.
        advice: what to change; empty if the design is large enough.
    """

    ratings: int
    effective_ratings: float
    design_effect: float
    needed: int
    cases_needed: int | None
    power: float
    smallest_margin: float
    advice: str


def plan_equivalence(
    design: Design,
    *,
    margin: float,
    sd: float = SHARE_SD,
    power: float = 0.8,
    alpha: float = 0.05,
) -> Plan:
    """What a design can show, and what it would need, for one question with its margin.

    Example:
        >>> plan = plan_equivalence(Design(readers=2, cases_per_arm=25), margin=0.10)
        >>> plan.needed, plan.cases_needed, plan.power
        (429, 215, 0.0)
    """
    needed = ratings_for_equivalence(margin=margin, sd=sd, power=power, alpha=alpha)
    effective = design.effective_ratings
    cases = _cases_for(design, needed)
    z = NORMAL.inv_cdf(1 - alpha) + NORMAL.inv_cdf((1 + power) / 2)
    advice = ""
    if effective < needed:
        way_out = (
            f"{cases} cases an arm for {design.readers} readers."
            if cases
            else f"no number of cases makes up for {design.readers} readers who see the arms "
            "differently. Invite more readers or widen the margin."
        )
        advice = (
            f"{design.ratings} ratings an arm count as {effective:.0f} independent ones; "
            f"{needed} are needed: {way_out}"
        )
    return Plan(
        ratings=design.ratings,
        effective_ratings=effective,
        design_effect=design.effect,
        needed=needed,
        cases_needed=cases,
        power=power_of_equivalence(effective, margin=margin, sd=sd, alpha=alpha),
        smallest_margin=z * sd * math.sqrt(2 / effective),
        advice=advice,
    )


def _cases_for(design: Design, needed: int) -> int | None:
    # needed <= R C / (base + C rho), solved for C
    rho = design.reader_by_arm_share
    base = 1 + (design.readers - 1) * design.case_share - design.reader_share - rho
    spare = design.readers - needed * rho
    return math.ceil(needed * base / spare - 1e-9) if spare > 0 else None
