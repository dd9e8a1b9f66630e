"""How answers are written and drawn: an estimate always with its interval."""

import re
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.patients.templatetags.numbers import number, probability, thousands
from ml.concepts import Concept, Kind
from ml.records import Answer

register = template.Library()

ANSWER_WORDS = {
    Answer.AD: "AD",
    Answer.CN: "CN",
    Answer.UNCERTAIN: "Uncertain",
    Answer.OUTSIDE: "Outside training data",
    Answer.TOO_FEW: "Too few inputs",
}
UNIT_WORDS = {
    "a": "years",
    "Cel": "°C",
    "mm[Hg]": "mmHg",
    "{score}": "points",
    "{T-score}": "(T score)",
    "{drink}/wk": "drinks/week",
    "h/wk": "h/week",
}
SUPERSCRIPTS = {"2": "²", "3": "³", "4": "⁴", "6": "⁶", "9": "⁹"}
BAR_MARGIN = 6.0


@register.filter
def estimate(prediction: Any) -> str:
    """A probability and its interval, which are never apart."""
    low, high = probability(prediction.low), probability(prediction.high)
    return f"{probability(prediction.probability)} ({low} to {high})"


@register.filter
def answer_words(answer: str) -> str:
    return ANSWER_WORDS[Answer(answer)]


@register.filter
def answer_glyph(answer: str) -> str:
    """Template of the shape that stands for an answer."""
    return f"answers/{Answer(answer).value}.html"


@register.filter
def moment(when: datetime) -> str:
    """A time as short as it can be and stay clear: today's by the clock, others by the day."""
    local, today = timezone.localtime(when), timezone.localdate()
    if local.date() == today:
        return date_format(local, "H:i")
    return date_format(local, "j M" if local.year == today.year else "j M Y")


@register.filter
def finding_value(value: float, concept: Concept) -> str:
    """What was found, in the words or the unit of its concept."""
    if concept.levels and value == int(value) and int(value) in concept.levels:
        return concept.levels[int(value)]
    if concept.kind is Kind.BINARY:
        return "yes" if value else "no"
    unit = unit_words(concept.unit)
    return f"{number(value, digits=4)} {unit}".rstrip()


@register.filter
def unit_words(unit: str) -> str:
    """A UCUM unit as a clinician writes it: `10*3/uL` as 10³/µL."""
    if unit in UNIT_WORDS:
        return UNIT_WORDS[unit]
    words = re.sub(r"[\[\]{}]", "", unit)
    words = re.sub(r"(?<![A-Za-z])u(?=[A-Za-z])", "µ", words)
    words = re.sub(r"(?<=[a-z*])\d", lambda power: SUPERSCRIPTS[power[0]], words)
    words = words.replace("*", "").replace("_", " ")
    return f"per {words[1:]}" if words.startswith("/") else words


@register.inclusion_tag("inference/partials/interval_bar.html")
def interval_bar(
    prediction: Any, base_rate: object, width: int = 176, stale: bool = False
) -> dict[str, object]:
    """Track, interval, estimate and base rate as one SVG; the track alone without a number."""
    answered = bool(prediction) and prediction.probability is not None
    bar: dict[str, object] = {
        "answered": answered,
        "stale": stale,
        "width": width,
        "start": BAR_MARGIN,
        "end": width - BAR_MARGIN,
        "base": _place(base_rate, width) if isinstance(base_rate, float) else None,
    }
    if answered:
        bar |= {
            "low": _place(prediction.low, width),
            "high": _place(prediction.high, width),
            "dot": _place(prediction.probability, width),
            "words": f"Probability {estimate(prediction)}, 95 % interval",
        }
    return bar


def _place(value: float, width: int) -> float:
    return round(BAR_MARGIN + value * (width - 2 * BAR_MARGIN), 1)


@register.simple_tag
def bar(share: float, width: int = 86) -> SafeString:
    """A share of a whole as a bar; the number stands beside it."""
    return format_html(
        '<svg width="{0}" height="12" viewBox="0 0 {0} 12" aria-hidden="true">'
        '<rect class="p-bar" x="0" y="1" width="{1}" height="10"/></svg>',
        width,
        round(max(share * width, 1 if share else 0), 1),
    )


@register.inclusion_tag("inference/partials/histogram.html")
def histogram(counts: list[int] | None, base_rate: float | None) -> dict[str, object]:
    """Counts per step of a probability, from 0 to 1."""
    if not counts:
        return {"bars": None}
    left, bottom, width, height = 34.0, 104.0, 378.0, 80.0
    step, top = width / len(counts), _round_up(max(counts))
    return {
        "total": sum(counts),
        "bars": [
            {"x": round(left + 1 + place * step, 1), "y": round(bottom - tall, 1), "height": tall}
            for place, count in enumerate(counts)
            for tall in [round(height * count / top, 1)]
        ],
        "lines": [
            {"y": y, "text_y": y + 4, "words": thousands(round(part * top))}
            for part in (0.5, 1)
            for y in [round(bottom - part * height, 1)]
        ],
        "base": None if base_rate is None else round(left + base_rate * width, 1),
        "base_text": None if base_rate is None else round(left + base_rate * width + 6, 1),
    }


def _round_up(count: int) -> int:
    """The end of an axis: an even number with one or two figures that count."""
    step = 2
    while count > 10 * step:
        step *= 5 if str(step).startswith("2") else 2
    return -(-count // step) * step


@register.inclusion_tag("inference/partials/sort_header.html")
def sort_header(
    name: str, orders: dict[str, Any], order: str, css: str = "", query: str = ""
) -> dict[str, str]:
    """A header that sorts, first upward, then downward; `query` is the rest of the address."""
    current = order.removeprefix("-") == name
    descending = current and order.startswith("-")
    return {
        "name": name,
        "title": orders[name].title,
        "css": css,
        "aria_sort": ("descending" if descending else "ascending") if current else "",
        "target": f"{query}order={'-' if current and not descending else ''}{name}",
    }


@register.inclusion_tag("inference/partials/pseudo_mri_words.html")
def pseudo_mri_words(prediction: Any) -> dict[str, object]:
    return {"pseudo_mri": getattr(prediction, "pseudo_mri", None)}


@register.inclusion_tag("inference/partials/answer_bar.html")
def answer_bar(prediction: Any, base_rate: float, stale: bool) -> dict[str, object]:
    """The large interval bar of a result page, with its axis and the base rate."""

    def place(value: float) -> float:
        return round(14 + value * 372, 1)

    return {
        "stale": stale,
        "low": place(prediction.low),
        "high": place(prediction.high),
        "dot": place(prediction.probability),
        "base": place(base_rate),
        "base_words": probability(base_rate),
        "words": f"Probability {estimate(prediction)}, 95 % interval; "
        f"base rate {probability(base_rate)}",
    }


@register.filter
def total_entries(groups: list[Any]) -> int:
    return sum(len(group.entries) for group in groups)
