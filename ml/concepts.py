"""The concept dictionary: what each finding is called, measured in and allowed to be.

Standard library only, because the web side validates uploads with it. The entries are data, in
`concepts.toml` beside this file, each with its source.
"""

import math
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any


class Kind(StrEnum):
    """How a concept's value is to be read."""

    BINARY = "binary"
    ORDINAL = "ordinal"
    CATEGORICAL = "categorical"
    CONTINUOUS = "continuous"
    PRESENCE = "presence"  # recorded (1) or not; nobody records that a code is absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """One clinical concept.

    Attributes:
        id: stable identifier, snake_case, in file headers and in the database.
        label: what a page calls it.
        group: heading under which a page lists it.
        kind: how its value is read.
        unit: UCUM unit of a continuous value; empty if it has none.
        low, high: plausible range of the value, inclusive, in `unit`.
        levels: number of a level to its label, for all but continuous concepts.
        codings: words found in files (lower case) to the number they stand for, beside the
            numbers; NaN stands for "not observed".
        fields: names of the same concept in other files, ADNI's field name first.
        field_codings: numbers of one field (by its normalised name) to the concept's value, where
            that field counts otherwise: ADNI's AXNAUSEA is 1 = absent, 2 = present. A table that
            gives values lists them all; one that only lists codes of the unobserved leaves the
            other numbers as they are; an empty one takes words only.
        synonyms: other words for the label.
        hpo: identifiers of the Human Phenotype Ontology that it links to if present.
        codes: code system ("loinc", "snomed", "icd10", "rxnorm") to the codes that mean it.
        units: other UCUM units that values may come in, to factor and offset into `unit`.
        critical_low, critical_high: outside them a possible value would alarm a clinician.
        answers: coded answers of a question (words, lower case, and codes) to the value.
        bounded: values are cut at the limits of the instrument, so ">1700" is the value 1700.
        in_schema: one of the 88 inputs of the model.
        label_proximal: a near-copy of the diagnosis (method.md trap 6). Outside the schema it is
            never an input. Inside the schema it takes part, and every evaluation reports with and
            without (`label_proximal_inputs`).
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
    field_codings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    synonyms: tuple[str, ...] = ()
    hpo: tuple[str, ...] = ()
    codes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    critical_low: float | None = None
    critical_high: float | None = None
    answers: Mapping[str, float] = field(default_factory=dict)
    bounded: bool = False
    in_schema: bool = True
    label_proximal: bool = False
    source: str

    def names(self) -> tuple[str, ...]:
        """Everything a header may call it, as written: identifier, label, fields, synonyms."""
        return (self.id, self.label, *self.fields, *self.synonyms)

    def describe(self, value: float) -> str:
        """The value as a page writes it.

        >>> dictionary()["weight_kg"].describe(81.5)
        '81.5 kg'
        >>> dictionary()["female"].describe(1.0)
        'Female'
        """
        if self.levels:
            return self.levels[int(value)]
        return f"{value:.10g} {UNIT_LABELS.get(self.unit, self.unit)}".rstrip()


UNIT_LABELS: Mapping[str, str] = MappingProxyType(
    {"a": "years", "mm[Hg]": "mmHg", "/min": "per minute", "Cel": "°C", "kg/m2": "kg/m²"}
)
# What may follow a name in a header, as in "Weight (kg)"; another unit makes an unknown column.
_UNIT_SPELLINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "a": ("years", "yrs", "y", "a"),
        "kg": ("kg", "kilograms"),
        "cm": ("cm", "centimetres", "centimeters"),
        "kg/m2": ("kgm2",),
        "mm[Hg]": ("mmhg",),
        "/min": ("min", "permin", "perminute", "bpm"),
        "Cel": ("c", "cel", "celsius", "degc"),
    }
)


@cache
def dictionary() -> Mapping[str, Concept]:
    """All concepts by identifier, in the order of the file."""
    with (Path(__file__).parent / "concepts.toml").open("rb") as file:
        content = tomllib.load(file)
    tables = {
        name: MappingProxyType({text: float(number) for text, number in table.items()})
        for name, table in content["coding"].items()
    }
    return MappingProxyType({e["id"]: _concept(e, tables) for e in content["concept"]})


@cache
def schema() -> tuple[str, ...]:
    """Identifiers of the 88 inputs, in order (method.md section 9)."""
    return tuple(c.id for c in dictionary().values() if c.in_schema)


@cache
def label_proximal_inputs() -> tuple[str, ...]:
    """Inputs that lean on the diagnosis: every evaluation reports with and without them."""
    return tuple(i for i in schema() if dictionary()[i].label_proximal)


def normalise_name(name: str) -> str:
    """What of a header counts: its letters and digits, whatever their case, width or accents' form.

    >>> normalise_name(" Systolic  blood-pressure (mm[Hg]) ")
    'systolicbloodpressuremmhg'
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(letter for letter in folded if letter.isalnum())


@cache
def concepts_by_name() -> Mapping[str, Concept]:
    """Every normalised name of every concept; no name belongs to two."""
    found: dict[str, Concept] = {}
    for concept in dictionary().values():
        bare = [normalise_name(name) for name in concept.names()]
        units = _UNIT_SPELLINGS.get(concept.unit, ())
        for name in (*bare, *(stem + unit for stem in bare for unit in units)):
            if found.setdefault(name, concept) is not concept:
                raise ValueError(f"{concept.id} and {found[name].id} are both called {name}")
    return MappingProxyType(found)


def _concept(entry: Mapping[str, Any], tables: Mapping[str, Mapping[str, float]]) -> Concept:
    """One entry of the file, with the names of its coding tables replaced by the tables."""
    concept = Concept(
        **{
            **entry,
            "kind": Kind(entry["kind"]),
            "low": float(entry["low"]),
            "high": float(entry["high"]),
            "levels": MappingProxyType(
                {int(number): label for number, label in entry.get("levels", {}).items()}
            ),
            **{
                name: tables[entry[name]] if name in entry else MappingProxyType({})
                for name in ("codings", "answers")
            },
            "codes": MappingProxyType(
                {system: tuple(codes) for system, codes in entry.get("codes", {}).items()}
            ),
            "units": MappingProxyType(
                {
                    unit: (float(f), float(offset))
                    for unit, (f, offset) in entry.get("units", {}).items()
                }
            ),
            "field_codings": MappingProxyType(
                {
                    normalise_name(name): tables[table]
                    for name, table in entry.get("field_codings", {}).items()
                }
            ),
            **{name: tuple(entry.get(name, ())) for name in ("fields", "synonyms", "hpo")},
        }
    )
    if not (math.isfinite(concept.low) and concept.low < concept.high):
        raise ValueError(f"concepts.toml: {concept.id} has no range")
    return concept
