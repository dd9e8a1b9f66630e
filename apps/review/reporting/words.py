"""How figures of a study are written, on pages and on paper alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MINUS = "\u2212"
ARM_NAMES = {"real": "Real", "pseudo_mri": "Pseudo-MRI", "reconstruction": "Reconstruction"}
ARM_PLURALS = {
    "real": "real scans",
    "pseudo_mri": "pseudo-MRIs",
    "reconstruction": "real scans through the autoencoder",
}
SIMULATED = "Simulated readers: this says nothing about what radiologists see."
RESEARCH = "Research use only. Not a diagnosis."
NOT_DEFINED = "not defined"

Estimate = Mapping[str, Any]  # apps.review.statistics.estimate.Estimate as plain data


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure in two lines: the value, and its interval or why there is none."""

    value: str
    interval: str = ""
    is_defined: bool = True


def decimal(value: float, *, digits: int = 2, signed: bool = False) -> str:
    """A number with a real minus; what rounds to zero has no sign.

    >>> decimal(-0.004), decimal(0.123, signed=True), decimal(-1.5, digits=1)
    ('0.00', '+0.12', '−1.5')
    """
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        return f"{0:.{digits}f}"
    sign = "+" if signed and value > 0 else ""
    return sign + text.replace("-", MINUS)


def interval(low: float | None, high: float | None, *, digits: int = 2) -> str:
    """'(0.10 to 0.30)', or nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"({decimal(low, digits=digits)} to {decimal(high, digits=digits)})"


def cell(estimate: Estimate | None, *, digits: int = 2, signed: bool = False) -> Cell:
    """A figure of the statistics; undefined is said, never 0."""
    if estimate is None or estimate["value"] is None:
        return Cell(NOT_DEFINED, is_defined=False)
    bounds = interval(estimate["low"], estimate["high"], digits=digits)
    return Cell(decimal(estimate["value"], digits=digits, signed=signed), bounds or "(no interval)")


def in_line(estimate: Estimate | None, *, digits: int = 2, signed: bool = False) -> str:
    """The same in one line."""
    found = cell(estimate, digits=digits, signed=signed)
    return f"{found.value} {found.interval}".strip()


def percents(estimate: Estimate) -> str:
    """A share in percent with its interval: '60 % (48 to 72 %)'."""
    if estimate["value"] is None:
        return NOT_DEFINED
    text = f"{100 * estimate['value']:.0f}\u00a0%"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{text} (no interval)"
    return f"{text} ({100 * estimate['low']:.0f} to {100 * estimate['high']:.0f}\u00a0%)"


def p_value(p: float | None) -> str:
    """'p = 0.04', or 'p under 0.001'."""
    if p is None:
        return "no test"
    return "p under 0.001" if p < 0.001 else f"p = {p:.3f}"


def title_of(name: str) -> str:
    """The name of a question as a heading: hippocampal_atrophy as Hippocampal atrophy."""
    return name.replace("_", " ").strip().capitalize()


def reader_name(number: str | int) -> str:
    """Readers have numbers in every result."""
    return f"Reader {int(number)}"


def listed(words: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
