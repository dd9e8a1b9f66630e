r"""How a regional volume compares with people of the same age and sex; standard library only.

The expected volume is linear in age, sex and, where heads differ in size, head size:

$$\hat v = b_0 + b_1\,(age - \overline{age}) + b_2\,[male] + b_3\,(head - \overline{head})$$

with normal residuals. The ventricles' volume is modelled by its logarithm: it cannot be negative
and its spread grows with it. Paper: none; ours. `ml.training.norms` fits the numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

SEXES = ("F", "M")


class NormsError(ValueError):
    """The stored norms are not complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """The distribution of one structure's volume.

    Attributes:
        mean, per_year, male, per_head_ml: $b_0$ in ml at the mean age and head, for women, and the
            changes of it; of the natural logarithm of ml if `log`.
        residual_sd: standard deviation around what is expected, in the same unit.
        log: whether the logarithm of the volume is what is linear.
    """

    mean: float
    per_year: float
    male: float
    per_head_ml: float
    residual_sd: float
    log: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Norms:
    """Distributions of volumes among some people; they hold for people like those.

    Attributes:
        people: who they are, in words for a page ("318 cognitively normal people aged 55 to 90").
        n: how many.
        age_low_years, age_high_years, age_mean_years: their ages.
        head_mean_ml: mean head size; None where all volumes are on a template's head.
        structures: name of a structure to its norm.
    """

    people: str
    n: int
    age_low_years: float
    age_high_years: float
    age_mean_years: float
    head_mean_ml: float | None
    structures: Mapping[str, Norm]

    def percentile(
        self,
        structure: str,
        volume_ml: float,
        *,
        age_years: float | None,
        sex: str | None,
        head_ml: float | None = None,
    ) -> float | None:
        """Share of people of this age and sex with a smaller volume, 0 to 100.

        None where the norms do not say: an unknown structure, age or sex, an age outside the
        people's, a head size that is needed and missing, or a volume that is no volume.
        """
        at = self._expected(structure, age_years, sex, head_ml)
        if at is None or not (math.isfinite(volume_ml) and volume_ml > 0):
            return None
        norm = self.structures[structure]
        value = math.log(volume_ml) if norm.log else volume_ml
        return 100 * NormalDist(at, norm.residual_sd).cdf(value)

    def expected_ml(
        self,
        structure: str,
        *,
        age_years: float | None,
        sex: str | None,
        head_ml: float | None = None,
        percentile: float = 50.0,
    ) -> float | None:
        """The volume at a percentile (the median by default) of people of this age and sex.

        None as in `percentile`.
        """
        at = self._expected(structure, age_years, sex, head_ml)
        if at is None:
            return None
        norm = self.structures[structure]
        value = NormalDist(at, norm.residual_sd).inv_cdf(percentile / 100)
        return math.exp(value) if norm.log else value

    def _expected(
        self, structure: str, age_years: float | None, sex: str | None, head_ml: float | None
    ) -> float | None:
        norm = self.structures.get(structure)
        if norm is None or age_years is None or sex not in SEXES:
            return None
        if not self.age_low_years <= age_years <= self.age_high_years:
            return None
        head = 0.0
        if self.head_mean_ml is not None:
            if head_ml is None:
                return None
            head = norm.per_head_ml * (head_ml - self.head_mean_ml)
        age = norm.per_year * (age_years - self.age_mean_years)
        return norm.mean + age + norm.male * (sex == "M") + head

    def to_entries(self) -> dict[str, Any]:
        """The norms as JSON holds them in a card."""
        return asdict(self)

    @classmethod
    def from_entries(cls, entries: Mapping[str, Any]) -> "Norms":
        """Read what `to_entries` wrote.

        Raises:
            NormsError: a field is missing, unknown, or no number.

        Example:
            >>> Norms.from_entries({})
            Traceback (most recent call last):
                ...
            ml.norms.NormsError: The norms lack 'structures'. Train the bundle again.
        """
        try:
            structures = {name: Norm(**norm) for name, norm in entries["structures"].items()}
            norms = cls(**{**entries, "structures": structures})
        except KeyError as error:
            raise NormsError(f"The norms lack {error}. Train the bundle again.") from None
        except (TypeError, AttributeError):
            raise NormsError(
                "The norms have missing or unknown fields. Train the bundle again."
            ) from None
        for norm in structures.values():
            numbers = (norm.mean, norm.per_year, norm.male, norm.per_head_ml, norm.residual_sd)
            right = all(isinstance(value, int | float) for value in numbers)
            if not (right and math.isfinite(sum(numbers)) and norm.residual_sd > 0):
                raise NormsError("The norms hold an impossible number. Train the bundle again.")
        return norms
