"""One column's fate, decided by a person."""

from collections.abc import Sequence

from apps.errors import MirageError
from apps.patients.importing import codes
from apps.patients.importing.plan import By, ColumnPlan, Role, kept_code
from apps.patients.importing.units import conversion, label_of
from ml.concepts import dictionary


class ImportRefusedError(MirageError):
    """This cannot be done with the import now; the text says why and what to do."""


def decide(
    columns: Sequence[ColumnPlan], place: int, action: str, concept: str, unit: str
) -> ColumnPlan:
    """The column as it is decided.

    Raises:
        ImportRefusedError: there is no such concept, another column has it, or it does not accept
            the unit.
    """
    column = columns[place]
    if action == "ignore":
        return column.decided(
            role=Role.IGNORED, needs_decision=False, decided_by=By.PERSON, hint=""
        )
    if action == "accept":
        concept, unit = concept or column.concept, unit or column.unit
    _check_concept(columns, place, concept, unit)
    same = concept == column.concept
    code = column.own or (column.concept if column.is_only_a_code else "")
    return column.decided(
        role=Role.FINDING,
        concept=concept,
        own=kept_code(code, concept),
        label=column.label if same or code else _label_of_code(concept),
        unit=unit,
        coding=column.coding if same else {},
        decided_by=By.PERSON,
        needs_decision=False,
        hint="",
    )


def _label_of_code(concept: str) -> str:
    """What a code is called that a person chose; the dictionary knows its own concepts."""
    system, _, text = concept.partition(":")
    found = codes.system_of(system) if text else None
    code = codes.make_code(found, text) if found else None
    return codes.meaning_of(code).label if code else ""


def _check_concept(columns: Sequence[ColumnPlan], place: int, concept: str, unit: str) -> None:
    known = dictionary().get(concept)
    system, _, code = concept.partition(":")
    found = codes.system_of(system) if code else None
    if known is None and (found is None or codes.make_code(found, code) is None):
        raise ImportRefusedError("There is no such concept. Choose one from the list.")
    if known is not None and unit and conversion(known, unit) is None:
        raise ImportRefusedError(
            f"{known.label} cannot be had in {label_of(unit)}. Accepted: "
            f"{', '.join(map(label_of, (known.unit, *known.units)))}."
        )
    for i, other in enumerate(columns):
        taken = other.role is Role.FINDING and not other.needs_decision and other.concept == concept
        is_code = other.own or columns[place].own or columns[place].is_only_a_code
        if taken and i != place and not is_code:
            raise ImportRefusedError(
                f"The column {other.header} has this concept already. Ignore one of them."
            )
