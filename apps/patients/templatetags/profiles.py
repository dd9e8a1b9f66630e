"""How shares and distributions of a cohort are written and drawn."""

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.patients.histories import History, mark_of
from apps.patients.models import Finding
from apps.patients.templatetags.numbers import number
from ml.concepts import UNIT_LABELS, Concept

register = template.Library()


@register.simple_tag
def share_bar(share: float, width: int = 120) -> SafeString:
    """A share of a whole as a bar on its track; the number stands beside it."""
    return format_html(
        '<svg width="{0}" height="12" viewBox="0 0 {0} 12" aria-hidden="true">'
        '<rect class="p-track" x="0" y="2" width="{0}" height="8"/>'
        '<rect class="p-bar" x="0" y="1" width="{1}" height="10"/></svg>',
        width,
        round(max(share * width, 1 if share else 0), 1),
    )


@register.simple_tag
def percent_of(n: int, of: int) -> str:
    """The share that n are of all, rounded up, so that it says no more than "under"."""
    return f"{min(-(-100 * n // of), 100)}\u00a0%"


@register.simple_tag
def percent_left(n: int, of: int) -> str:
    """The share that is left without n of all, rounded down."""
    return f"{max(100 * (of - n) // of, 0)}\u00a0%"


@register.filter
def unit_label(unit: str) -> str:
    """A unit as a person writes it."""
    return UNIT_LABELS.get(unit, unit.strip("{}"))


@register.filter
def quartile_words(distribution: Any) -> str:
    """Median and quartiles with as many figures as they need."""
    low, median, high = (number(value, digits=_digits(value)) for value in distribution.quartiles)
    return f"{median} ({low} to {high})"


def _digits(value: float) -> int:
    return 3 if abs(value) < 1 else 1


@register.simple_tag
def range_mark(concept: Concept, value: float) -> str:
    """Whether a value would alarm a clinician, in words."""
    return mark_of(concept, value)


@register.simple_tag
def sparkline(history: History, width: int = 120, height: int = 28) -> SafeString:
    """The course of a concept: time to the right, value upwards. The numbers stand beside it."""
    findings = history.findings
    first, last = findings[0].observed_at, findings[-1].observed_at
    values = [finding.value for finding in findings]
    low, high = min(values), max(values)
    spread, length = high - low or 1.0, (last - first).total_seconds() or 1.0

    def place(finding: Finding) -> tuple[float, float]:
        x = 4 + (finding.observed_at - first).total_seconds() / length * (width - 8)
        y = (
            height / 2
            if low == high
            else height - 4 - (finding.value - low) / spread * (height - 8)
        )
        return round(x, 1), round(y, 1)

    points = [place(finding) for finding in findings]
    return format_html(
        '<svg width="{0}" height="{1}" viewBox="0 0 {0} {1}" aria-hidden="true">'
        '<path class="p-line" d="{2}"/><circle class="iv-dot" cx="{3}" cy="{4}" r="4"/></svg>',
        width,
        height,
        "M" + "L".join(f"{x} {y}" for x, y in points),
        *points[-1],
    )
