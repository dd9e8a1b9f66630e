"""What pages say of versions: figures, who made them, what they made, how two of them differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet

from apps.jobs.models import JobState
from apps.registry.models import CHAMPION, Bundle, GateCheck
from apps.registry.selectors import champion, shadowed_by
from ml.card import Gate, gates_of

CURVES = {
    "auc": "AUC",
    "brier": "Brier score, low is good",
    "calibration_slope": "Calibration slope, 1 is right",
    "swap_ratio": "Swap ratio",
}
"""Figures that are drawn across versions, and their names."""
NO_UNIT = "no unit"
SETTING = "Setting "
UNITS = {"ventricle_difference_ml": "ml", "seconds": "s"}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """How many gates passed, failed, or had too few people."""

    passed: int
    failed: int
    few: int

    @classmethod
    def of(cls, gates: Sequence[Gate]) -> "Verdicts":
        """Count the gates of a card or of a check."""
        return cls(
            sum(gate.passed is True for gate in gates),
            sum(gate.passed is False for gate in gates),
            sum(gate.passed is None for gate in gates),
        )


@dataclass(frozen=True, slots=True)
class Version:
    """One row of the list of versions.

    Attributes:
        alias: champion, challenger, former champion, or nothing.
        verdicts: of its newest gate check against the present champion, else of its card.
        check: that check; None if there is none.
        predictions: that it made for users, of all cohorts.
    """

    bundle: Bundle
    alias: str
    verdicts: Verdicts
    check: GateCheck | None
    predictions: int

    @property
    def card(self) -> Any:
        return self.bundle.card

    @property
    def auc(self) -> Any:
        return self.bundle.card.get("metrics", {}).get("auc")


def gates_in(entries: Sequence[Mapping[str, Any]]) -> tuple[Gate, ...]:
    """The gates of a check as they are kept in the database."""
    return gates_of({"gates": entries})


def versions_of(bundles: QuerySet[Bundle]) -> list[Version]:
    """Rows of the list, newest first, in five questions whatever their number."""
    model, challenger = champion(), shadowed_by()
    former = set(Bundle.objects.filter(deployments__alias=CHAMPION).values_list("pk", flat=True))
    made = dict(bundles.order_by().annotate(n=Count("runs__predictions")).values_list("pk", "n"))
    checks: dict[Any, GateCheck] = {}
    done = GateCheck.objects.filter(state=JobState.SUCCEEDED, candidate__in=bundles)
    for check in done.filter(champion=model).select_related("holdout").order_by("requested_at"):
        checks[check.candidate_id] = check
    rows = []
    for bundle in bundles.select_related("training_run"):
        newest = checks.get(bundle.pk)
        gates = gates_in(newest.gates) if newest else gates_of(bundle.card)
        alias = (
            "champion" if bundle == model
            else "challenger" if bundle == challenger
            else "former champion" if bundle.pk in former
            else ""
        )  # fmt: skip
        rows.append(Version(bundle, alias, Verdicts.of(gates), newest, made.get(bundle.pk, 0)))
    return rows


@dataclass(frozen=True, slots=True)
class Point:
    """A figure of a version, for a plot and the table beneath it."""

    version: str
    made_at: str
    figures: Mapping[str, Any]


def curves() -> dict[str, Any]:
    """Figures by version and date: on each version's own test people, and on each holdout."""
    own = [
        _point(bundle, _figures(bundle.card.get("metrics", {}))) for bundle in Bundle.objects.all()
    ]
    series = [{"name": "each version's own test people", "points": _by_date(own)}]
    checks = GateCheck.objects.filter(state=JobState.SUCCEEDED).select_related(
        "candidate", "champion", "holdout"
    )
    by_holdout: dict[str, dict[int, dict[str, Any]]] = {}
    for check in checks.order_by("requested_at"):
        points = by_holdout.setdefault(check.holdout.name, {})
        for bundle, key in ((check.candidate, "candidate"), (check.champion, "champion")):
            if bundle is not None and check.report.get(key):
                points[bundle.pk] = _point(bundle, _figures(check.report[key]))
    series += [
        {"name": f"holdout {name}", "points": _by_date(points.values())}
        for name, points in by_holdout.items()
    ]
    return {"curves": CURVES, "series": series}


def _by_date(points: Any) -> list[dict[str, Any]]:
    return sorted(points, key=lambda point: point["made_at"])


def _point(bundle: Bundle, figures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": bundle.version,
        "made_at": bundle.card.get("created_at", bundle.registered_at.isoformat()),
        "figures": figures,
    }


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metrics[name] for name in CURVES if metrics.get(name) is not None}


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of two versions side by side.

    Attributes:
        difference: second minus first on the same people, where a check has it.
        differs: whether the two say different things.
    """

    key: str
    unit: str
    first: Any
    second: Any
    difference: Mapping[str, Any] | None
    differs: bool

    @property
    def is_setting(self) -> bool:
        return self.key.startswith(SETTING)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions side by side.

    Attributes:
        check: the newest check that has judged both on the same people.
        figures: measured.
        facts: what they are: people, inputs, settings.
    """

    first: Bundle
    second: Bundle
    check: GateCheck | None
    figures: Sequence[Difference]
    facts: Sequence[Difference]


def compare(first: Bundle, second: Bundle) -> Comparison:
    """Lay two versions side by side, on the same people where a check has judged both."""
    check = _check_of(first, second)
    if check is not None:
        keys = ("candidate", "champion")
        ours, theirs = keys if check.candidate_id == second.pk else keys[::-1]
        one, two = check.report[theirs], check.report[ours]
        sign = 1 if check.candidate_id == second.pk else -1
        paired = {name: _signed(each, sign) for name, each in check.report["differences"].items()}
    else:
        one, two = (bundle.card.get("metrics", {}) for bundle in (first, second))
        paired = {}
    flat = [dict(_flat(each)) for each in (one, two)]
    names = list(dict.fromkeys([*flat[0], *flat[1]]))
    figures = [
        Difference(
            name, UNITS.get(name, NO_UNIT), flat[0].get(name), flat[1].get(name),
            paired.get(name), flat[0].get(name) != flat[1].get(name),
        )
        for name in names
    ]  # fmt: skip
    facts = [dict(_facts(bundle.card)) for bundle in (first, second)]
    lines = [
        Difference(name, "", facts[0].get(name), facts[1].get(name), None,
                   facts[0].get(name) != facts[1].get(name))
        for name in dict.fromkeys([*facts[0], *facts[1]])
    ]  # fmt: skip
    return Comparison(first, second, check, figures, lines)


def _check_of(first: Bundle, second: Bundle) -> GateCheck | None:
    done = GateCheck.objects.filter(state=JobState.SUCCEEDED).select_related("holdout")
    either = done.filter(candidate=second, champion=first) | done.filter(
        candidate=first, champion=second
    )
    return either.order_by("-requested_at").first()


def _signed(estimate: Mapping[str, Any], sign: int) -> Mapping[str, Any]:
    if sign > 0:
        return estimate
    turned = {"value": -estimate["value"], "low": -estimate["high"], "high": -estimate["low"]}
    return {**estimate, **turned}


def _flat(metrics: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in metrics.items():
        if isinstance(value, Mapping) and "value" not in value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _facts(card: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    people = card.get("reference", {})
    yield "Trained on", people.get("n")
    yield "With AD", people.get("n_ad")
    yield "Youngest, years", people.get("age_low_years")
    yield "Oldest, years", people.get("age_high_years")
    yield "Base rate", card.get("base_rate")
    yield "Profile", card.get("profile")
    yield "Voxel edge, mm", card.get("spacing_mm")
    yield "Seed", card.get("seed")
    yield "Inputs", len(card.get("schema", ()))
    yield "Inputs needed for a number", card.get("min_inputs")
    yield "Split of the people, sha256", str(card.get("training", {}).get("split", ""))[:12]
    for name, value in _flat(card.get("training", {}).get("settings", {})):
        yield f"{SETTING}{name}", ", ".join(map(str, value)) if isinstance(value, list) else value
