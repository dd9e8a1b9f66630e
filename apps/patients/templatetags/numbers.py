"""How numbers are written on every page: a minus is a minus, thousands have a comma."""

from math import floor

from django import template

register = template.Library()

MINUS = "\u2212"
SMALLEST, LARGEST = 0.01, 0.99


@register.filter
def thousands(number: int) -> str:
    """1234 as 1,234."""
    return f"{number:,}".replace("-", MINUS)


@register.filter
def probability(value: float) -> str:
    """Two decimals; what they cannot tell from 0 or 1 in words."""
    if value < SMALLEST:
        return f"under {SMALLEST}"
    if value > LARGEST:
        return f"over {LARGEST}"
    return f"{value:.2f}"


@register.filter
def change(value: float) -> str:
    """A difference of two probabilities, with its sign; what two decimals cannot show in words."""
    if abs(value) < SMALLEST / 2:
        return f"under {SMALLEST}"
    return f"{value:+.2f}".replace("-", MINUS)


@register.filter
def of_hundred(value: float) -> str:
    """A probability as people out of 100."""
    if value < SMALLEST:
        return "fewer than 1"
    if value > LARGEST:
        return "more than 99"
    return str(floor(100 * value + 0.5))


@register.filter
def percent(value: float) -> str:
    return f"{floor(100 * value + 0.5)}\u00a0%"


def number(value: float, *, digits: int) -> str:
    """At most so many decimals, without idle zeros unless two decimals are the rule."""
    text = f"{value:,.{digits}f}"
    if digits != 2:  # two decimals are how estimates are written: 0.70 stays 0.70
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", MINUS)
