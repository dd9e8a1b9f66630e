"""Cells of one column as the bytes that PostgreSQL's COPY wants, or why a cell is no value.

A text is read once: most columns hold few different ones, and looking one up is what makes a file
of 8.8 million cells a matter of seconds.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import replace

from apps.patients.importing import units
from apps.patients.importing.door import OLDEST_AGE_YEARS, capped
from apps.patients.importing.plan import ColumnPlan
from ml.concepts import Concept, Kind, dictionary, normalise_name
from ml.data.cells import CellReader, Refusal

AGE = "age"
AGES = frozenset({AGE, "quit_smoking_age"})
MISSING = b""
_MAX_KNOWN = 10_000
_LARGEST = 1e12
_DOUBLE = struct.Struct(">d")
_LENGTH = struct.Struct(">i")
_BOUNDS = "<>≤≥ "


def packed(concept: str, value: float, unit: str) -> bytes:
    """Concept, value and unit as three fields of COPY's binary format."""
    name = concept.encode()
    end = unit.encode()
    return b"".join(
        (
            _LENGTH.pack(len(name)),
            name,
            _LENGTH.pack(8),
            _DOUBLE.pack(value),
            _LENGTH.pack(len(end)),
            end,
        )
    )


def value_in(cell: bytes) -> float:
    """The value in packed bytes."""
    [length] = _LENGTH.unpack_from(cell)
    return float(_DOUBLE.unpack_from(cell, length + 8)[0])


def concept_for(plan: ColumnPlan, concept: str) -> Concept:
    """The concept that a column's values are read as; for a code, one made for it."""
    known = dictionary().get(concept)
    if known is not None:
        return known
    measured = concept.startswith("loinc:") and "=" not in concept
    return Concept(
        id=concept,
        label=plan.label or concept,
        group="Codes",
        kind=Kind.CONTINUOUS if measured else Kind.BINARY,
        unit=plan.unit if measured else "",
        low=-_LARGEST if measured else 0.0,
        high=_LARGEST if measured else 1.0,
        levels={} if measured else {0: "No", 1: "Yes"},
        codings={} if measured else dictionary()["diabetes"].codings,
        in_schema=False,
        source="the code system",
    )


class Cells(dict[str, bytes | Refusal]):
    """Texts of one column and what they are.

    Args:
        plan: what the column is.
        concept: identifier of the concept to read it as.
        unit: UCUM unit of the texts; empty for the concept's own.
        decimal_comma: numbers are written 74,5.

    Attributes:
        holds_ages: whether the values are ages, or may be: years under a code we know nothing of.
        aged: texts that are ages over 89.
        critical: texts that are possible and would alarm a clinician.
    """

    def __init__(
        self, plan: ColumnPlan, concept: str, *, unit: str = "", decimal_comma: bool = False
    ) -> None:
        super().__init__()
        self.concept = concept_for(plan, concept)
        known = self.concept.id in dictionary()
        self.holds_ages = self.concept.id in AGES or (not known and self.concept.unit == "a")
        self.aged: set[str] = set()
        self.critical: set[str] = set()
        self._decimal_comma = decimal_comma
        self._factor, self._offset = units.conversion(self.concept, unit or self.concept.unit) or (
            1.0,
            0.0,
        )
        self._reader = CellReader(
            _as_written(self.concept, plan, unit, self._factor, self._offset), plan.header
        )

    def __missing__(self, cell: str) -> bytes | Refusal:
        if len(self) >= _MAX_KNOWN:
            self.clear()
        found = self[cell] = self._read(cell)
        return found

    def _read(self, cell: str) -> bytes | Refusal:
        text = cell.strip()
        if self._decimal_comma and text.count(",") == 1:
            text = text.replace(",", ".")
        if self.concept.bounded:
            text = text.lstrip(_BOUNDS)
        value = self._reader.read(text)
        if value is None:
            return MISSING
        if isinstance(value, Refusal):
            return self._explained(text, value)
        value = value * self._factor + self._offset
        if self.holds_ages and value > OLDEST_AGE_YEARS:
            value = capped(value)
            self.aged.add(cell)
        if _is_critical(self.concept, value):
            self.critical.add(cell)
        return packed(self.concept.id, value, self.concept.unit)

    def _explained(self, text: str, refusal: Refusal) -> Refusal:
        """An implausible number that would be plausible in another unit is said to be that."""
        if refusal.code != "out_of_range":
            return refusal
        for unit, (factor, offset) in self.concept.units.items():
            value = float(text) * factor + offset
            if self.concept.low <= value <= self.concept.high and (factor, offset) != (1.0, 0.0):
                theirs, ours = units.label_of(unit), units.label_of(self.concept.unit)
                limits = f"between {self.concept.low:g} and {self.concept.high:g} {ours}"
                return Refusal(
                    "unit",
                    f"It is out of range in {ours}, and would fit in {theirs}. "
                    f"{self.concept.label} lies {limits}. Convert the cell, or say the column's "
                    "unit.",
                )
        return refusal


def answer_value(concept: Concept, text: str, code: str) -> float | None:
    """The value of a coded answer; NaN if it says that nothing is known, None if unknown."""
    found = concept.answers.get(code) if code else None
    return found if found is not None else concept.answers.get(text.strip().casefold())


def _is_critical(concept: Concept, value: float) -> bool:
    low, high = concept.critical_low, concept.critical_high
    return (low is not None and value < low) or (high is not None and value > high)


def _as_written(
    concept: Concept, plan: ColumnPlan, unit: str, factor: float, offset: float
) -> Concept:
    """The concept in the unit and the numbering of the file, so that messages speak of those."""
    if unit and unit != concept.unit:
        low, high = sorted(((concept.low - offset) / factor, (concept.high - offset) / factor))
        concept = replace(concept, low=low, high=high, unit=units.label_of(unit))
    if plan.coding:
        coding: Mapping[str, float] = {
            code: math.nan if value is None else value for code, value in plan.coding.items()
        }
        concept = replace(concept, field_codings={normalise_name(plan.header): coding})
    return concept
