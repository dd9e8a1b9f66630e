"""The figures of a report, as Plotly reads them; their colours are readable on light and dark."""

from collections.abc import Mapping, Sequence
from typing import Any

QUIET, OURS, OTHER = "#8a939b", "#2a8fa3", "#c26a12"
TITLE_SIZE = 13


def figure(
    traces: Sequence[Mapping[str, Any]],
    x: str,
    y: str,
    *,
    y_range: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Traces over two titled axes; whoever draws it sets the colour and kind of the letters."""
    plain = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "automargin": True}
    down = {"title": {"text": y, "font": {"size": TITLE_SIZE}}, **plain}
    if y_range is not None:
        down["range"] = list(y_range)
    return {
        "data": [dict(trace) for trace in traces],
        "layout": {
            "xaxis": {"title": {"text": x, "font": {"size": TITLE_SIZE}}, **plain},
            "yaxis": down,
            "margin": {"l": 56, "r": 12, "t": 48, "b": 48},
            "height": 320,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        },
    }


def line(
    x: Sequence[float], y: Sequence[float], name: str, colour: str = OURS, *, dash: str = "solid"
) -> dict[str, Any]:
    """A curve."""
    return {
        "x": list(x),
        "y": list(y),
        "name": name,
        "mode": "lines",
        "line": {"color": colour, "dash": dash, "width": 2},
    }


def points(
    x: Sequence[Any], estimates: Sequence[Mapping[str, float]], name: str, colour: str = OURS
) -> dict[str, Any]:
    """Estimates with their intervals, joined by a line."""
    return {
        "x": list(x),
        "y": [each["value"] for each in estimates],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [each["high"] - each["value"] for each in estimates],
            "arrayminus": [each["value"] - each["low"] for each in estimates],
        },
        "name": name,
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2},
        "marker": {"size": 8},
    }


def roc(results: Mapping[str, Any]) -> dict[str, Any]:
    """Receiver operating characteristic."""
    curve = results["bundle"]["roc"]
    return figure(
        [
            line(curve["false_positive"], curve["true_positive"], "Bundle"),
            line([0.0, 1.0], [0.0, 1.0], "Chance", QUIET, dash="dot"),
        ],
        "1 \N{MINUS SIGN} specificity",
        "Sensitivity",
    )


def calibration(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Observed share against probability; None with too few for a curve."""
    curve = results["bundle"]["calibration_curve"]
    if curve is None:
        return None
    return figure(
        [
            points([p["probability"] for p in curve], [p["observed"] for p in curve], "Bundle"),
            line([0.0, 1.0], [0.0, 1.0], "Perfect", QUIET, dash="dot"),
        ],
        "Probability",
        "Observed share",
    )


def net_benefit(results: Mapping[str, Any]) -> dict[str, Any]:
    """Decision curves of the bundle, the best record-only model and the two simple policies."""
    decision = results["decision"]
    best = results["others"][results["best_other"]]["label"]
    return figure(
        [
            line(decision["thresholds"], decision["bundle"], "Bundle"),
            line(decision["thresholds"], decision["best_other"], best, OTHER, dash="dash"),
            line(decision["thresholds"], decision["everybody"], "Treat everybody", QUIET),
            line([0.05, 0.95], [0.0, 0.0], "Treat nobody", QUIET, dash="dot"),
        ],
        "Threshold probability",
        "Net benefit",
        y_range=(-0.1, max(0.05, max(decision["bundle"]) * 1.2)),
    )


def against_share(
    whole: Mapping[str, float], shares: Sequence[Mapping[str, Any]], x: str, name: str = "Bundle"
) -> dict[str, Any]:
    """AUC against the share of something that was taken away or exchanged."""
    return figure(
        [
            points(
                [0.0, *(100 * each["share"] for each in shares)],
                [whole, *(each["auc"] for each in shares)],
                name,
            ),
            line([0.0, 100 * shares[-1]["share"]], [0.5, 0.5], "Chance", QUIET, dash="dot"),
        ],
        x,
        "AUC",
    )


def spoiled_states(found: Mapping[str, Any]) -> dict[str, Any]:
    """AUC against the share of findings whose concept states are exchanged, or random."""
    ways = (("exchanged", "Exchanged", OURS), ("random", "Random directions", OTHER))
    curves = [
        points(
            [0.0, *(100 * each["share"] for each in found[way])],
            [found["complete"], *(each["auc"] for each in found[way])],
            label,
            colour,
        )
        for way, label, colour in ways
    ]
    chance = line([0.0, 100.0], [0.5, 0.5], "Chance", QUIET, dash="dot")
    return figure([*curves, chance], "Findings whose states are spoiled, %", "AUC")


def group_differences(regions: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """AD minus CN of each region, in scans and in pseudo-MRIs."""
    kinds = (
        ("scan_ad_minus_cn_ml", "Scans", OTHER),
        ("pseudo_ad_minus_cn_ml", "Pseudo-MRIs", OURS),
    )
    drawn = figure(
        [
            points(names, [each[key] for each in regions], label, colour) | {"mode": "markers"}
            for key, label, colour in kinds
        ],
        "",
        "AD minus CN, ml",
    )
    drawn["layout"]["scattermode"] = "group"
    drawn["layout"]["yaxis"]["zeroline"] = True
    return drawn
