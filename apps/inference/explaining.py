"""A stored explanation, made ready to be shown: on the page, in the report, as a picture.

Only a ranking that passed the deletion test is shown; of the others the page says that it failed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from apps.patients.templatetags.numbers import change
from ml.concepts import Concept, dictionary

EFFECTS_SHOWN = 9
PATHS_SHOWN = 5
MISSING_SHOWN = 5
NO_EFFECT = 0.0005  # of a probability: below it nothing would be seen


@dataclass(frozen=True, slots=True)
class Effect:
    """What one finding does to the probability."""

    concept: Concept
    value: float
    change: float


@dataclass(frozen=True, slots=True)
class Deletion:
    """The test of the ranking in one direction."""

    toward_ad: bool
    n: int
    change: float
    random_change: float
    random_low: float
    random_high: float
    passed: bool


@dataclass(frozen=True, slots=True)
class WouldMove:
    """Between which values a missing input could move the probability."""

    concept: Concept
    low: float
    high: float
    at_low: float
    at_high: float


@dataclass(frozen=True, slots=True)
class Path:
    """From a finding to the disease, as a table shows it.

    Attributes:
        effect: the finding.
        steps: names, the first is what the finding stands for, the last is the disease.
        shared: the name that the finding and the disease have in common.
        unread: how many steps the model's graph does not hold.
    """

    effect: Effect
    steps: Sequence[str]
    shared: str
    unread: int


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation as pages show it.

    Attributes:
        passed: whether the ranking may be shown.
        effects: the strongest findings; empty unless it passed.
        others: findings with an effect that are not among them.
        deletions: the test in each direction.
        missing: what the missing inputs could do, the widest first.
        missing_others: missing inputs that are not among them.
        nearness: distance from the training people as a share of that from which the model
            refuses, 0 to 1.
        paths: of the strongest effects that have one, shown above or not.
        pathless: shown effects without a path.
        own_graph: whether the bundle was trained on the graph that the paths are of.
        spans_are_percentiles: whether missing inputs were tried between true percentiles.
    """

    passed: bool
    effects: Sequence[Effect]
    others: int
    deletions: Sequence[Deletion]
    missing: Sequence[WouldMove]
    missing_others: int
    nearness: float
    paths: Sequence[Path]
    pathless: Sequence[Effect]
    own_graph: bool
    spans_are_percentiles: bool
    picture: Mapping[str, Any]


def explained(content: Mapping[str, Any]) -> Explained:
    """Read the JSON that `engine.explain` stored."""
    known = dictionary()
    effects = [
        Effect(known[each["concept"]], each["value"], each["change"])
        for each in content["effects"]
        if each["concept"] in known and abs(each["change"]) >= NO_EFFECT
    ]
    missing = [
        WouldMove(known[e["concept"]], e["low"], e["high"], e["at_low"], e["at_high"])
        for e in content["missing"]
        if e["concept"] in known and e["high"] - e["low"] >= NO_EFFECT
    ]
    shown = effects[:EFFECTS_SHOWN] if content["passed"] else []
    traced = [e for e in effects if e.concept.id in content["paths"]][:PATHS_SHOWN]
    traced = traced if content["passed"] else []
    return Explained(
        passed=content["passed"],
        effects=shown,
        others=len(effects) - len(shown),
        deletions=[_deletion(each) for each in content["deletions"]],
        missing=missing[:MISSING_SHOWN],
        missing_others=len(content["missing"]) - len(missing[:MISSING_SHOWN]),
        nearness=min(1.0, content["distance"] / content["limit"]) if content["limit"] else 0.0,
        paths=[_path(effect, content["paths"][effect.concept.id]) for effect in traced],
        pathless=[e for e in shown if e.concept.id not in content["paths"]],
        own_graph=content["own_graph"],
        spans_are_percentiles=content["spans_are_percentiles"],
        picture=_picture(traced, content["paths"]),
    )


def _deletion(entry: Mapping[str, Any]) -> Deletion:
    return Deletion(
        toward_ad=entry["toward_ad"],
        n=len(entry["removed"]),
        change=entry["change"],
        random_change=entry["random_change"],
        random_low=entry["random_low"],
        random_high=entry["random_high"],
        passed=entry["passed"],
    )


def _path(effect: Effect, entry: Mapping[str, Any]) -> Path:
    steps = entry["steps"]
    return Path(
        effect=effect,
        steps=[step["name"] for step in steps],
        shared=steps[entry["shared"]]["name"],
        unread=sum(not step["read"] for step in steps),
    )


def _picture(effects: Sequence[Effect], paths: Mapping[str, Any]) -> dict[str, Any]:
    """Nodes and edges in five columns: patient, finding, what it stands for, shared, disease.

    Places are rows and columns; static/js/paths.js draws them. Steps between two columns are one
    edge, and the words on it say which they are.
    """
    if not effects:
        return {}
    strongest = max(abs(effect.change) for effect in effects)
    nodes: dict[str, dict[str, Any]] = {
        "patient": {"column": 0, "text": "This patient", "kind": "patient", "read": True}
    }
    edges: list[dict[str, Any]] = []
    for effect in effects:
        path = paths[effect.concept.id]
        steps, shared = path["steps"], path["shared"]
        width = 1.5 + 4 * abs(effect.change) / strongest
        own = f"finding {effect.concept.id}"
        nodes[own] = {
            "column": 1,
            "text": effect.concept.label,
            "more": change(effect.change),
            "kind": "finding",
            "read": True,
        }
        stops = list(dict.fromkeys([0, shared, len(steps) - 1]))
        keys = [own]
        for place in stops:
            key, column = steps[place]["id"], 2 if place == 0 else 3
            column = 4 if place == len(steps) - 1 else column
            known = nodes.setdefault(
                key,
                {
                    "column": column,
                    "text": steps[place]["name"],
                    "kind": steps[place]["kind"],
                    "read": steps[place]["read"],
                },
            )
            known["column"] = max(known["column"], column)
            keys.append(key)
        edges.append(_edge("patient", own, width, [], read=True))
        between = [[], *(steps[a + 1 : b] for a, b in pairwise(stops))]
        ends = [steps[place] for place in stops]
        edges += [
            _edge(low, high, width, passed, read=end["read"])
            for (low, high), passed, end in zip(pairwise(keys), between, ends, strict=True)
        ]
    return {"nodes": _placed(nodes, edges), "edges": _merged(edges)}


def _edge(
    low: str, high: str, width: float, passed: Iterable[Mapping[str, Any]], *, read: bool
) -> dict[str, Any]:
    over = list(passed)
    return {
        "from": low,
        "to": high,
        "width": width,
        "over": [step["name"] for step in over],
        "read": read and all(step["read"] for step in over),
    }


def _merged(edges: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Edges between the same two nodes as one, as wide as the widest."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for edge in edges:
        kept = found.setdefault((edge["from"], edge["to"]), edge)
        kept["width"] = max(kept["width"], edge["width"])
    return list(found.values())


def _placed(
    nodes: Mapping[str, dict[str, Any]], edges: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Give each node a height from 0 to 1: evenly in its column, in the order of its sources."""
    for column in range(5):
        own = [key for key, node in nodes.items() if node["column"] == column]
        if column > 1:
            own.sort(key=lambda key: _mean_height(key, nodes, edges))
        for place, key in enumerate(own):
            nodes[key]["height"] = (place + 0.5) / len(own)
    return dict(nodes)


def _mean_height(
    key: str, nodes: Mapping[str, dict[str, Any]], edges: Sequence[Mapping[str, Any]]
) -> float:
    heights: list[float] = [nodes[e["from"]].get("height", 0.5) for e in edges if e["to"] == key]
    return sum(heights) / len(heights)
