"""An evaluation as its page shows it; every word and figure was made by the worker and is kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from apps.jobs.models import JobState
from apps.registry.models import Bundle, Evaluation

READERS = {"clinician": "In figures", "scientist": "For a scientist"}
MOST_POINTS = 40
"""Of a curve in the table beneath a figure; the report's file has all of them."""
NARROW = 3
"""Columns of a table that still reads well beside another panel."""
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """One panel of the page.

    Attributes:
        said: as the report says it: id, title, help, table, figure, empty.
        is_wide: it needs the whole width.
        points: rows of the table beneath a figure that no table goes with: curve, x, y, interval.
        thinned: of the longest curve, which points the rows show: each, every second ...
    """

    said: Json
    is_wide: bool
    points: Sequence[Sequence[str]]
    thinned: int

    @property
    def height(self) -> int:
        """About how many lines it takes, so that two columns end side by side."""
        table, lines = self.said["table"], 4 + len(self.said["help"] + self.said["empty"]) // 80
        lines += 2 + 2 * len(table["rows"]) if table else 0
        return lines + (18 if self.said["figure"] else 0)


@dataclass(frozen=True, slots=True)
class Row:
    """What stands between two sections that need the whole width, in two columns; or one that does.

    Opening a table moves nothing but what stands beneath it in the same column.
    """

    left: Sequence[Section]
    right: Sequence[Section]


@dataclass(frozen=True, slots=True)
class Part:
    """The sections for one kind of reader."""

    heading: str
    sections: Sequence[Section]

    @property
    def rows(self) -> Iterator[Row]:
        """The sections in their order, each in the column that is shorter by then."""
        for is_wide, run in groupby(self.sections, key=lambda each: each.is_wide):
            if is_wide:
                yield from (Row([each], []) for each in run)
                continue
            columns: tuple[list[Section], list[Section]] = [], []
            for each in run:
                min(columns, key=lambda column: sum(one.height for one in column)).append(each)
            yield Row(*columns)


def parts_of(view: Json) -> list[Part]:
    """The sections by reader, the clinician's first; no part without sections."""
    parts = []
    for reader, heading in READERS.items():
        found = [_section(each) for each in view.get("sections", ()) if each["reader"] == reader]
        if found:
            parts.append(Part(heading, found))
    return parts


def figures_of(view: Json) -> dict[str, Any]:
    """Plotly's figures by the id of their section, for the script that draws them."""
    return {each["id"]: each["figure"] for each in view.get("sections", ()) if each["figure"]}


def latest_of(bundle: Bundle, most: int) -> list[Evaluation]:
    """Evaluations of a version, newest first, without their views, which are long."""
    found = bundle.evaluations.select_related("holdout").defer("view")
    return list(found[:most])


def pairs_of(first: Bundle, second: Bundle) -> list[tuple[Evaluation, Evaluation]]:
    """The newest evaluations of both on each holdout that has judged both."""
    done = Evaluation.objects.filter(state=JobState.SUCCEEDED).select_related("holdout")
    newest: list[dict[Any, Evaluation]] = []
    for bundle in (first, second):
        rows = done.filter(bundle=bundle).defer("view").order_by("requested_at")
        newest.append({each.holdout_id: each for each in rows})
    one, two = newest
    return [(one[key], two[key]) for key in one if key in two]


def _section(said: Json) -> Section:
    table, figure = said["table"], said["figure"]
    has_figure_alone = figure is not None and table is None
    step = _step(figure) if has_figure_alone else 1
    return Section(
        said=said,
        is_wide=table is not None and len(table["head"]) > NARROW,
        points=list(_points(figure, step)) if has_figure_alone else (),
        thinned=step,
    )


def _step(figure: Json) -> int:
    longest = max((len(trace["x"]) for trace in figure["data"]), default=0)
    return -(-longest // MOST_POINTS) or 1


def _points(figure: Json, step: int) -> Iterator[tuple[str, str, str, str]]:
    """Each point of each curve that has a name, in words; of a long curve some of them."""
    for trace in figure["data"]:
        bars = trace.get("error_y", {})
        places = range(0, len(trace["x"]), step if len(trace["x"]) > MOST_POINTS else 1)
        for at in places:
            y, interval = trace["y"][at], ""
            if "array" in bars and "arrayminus" in bars and isinstance(y, int | float):
                low, high = y - bars["arrayminus"][at], y + bars["array"][at]
                interval = f"{_number(low)} to {_number(high)}"
            yield str(trace.get("name", "")), _number(trace["x"][at]), _number(y), interval


def _number(value: Any) -> str:
    """Three digits after the point at most, and a true minus sign.

    >>> _number(-0.12349), _number(30.0), _number("CN"), _number(None)
    ('\u22120.123', '30', 'CN', 'none')
    """
    if value is None:
        return "none"
    if not isinstance(value, int | float):
        return str(value)
    return f"{round(value, 3) + 0.0:.3f}".rstrip("0").rstrip(".").replace("-", "\u2212")
