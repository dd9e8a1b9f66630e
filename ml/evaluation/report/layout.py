"""How a report is put together: sections, tables, and the words for what cannot be told."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ml.evaluation.parts.trial import NOT_TOLD

Reader = Literal["clinician", "scientist"]
Results = Mapping[str, Any]
Section = dict[str, Any]


def section(
    name: str,
    title: str,
    reader: Reader,
    *,
    help_text: str = "",
    table: Mapping[str, Any] | None = None,
    figure: Mapping[str, Any] | None = None,
    empty: str = "",
) -> Section:
    """One section; a section without table and figure says why."""
    return {
        "id": name,
        "title": title,
        "reader": reader,
        "help": help_text,
        "table": table,
        "figure": figure,
        "empty": "" if table or figure else empty,
    }


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, text: bool = False
) -> dict[str, Any]:
    """Cells that are formatted already; the first of a row is its header, the others numbers.

    Args:
        caption: above the table.
        head: names of the columns.
        rows: as wide as the head.
        text: the other cells are words.
    """
    return {
        "caption": caption,
        "head": list(head),
        "rows": [list(row) for row in rows],
        "text": text,
    }


def not_told(name: str, title: str, figures: Mapping[str, Any], reader: Reader) -> Section:
    """A section that says why there is nothing to show."""
    return section(name, title, reader, empty=f"Not told: {figures[NOT_TOLD]}.")
