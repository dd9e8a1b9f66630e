"""What is to become of each column: found out, changed by a person, kept as a template."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from ml.concepts import Kind, dictionary


class Role(StrEnum):
    """What a column is for."""

    PATIENT = "patient"  # says who
    FINDING = "finding"  # holds values of a concept
    TIME = "time"  # date of the visit
    MONTHS = "months"  # months since the first visit
    DAYS = "days"  # days since the first visit
    BIRTH = "birth"  # becomes the age
    UNIT = "unit"  # unit of another column's values
    CODE = "code"  # of a long file: what was observed
    SYSTEM = "system"  # its code system
    VALUE = "value"  # the value
    VALUE_UNIT = "value_unit"  # the value's unit
    DROPPED = "dropped"  # identifies people, or is free text: never enters
    IGNORED = "ignored"


class By(StrEnum):
    """How a column was decided."""

    NOBODY = ""
    CODE = "code"
    NAME = "name"
    EXPORT = "export"  # the file is a known study's export
    TEXT = "text"
    RULE = "rule"
    TEMPLATE = "template"
    PERSON = "person"
    LINK = "link"  # a person confirmed it for this code before


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """One column of a table, or one kind of observation of a coded file.

    Attributes:
        key: what identifies it in files of the same shape.
        header: as the file writes it, shortened.
        role: what it is for.
        concept: identifier of the dictionary's concept, or of a code; a mere suggestion while
            `needs_decision`.
        own: the concept that is the code itself, stored beside the dictionary's.
        label: what a code that is no concept of the dictionary is called.
        unit: UCUM unit of the file's values; empty if it is the concept's own or there is none.
        coding: how the file numbers the values, code to value; empty for the dictionary's ways.
        decided_by, score: how it was matched, and how well: 1 for codes and names.
        needs_decision: a person must decide before the rows can be checked.
        hint: a sentence about it.
        alternatives: other concepts, the likelier first, with their score.
        month_first: dates are written 12/31/2024.
    """

    key: str
    header: str
    role: Role
    concept: str = ""
    own: str = ""
    label: str = ""
    unit: str = ""
    coding: dict[str, float | None] = field(default_factory=dict)
    decided_by: By = By.NOBODY
    score: float | None = None
    needs_decision: bool = False
    hint: str = ""
    alternatives: tuple[tuple[str, float], ...] = ()
    month_first: bool = False

    @property
    def label_proximal(self) -> bool:
        """Whether it holds a near-copy of the diagnosis."""
        known = dictionary().get(self.concept)
        return known is not None and known.label_proximal

    @property
    def for_prediction(self) -> bool:
        """Whether its values go to the model."""
        known = dictionary().get(self.concept)
        return self.role is Role.FINDING and known is not None and known.in_schema

    @property
    def is_only_a_code(self) -> bool:
        """Whether it is stored as a code of its own and as nothing else."""
        return self.role is Role.FINDING and ":" in self.concept

    def decided(self, **changes: Any) -> "ColumnPlan":
        """The same column, with something decided."""
        return replace(self, **changes)


def kept_code(code: str, concept: str) -> str:
    """The code that is stored beside a concept that it means; a measured value is stored once."""
    known = dictionary().get(concept)
    return code if known is not None and known.kind is Kind.BINARY else ""


def to_json(columns: Iterable[ColumnPlan]) -> list[dict[str, Any]]:
    """Columns as the database keeps them."""
    return [asdict(column) for column in columns]


def from_json(rows: Iterable[dict[str, Any]]) -> tuple[ColumnPlan, ...]:
    """Columns from what the database kept."""
    return tuple(
        ColumnPlan(
            **{
                **row,
                "role": Role(row["role"]),
                "decided_by": By(row["decided_by"]),
                "alternatives": tuple((c, s) for c, s in row["alternatives"]),
            }
        )
        for row in rows
    )


def by_role(columns: Iterable[ColumnPlan], role: Role) -> list[int]:
    """Places of the columns with a role."""
    return [place for place, column in enumerate(columns) if column.role is role]
