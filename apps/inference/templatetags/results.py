"""Small pictures of a result page: effects, spans, the ways to a probability."""

from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from apps.patients.templatetags.numbers import number, probability, thousands

register = template.Library()
MARGIN = 4.0


@register.simple_tag
def effect_bar(value: float, strongest: float, width: int = 132) -> SafeString:
    """A change of the probability: to the left towards CN, to the right towards AD."""
    middle = width / 2
    length = round(abs(value) / (strongest or 1) * (middle - MARGIN), 1)
    return format_html(
        '<svg width="{0}" height="18" viewBox="0 0 {0} 18" aria-hidden="true">'
        '<rect class="{1}" x="{2}" y="3" width="{3}" height="12"/>'
        '<path class="p-zero" d="M{4} 0v18"/></svg>',
        width,
        "p-up" if value > 0 else "p-down",
        middle if value > 0 else round(middle - length, 1),
        length,
        middle,
    )


@register.simple_tag
def span_bar(low: float, high: float, middle: float, width: int = 132) -> SafeString:
    """Between which probabilities something could move the number, from 0 to 1; the line is it."""
    return format_html(
        '<svg width="{0}" height="18" viewBox="0 0 {0} 18" aria-hidden="true">'
        '<path class="iv-track" d="M{1} 9H{2}"/><path class="iv-band" d="M{3} 9H{4}"/>'
        '<path class="p-zero" d="M{5} 2v14"/></svg>',
        width,
        MARGIN,
        width - MARGIN,
        _place(low, width),
        _place(high, width),
        _place(middle, width),
    )


@register.simple_tag
def head_bar(head: Any, base_rate: float, width: int = 200) -> SafeString:
    """One way to a probability; without a band where the bundle gives no interval."""
    band: SafeString = mark_safe("")
    words = f"Probability {probability(head.probability)}"
    if head.low is not None and head.high is not None:
        band = format_html(
            '<path class="iv-band" d="M{} 11H{}"/>',
            _place(head.low, width),
            _place(head.high, width),
        )
        words += f", 95 % interval {probability(head.low)} to {probability(head.high)}"
    return format_html(
        '<svg class="iv" width="{0}" height="22" viewBox="0 0 {0} 22" role="img" aria-label="{1}">'
        '<path class="iv-track" d="M{2} 11H{3}"/><path class="iv-base" d="M{4} 3v16"/>{5}'
        '<circle class="iv-dot" cx="{6}" cy="11" r="5"/></svg>',
        width,
        words,
        MARGIN,
        width - MARGIN,
        _place(base_rate, width),
        band,
        _place(head.probability, width),
    )


@register.simple_tag
def norm_bar(volume: Any, width: int = 250) -> SafeString:
    """A volume on what is usual: the band to the 95th percentile, the median as a line."""
    usual, error = volume.usual, volume.error_ml or 0.0
    ends = [usual.low_ml, usual.high_ml, volume.volume_ml - error, volume.volume_ml + error]
    low, high = min(ends), max(ends)
    reach = (high - low) or 1.0

    def across(value: float) -> float:
        place: float = round(MARGIN + 6 + (value - low) / reach * (width - 2 * MARGIN - 12), 1)
        return place

    return format_html(
        '<svg width="{0}" height="22" viewBox="0 0 {0} 22" aria-hidden="true">'
        '<path class="iv-track" d="M{1} 11H{2}"/><path class="nb" d="M{3} 11H{4}"/>'
        '<path class="p-zero" d="M{5} 3v16"/><path class="p-whisker" d="M{6} 11H{7}"/>'
        '<circle class="iv-dot" cx="{8}" cy="11" r="5"/></svg>',
        width,
        MARGIN + 6,
        width - MARGIN - 6,
        *(across(value) for value in (usual.low_ml, usual.high_ml, usual.middle_ml)),
        across(volume.volume_ml - error),
        across(volume.volume_ml + error),
        across(volume.volume_ml),
    )


@register.filter
def ml(value: float) -> str:
    """Millilitres with the figures that they deserve: 5.9, 52, 1,038."""
    return number(value, digits=1) if abs(value) < 20 else thousands(round(value))


@register.filter
def percentile_words(value: float) -> str:
    """A whole number; beyond 1 and 99 in words."""
    place = round(value)
    if place < 1 or place > 99:
        return "under 1" if place < 1 else "over 99"
    return str(place)


@register.inclusion_tag("inference/partials/calibration_plot.html")
def calibration_plot(bins: list[Any]) -> dict[str, object]:
    """What was said against what was found, from 0 to 1 both ways."""

    def across(value: float) -> float:
        return round(40 + value * 370, 1)

    def up(value: float) -> float:
        return round(266 - value * 256, 1)

    ticks = {0.0: "0", 0.25: ".25", 0.5: ".5", 0.75: ".75", 1.0: "1"}
    return {
        "lines": [
            {"y": up(at), "text_y": up(at) + 4, "x": across(at), "words": words}
            for at, words in ticks.items()
        ],
        "points": [
            {
                "x": across(each.mean),
                "y": up(each.observed.value),
                "low": up(each.observed.low),
                "high": up(each.observed.high),
            }
            for each in bins
        ],
        "words": "Calibration: "
        + "; ".join(
            f"{probability(each.mean)} said, {each.observed.value:.2f} found" for each in bins
        ),
    }


@register.filter
def signed(value: float) -> str:
    """Two decimals with a true minus."""
    return number(value, digits=2)


@register.filter
def strongest(effects: list[Any]) -> float:
    """The largest change, for the scale of the bars."""
    return max((abs(effect.change) for effect in effects), default=0.0)


@register.filter
def chain(steps: list[str]) -> SafeString:
    """Names with arrows between them; a screen reader hears them as a list of words."""
    arrow = mark_safe(' <span class="quiet">→</span> ')
    return format_html_join(arrow, "{}", ((step,) for step in steps))


def _place(value: float, width: int) -> float:
    return round(MARGIN + value * (width - 2 * MARGIN), 1)
