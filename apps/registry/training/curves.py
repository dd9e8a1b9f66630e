"""What a training told, as its page draws it: curves thinned to what a screen can show.

After a resume, steps behind the checkpoint are told once more; of one step the event with the
highest attempt counts, so that no curve is drawn twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Max

from apps.registry.models import TrainingEvent, TrainingRun

MOST_POINTS = 400
"""Of one curve; a plot is some 600 pixels wide."""
MOST_AT_ONCE = 1_000
LOG_LINES = 200
NOT_A_LOSS = frozenset({"learning rate"})
_COLUMNS = ("seq", "kind", "stage", "step", "steps", "values", "text", "file", "told_at")
_LOG_KINDS = ("stage", "saved", "log", "metric")


def overview(run: TrainingRun) -> dict[str, Any]:
    """Everything up to now, small enough to draw at once."""
    last = run.events.aggregate(last=Max("seq"))["last"] or 0
    steps = run.events.filter(kind="step", seq__lte=last).order_by("seq")
    curves = curves_of(steps.values_list("attempt", "stage", "step", "values"))
    return {
        "last": last,
        "more": False,
        "curves": curves,
        "resumed": resumed_at(run, last),
        "events": events_of(run, kinds=("metric",), until=last),
        "log": log_of(run, until=last),
    }


def news(run: TrainingRun, after: int) -> dict[str, Any]:
    """What was told after an event, at most `MOST_AT_ONCE` of it."""
    rows = list(
        run.events.filter(seq__gt=after).order_by("seq").values_list(*_COLUMNS)[:MOST_AT_ONCE]
    )
    events = [_event(row) for row in rows]
    return {
        "last": events[-1]["seq"] if events else after,
        "more": len(events) == MOST_AT_ONCE,
        "events": [
            {**each, "rows": rows_of(each["text"])} if each["kind"] == "example" else each
            for each in events
            if each["kind"] in {"step", "metric", "example"}
        ],
        "log": [_line(each) for each in events if each["kind"] in _LOG_KINDS],
    }


def curves_of(
    steps: Iterable[tuple[int, str, int, Mapping[str, float]]],
) -> dict[str, dict[str, list[list[float]]]]:
    """Stage to loss to its points (step, value), each step once, thinned."""
    newest: dict[tuple[str, int], tuple[int, Mapping[str, float]]] = {}
    for attempt, stage, step, values in steps:
        if values and newest.get((stage, step), (0, {}))[0] <= attempt:
            newest[stage, step] = attempt, values
    curves: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for stage, step in sorted(newest):
        for name, value in newest[stage, step][1].items():
            if name not in NOT_A_LOSS:
                curves[stage][name].append([step, value])
    return {
        stage: {name: thinned(points) for name, points in named.items()}
        for stage, named in curves.items()
    }


def thinned(points: Sequence[list[float]], most: int = MOST_POINTS) -> list[list[float]]:
    """At most so many points: of each stretch the lowest and the highest, so no peak is lost.

    >>> thinned([[1, 5.0], [2, 9.0], [3, 1.0], [4, 4.0]], most=2)
    [[2, 9.0], [3, 1.0]]
    """
    if len(points) <= most:
        return list(points)
    stretches = most // 2
    kept: list[list[float]] = []
    for n in range(stretches):
        part = points[n * len(points) // stretches : (n + 1) * len(points) // stretches]
        ends = (min(part, key=lambda each: each[1]), max(part, key=lambda each: each[1]))
        kept += sorted(ends) if ends[0] is not ends[1] else [ends[0]]
    return kept


def resumed_at(run: TrainingRun, until: int) -> list[dict[str, Any]]:
    """Stage and step at which each attempt after the first began."""
    firsts = (
        run.events.filter(kind="step", seq__lte=until, attempt__gt=1)
        .exclude(values={})  # scans are read again, which is no step of learning
        .order_by("attempt", "seq")
        .distinct("attempt")
        .values("attempt", "stage", "step", "told_at")
    )
    return [{**each, "told_at": _clock(each["told_at"])} for each in firsts]


def events_of(run: TrainingRun, *, kinds: Sequence[str], until: int) -> list[dict[str, Any]]:
    """Events of some kinds, each step's of its highest attempt."""
    rows = run.events.filter(kind__in=kinds, seq__lte=until).order_by("seq")
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows.values_list(*_COLUMNS):
        event = _event(row)
        newest[event["kind"], event["stage"], event["step"], *sorted(event["values"])] = event
    return list(newest.values())


def examples_of(run: TrainingRun) -> list[TrainingEvent]:
    """Pictures that are kept, each once, in the order in which they were made."""
    newest: dict[str, TrainingEvent] = {}
    for event in run.events.filter(kind="example").exclude(file="").order_by("seq"):
        newest.pop(event.file, None)
        newest[event.file] = event
    return list(newest.values())


def rows_of(text: str) -> list[tuple[str, bool]]:
    """What the rows of a picture show, and whether they were generated.

    The engine says `Rows: scan, reconstruction. ...`; whatever is not a scan was generated.

    >>> rows_of("Rows: scan, pseudo-MRI. 2 training people, three planes each.")
    [('scan', False), ('pseudo-MRI', True)]
    """
    if not text.startswith("Rows: "):
        return []
    kinds = text.removeprefix("Rows: ").split(".")[0].split(", ")
    return [(kind, kind != "scan") for kind in kinds]


def log_of(run: TrainingRun, *, until: int) -> list[dict[str, str]]:
    """The newest lines, newest first."""
    rows = run.events.filter(kind__in=_LOG_KINDS, seq__lte=until).order_by("-seq")
    return [_line(_event(row)) for row in rows.values_list(*_COLUMNS)[:LOG_LINES]]


def figures_of(run: TrainingRun) -> list[tuple[str, str, float]]:
    """Stage, name and newest value of everything that was measured, for the table of the page."""
    found: dict[tuple[str, str], float] = {}
    rows = run.events.filter(kind="metric").order_by("seq").values_list("stage", "values")
    for stage, values in rows:
        for name, value in values.items():
            found[stage, name] = value
    return [(stage, name, value) for (stage, name), value in found.items()]


def _event(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_COLUMNS, row, strict=True)) | {"told_at": _clock(row[-1])}


def _line(event: Mapping[str, Any]) -> dict[str, str]:
    """An event as a line for a person."""
    kind, stage = event["kind"], event["stage"]
    if kind == "metric":
        said = ", ".join(f"{name} {value:.4g}" for name, value in event["values"].items())
        text = f"{stage}: {said}"
    elif kind == "saved":
        text = f"{stage}: checkpoint written"
    elif kind == "stage":
        text = f"{stage} begins"
    else:
        text = f"{stage}: {event['text']}" if stage else event["text"]
    return {"at": event["told_at"], "text": text}


def _clock(moment: Any) -> str:
    return f"{moment:%H:%M:%S}"
