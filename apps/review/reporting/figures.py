"""What the plots of a study are drawn from: numbers and words, no colours and no layout."""

from collections.abc import Mapping
from typing import Any

from apps.review.protocol import Protocol
from apps.review.reporting.words import ARM_NAMES, reader_name, title_of


def figures_of(content: Mapping[str, Any], plan: Protocol) -> dict[str, Any]:
    """All plots by name; what cannot be drawn is an empty list, and the page says why."""
    return {
        "detection": _detection(content),
        "answers": _answers(content, plan),
        "seconds": _seconds(content),
        "places": content["described"]["places"],
        "cues": _cues(content),
    }


def _detection(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """d' of each reader and of all, for each question that asks "real or synthetic?"."""
    found = []
    for against in content["statistics"]["detection"].values():
        for arm, of in against.items():
            readers = [(reader_name(r["reader"]), r["d_prime"]) for r in of["readers"]]
            for name, estimate in [*readers, ("All readers", of["d_prime"])]:
                if estimate["value"] is not None:
                    found.append({"name": name, "arm": ARM_NAMES[arm], **_bounds(estimate)})
    return found


def _bounds(estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {key: estimate[key] for key in ("value", "low", "high")}


def _answers(content: Mapping[str, Any], plan: Protocol) -> list[dict[str, Any]]:
    """Share of each answer by arm, for questions of several steps."""
    found = []
    for question in plan.questions:
        counts = content["described"]["answers"].get(question.name)
        if question.kind != "scale" or not counts:
            continue
        for arm, of in counts.items():
            n = sum(of.values())
            found.append(
                {
                    "question": title_of(question.name),
                    "arm": ARM_NAMES[arm],
                    "n": n,
                    "counts": [of.get(f"{step:g}", 0) for step in question.categories],
                    "anchors": list(question.anchors),
                }
            )
    return found


def _seconds(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {**row, "reader": reader_name(row["reader"]), "arm": ARM_NAMES[row["arm"]]}
        for row in content["described"]["seconds"]
    ]


def _cues(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How often each cue was named, as a share of the first readings of the arm."""
    readings = content["described"]["readings"]
    return [
        {
            "cue": cue,
            "arms": [
                {"arm": ARM_NAMES[arm], "n": n, "of": readings[arm]} for arm, n in named.items()
            ],
        }
        for cues in content["described"]["cues"].values()
        for cue, named in cues.items()
    ]
