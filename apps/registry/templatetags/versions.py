"""How versions, gates and differences are written on the registry's pages."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.patients.templatetags.numbers import number
from apps.registry.templatetags.cards import WORDS, figure
from apps.registry.versions import Difference
from ml.card import Gate, gate_words
from ml.concepts import UNIT_LABELS, dictionary

register = template.Library()
STATES = {True: ("done", "Passed"), False: ("danger", "Failed"), None: ("warn", "Too few")}
WIDTH, EDGE = 136, 6
SPACE_MM = (182, 218, 182)


@register.filter
def gate_state(gate: Gate) -> str:
    """The role of the colour that a verdict is shown in."""
    return STATES[gate.passed][0]


@register.filter
def gate_verdict(gate: Gate) -> str:
    return STATES[gate.passed][1]


@register.filter
def gate_title(gate: Gate) -> str:
    return gate.title or gate.name.replace("_", " ").capitalize()


@register.filter
def gate_finding(gate: Gate) -> str:
    """What was found and what is asked, in words."""
    return f"{gate.finding}; asked: {gate.limit}" if gate.finding else gate_words(gate)


@register.filter
def metric_name(key: str) -> str:
    """The words of a figure; of a nested one those of its heading too."""
    words = [WORDS.get(part, part.replace("_", " ").capitalize()) for part in key.split(".")]
    return ": ".join(words)


@register.filter
def in_order(lines: Sequence[Difference]) -> list[Difference]:
    """Figures in the order of the card's page: the database keeps no order of the keys."""
    places = {key: place for place, key in enumerate(WORDS)}

    def place(line: Difference) -> tuple[tuple[int, str], ...]:
        return tuple((places.get(part, len(places)), part) for part in line.key.split("."))

    return sorted(lines, key=place)


@register.filter
def exact(value: float) -> str:
    """A small difference: sign and three decimals."""
    return f"{value:+.3f}".replace("-", "\u2212")


@register.filter
def plain(value: Any) -> str:
    """A fact of a card: a number without idle zeros, a list of words, or a dash in words."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(float(value), digits=3) if isinstance(value, int | float) else str(value)


@register.filter
def cell(metric: Any) -> str:
    """A figure of one side; in words where that side has none."""
    return "not measured" if metric is None else figure(metric)


@register.filter
def shown_difference(estimate: Mapping[str, Any]) -> str:
    """A paired difference with sign and interval."""
    words = [
        f"{'+' if each > 0 and place == 0 else ''}{each:.3f}".replace("-", "\u2212")
        for place, each in enumerate((estimate["value"], estimate["low"], estimate["high"]))
    ]
    return f"{words[0]} ({words[1]} to {words[2]})"


@register.filter
def covers_zero(estimate: Mapping[str, Any]) -> bool:
    return bool(estimate["low"] <= 0 <= estimate["high"])


@register.simple_tag
def difference_bar(line: Difference) -> SafeString:
    """A difference as dot and interval about 0; half the width is .1, or the interval's end."""
    found = line.difference
    if found is None:
        return SafeString("")
    reach = max(0.1, abs(found["low"]), abs(found["high"]))

    def place(value: float) -> str:
        return f"{WIDTH / 2 + value / reach * (WIDTH / 2 - EDGE):.1f}"

    return format_html(
        '<svg width="{w}" height="24" viewBox="0 0 {w} 24" aria-hidden="true">'
        '<path class="iv-track" d="M{e} 12H{r}"/><path class="p-zero" d="M{m} 2v20"/>'
        '<path class="iv-band" d="M{low} 12H{high}"/>'
        '<circle class="iv-dot" cx="{at}" cy="12" r="5"/></svg>',
        w=WIDTH,
        e=EDGE,
        r=WIDTH - EDGE,
        m=WIDTH / 2,
        low=place(found["low"]),
        high=place(found["high"]),
        at=place(found["value"]),
    )


@register.filter
def inputs(card: Mapping[str, Any]) -> list[dict[str, str]]:
    """Each input of a card: label, kind, unit, what is possible, what most training people had."""
    known, spans = dictionary(), card.get("training", {}).get("inputs", {})
    rows = []
    for name in card.get("schema", ()):
        concept = known.get(name)
        if concept is None:
            rows.append(
                {"label": name, "kind": "unknown here", "unit": "", "range": "", "seen": ""}
            )
            continue
        levels = ", ".join(f"{key} {words}" for key, words in concept.levels.items())
        span = spans.get(name)
        rows.append(
            {
                "label": concept.label,
                "kind": concept.kind.value,
                "unit": UNIT_LABELS.get(concept.unit, concept.unit) or "none",
                "range": levels or f"{plain(concept.low)} to {plain(concept.high)}",
                "seen": f"{round(span[0], 1):g} to {round(span[1], 1):g}" if span else "",
            }
        )
    return rows


@register.filter
def volume_shape(spacing_mm: float) -> str:
    """Voxels of a pseudo-MRI along x, y and z: MNI152 space at this voxel edge."""
    return " x ".join(str(ceil(edge_mm / spacing_mm)) for edge_mm in SPACE_MM)


@register.filter
def curve_rows(series: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Series as rows of one table: on whom, version, date, figures."""
    return [
        {
            "on": each["name"],
            "version": point["version"],
            "made_at": point["made_at"][:10],
            "figures": [cell(point["figures"].get(key)) for key in
                        ("auc", "brier", "calibration_slope", "swap_ratio")],
        }
        for each in series
        for point in each["points"]
    ]  # fmt: skip
