"""The concept dictionary: what each finding is called, measured in and allowed to be.

Standard library only, because the web side validates uploads with it. The entries are data, in
`concepts.toml` beside this file, each with its source.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path


class Kind(StrEnum):
    """How a concept's value is to be read."""

    BINARY = "binary"
    ORDINAL = "ordinal"
    CATEGORICAL = "categorical"
    CONTINUOUS = "continuous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """One clinical concept.

    Attributes:
        id: stable identifier, snake_case, in file headers and in the database.
        label: what a page calls it.
        group: heading under which a page lists it.
        kind: how its value is read.
        unit: UCUM-like unit of a continuous value; empty if it has none.
        low, high: plausible range of the value, inclusive, in `unit`.
        levels: number of a level to its label, for ordinal and categorical concepts.
        codings: text found in files (lower case) to the number it stands for, beside the numbers.
        fields: names of the same concept in other files, ADNI's field name first.
        synonyms: other words for the label.
        hpo: identifiers of the Human Phenotype Ontology that it links to.
        in_schema: one of the 88 inputs of the model.
        label_proximal: a near-copy of the diagnosis, kept out of prediction (method.md trap 6).
        source: where range, coding and links come from.
    """

    id: str
    label: str
    group: str
    kind: Kind
    unit: str = ""
    low: float
    high: float
    levels: Mapping[int, str] = field(default_factory=dict)
    codings: Mapping[str, float] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    hpo: tuple[str, ...] = ()
    in_schema: bool = True
    label_proximal: bool = False
    source: str


@cache
def dictionary() -> Mapping[str, Concept]:
    """All concepts by identifier, in the order of the file."""
    with (Path(__file__).parent / "concepts.toml").open("rb") as file:
        entries = tomllib.load(file)["concept"]
    return {entry["id"]: _concept(entry) for entry in entries}


@cache
def schema() -> tuple[str, ...]:
    """Identifiers of the 88 inputs, in order (method.md section 9)."""
    return tuple(c.id for c in dictionary().values() if c.in_schema)


def _concept(entry: dict[str, object]) -> Concept:
    ...
