"""The paper's Table 3 from a study's own figures: each arm, the difference, the verdict.

Paper: Table 3, 'Expert evaluation'; two readers, 25 cases an arm, no intervals stated.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.review.protocol import Protocol, Question
from apps.review.reporting.words import (
    ARM_NAMES,
    Cell,
    cell,
    decimal,
    interval,
    title_of,
)

PAPER = {  # real / synthetic
    "realism": (".54", ".42"),
    "usability": ("3.04", "2.96"),
    "interpretability": ("3.00", "2.98"),
}
WIDTH, HEIGHT = 230.0, 34.0  # of the small picture, in its own units
SPARE = 1.15  # how much farther the axis reaches than anything drawn on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Difference, intervals and margin on one axis with zero in the middle; lengths from the left.

    Attributes:
        inner: the interval of the equivalence test, 1 - 2 alpha.
    """

    words: str
    zero: float
    dot: float
    outer: tuple[float, float] | None
    inner: tuple[float, float] | None
    margin: tuple[float, float] | None
    width: float = WIDTH
    height: float = HEIGHT

    @property
    def middle(self) -> float:
        return self.height / 2

    @property
    def margin_width(self) -> float:
        return round(self.margin[1] - self.margin[0], 1) if self.margin else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests allow to be said: 'equivalent', 'difference', 'neither' or 'undefined'."""

    kind: str
    text: str
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question."""

    name: str
    title: str
    text: str
    unit: str
    reference: Cell
    compared: Cell
    difference: Cell
    picture: Picture | None
    verdict: Verdict
    paper: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table3:
    """One compared arm against the reference.

    Attributes:
        rows: the questions that state a margin first, then the others.
        notes: what the figures do not speak of, each said once.
    """

    arm: str
    reference_name: str
    compared_name: str
    rows: Sequence[Row]
    notes: Sequence[str]
    has_paper: bool


def tables_of(content: Mapping[str, Any], plan: Protocol) -> list[Table3]:
    """One table for each compared arm, from the content of an analysis."""
    return [_table(content, plan, arm) for arm in content["compared"]]


def _table(content: Mapping[str, Any], plan: Protocol, arm: str) -> Table3:
    found = content["statistics"]["questions"]
    asked = [question for question in plan.questions if question.name in found]
    asked.sort(key=lambda question: question.margin is None)  # stable: the form's order otherwise
    pairs = [(question, found[question.name]["comparisons"][arm]) for question in asked]
    has_paper = arm == "pseudo_mri"
    return Table3(
        arm=arm,
        reference_name=ARM_NAMES[content["reference"]],
        compared_name=ARM_NAMES[arm],
        rows=[
            _row(question, of, alpha=content["statistics"]["alpha"], has_paper=has_paper)
            for question, of in pairs
        ],
        notes=_notes(pairs, content["statistics"]["notes"]),
        has_paper=has_paper,
    )


def _row(question: Question, of: Mapping[str, Any], *, alpha: float, has_paper: bool) -> Row:
    paper = PAPER.get(question.name) if has_paper else None
    return Row(
        name=question.name,
        title=title_of(question.name),
        text=question.text,
        unit=unit_of(question),
        reference=cell(of["reference"]),
        compared=cell(of["compared"]),
        difference=cell(of["difference"], signed=True),
        picture=picture_of(of),
        verdict=verdict_of(of, alpha),
        paper=" / ".join(paper) if paper else "",
    )


def unit_of(question: Question) -> str:
    """What the numbers are."""
    return {
        "yes_no": "share “yes”",
        "guess": "share “synthetic”",
        "sign": "share “present”, unsure left out",
        "scale": "mean, 1 to 5",
    }[question.kind]


def verdict_of(comparison: Mapping[str, Any], alpha: float) -> Verdict:
    """Equivalence is one test and difference another: both, one or neither can be shown."""
    p, equivalence = comparison["p"], comparison["equivalence"]
    tested = equivalence is not None and equivalence["shown"] is not None
    if p is None and not tested:
        reason = (equivalence or {}).get("note") or comparison["difference"]["note"]
        return Verdict("undefined", "No test", reason)
    differs = p is not None and p < alpha
    if tested and equivalence["shown"]:
        text = f"Equivalent within ±{decimal(equivalence['margin'])}"
        return Verdict("equivalent", text, "and a difference is shown" if differs else "")
    without = "equivalence not shown" if equivalence is not None else ""
    if differs:
        return Verdict("difference", "A difference is shown", without)
    if equivalence is None:
        return Verdict("neither", "No difference is shown", "no margin, so no equivalence test")
    return Verdict("neither", "Equivalence not shown", "and no difference shown")


def picture_of(comparison: Mapping[str, Any]) -> Picture | None:
    """Where difference, intervals and margin lie; None where there is no difference to draw."""
    difference, equivalence = comparison["difference"], comparison["equivalence"]
    value, low, high = (difference[key] for key in ("value", "low", "high"))
    if value is None:
        return None
    margin = equivalence["margin"] if equivalence else None
    inner = (equivalence["low"], equivalence["high"]) if equivalence else (None, None)
    reach = SPARE * max(abs(x) for x in (value, low, high, *inner, margin, 1e-6) if x is not None)

    def place(x: float) -> float:
        return float(round(WIDTH / 2 * (1 + x / reach), 1))

    def places(one: float | None, two: float | None) -> tuple[float, float] | None:
        return None if one is None or two is None else (place(one), place(two))

    words = f"Difference {decimal(value, signed=True)}"
    if low is not None:
        words += f", 95 % interval {interval(low, high)[1:-1]}"
    if margin is not None:
        words += f", margin {decimal(margin)}"
    return Picture(
        words=words,
        zero=WIDTH / 2,
        dot=place(value),
        outer=places(low, high),
        inner=places(*inner),
        margin=None if margin is None else (place(-margin), place(margin)),
    )


def notes_of(figures: Iterable[Mapping[str, Any] | None], said: Sequence[str]) -> list[str]:
    """What figures have to say of themselves, each note once, without what is `said` of all."""
    notes = []
    for figure in figures:
        note = figure["note"] if figure else ""
        for known in said:
            note = note.replace(known, "")
        notes.append(note.strip())
    return [note for note in dict.fromkeys(notes) if note]


def _notes(
    pairs: Sequence[tuple[Question, Mapping[str, Any]]], of_study: Sequence[str]
) -> list[str]:
    """Notes of shares, means and differences, with the questions that they are about."""
    said: dict[str, list[str]] = {}
    for question, of in pairs:
        for note in notes_of([of["reference"], of["compared"], of["difference"]], of_study):
            said.setdefault(note, []).append(title_of(question.name))
    return [
        note if len(names) == len(pairs) else f"{', '.join(names)}: {note}"
        for note, names in said.items()
    ]
