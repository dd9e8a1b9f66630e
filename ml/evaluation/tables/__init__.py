"""Figures over several seeds, and how tables show them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import t as student

from ml.evaluation.metrics import Estimate


def mean_of(figures: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Mean of a figure over independent seeds; with one seed, that seed's own interval."""
    if len(figures) == 1:
        return dict(figures[0])
    values = np.array([figure["value"] for figure in figures])
    error = float(values.std(ddof=1)) / len(values) ** 0.5
    reach = float(student.ppf(0.975, len(values) - 1)) * error
    middle = float(values.mean())
    people = int(sum(figure["n"] for figure in figures))
    return asdict(Estimate(value=middle, low=middle - reach, high=middle + reach, n=people))


def shown(figure: Mapping[str, float] | None, *, sign: bool = False) -> str:
    """A figure with its interval, as tables show it."""
    if figure is None:
        return ""
    form = "+.3f" if sign else ".3f"
    low, high = f"{figure['low']:{form}}", f"{figure['high']:{form}}"
    return f"{figure['value']:{form}} ({low} to {high})".replace("-", "−")
