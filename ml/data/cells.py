"""Read one cell as the value of a concept, or say why it is none. Standard library only."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ml.concepts import UNIT_LABELS, Concept, Kind, normalise_name

NOT_OBSERVED = ("", "na", "n/a", ".")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d[\d.,'\s]*,\d+", re.ASCII)
_DATE = re.compile(r"\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}|\d{1,2}/\d{1,4}", re.ASCII)
_NUMBER_AND_WORD = re.compile(r"[+-]?\d+(\.\d+)?\s*[^\W\d_].*")
_MAX_SHOWN = 40
_MAX_NUMBER_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a cell is no value: a short code, and a sentence with the way out."""

    code: str
    message: str


class CellReader:
    """Reads the cells of one column.

    Args:
        concept: what the column holds.
        header: the column's name in the file; under an ADNI or UDS field name the numbers of that
            field are understood (`Concept.field_codings`).
    """

    def __init__(self, concept: Concept, header: str) -> None:
        self._concept = concept
        self._field = header
        self._codes: Mapping[str, float] | None = concept.field_codings.get(normalise_name(header))
        self._lists_all = self._codes == {} or _gives_values(self._codes)
        self._words = {label.casefold(): float(n) for n, label in concept.levels.items()}
        self._words.update(concept.codings)

    def read(self, cell: str) -> float | Refusal | None:
        """The concept's value, None if it was not observed, or why the cell was refused."""
        text = cell.strip()
        word = text.casefold()
        if word in NOT_OBSERVED:
            return None
        if word in self._words:
            return _observed(self._words[word])
        if len(text) > _MAX_NUMBER_CHARACTERS or not _NUMBER.fullmatch(text):
            return self._not_a_number(text[: 2 * _MAX_NUMBER_CHARACTERS])
        number = float(text)
        if not math.isfinite(number):
            return Refusal("not_finite", f"It is too large for a number. {self._allowed()}")
        if self._codes is not None:
            code = f"{number:.10g}"
            if code in self._codes:
                return _observed(self._codes[code])
            if self._lists_all:
                return Refusal("code", f"It is no code of {self._field}. {self._allowed()}")
        return self._in_range(number)

    def _in_range(self, number: float) -> float | Refusal:
        concept = self._concept
        if concept.kind is Kind.CONTINUOUS:
            if concept.low <= number <= concept.high:
                return number
            hint = " Leave the cell empty where nothing was measured." if number < 0 else ""
            return Refusal("out_of_range", f"It is out of range. {self._allowed()}{hint}")
        if number in concept.levels:
            return number
        return Refusal("level", f"It is none of the levels. {self._allowed()}{self._other_field()}")

    def _not_a_number(self, text: str) -> Refusal:
        """The likeliest reason why a cell is no number, and what to write in its place."""
        allowed = self._allowed()
        if text.casefold().lstrip("+-") in {"nan", "inf", "infinity"}:
            return Refusal("not_finite", f"It is no finite number. {allowed} {_LEAVE_EMPTY}")
        if text[0] in "=@" or (text[0] in "+-" and not text[1:2].isdigit() and text.strip("-")):
            return Refusal("formula", f"It is a formula. Write its result as a value. {allowed}")
        if text[0] in "<>≤≥":
            return Refusal(
                "bound",
                f"It is a bound, not a value. Write the value itself. {allowed} {_LEAVE_EMPTY}",
            )
        if self._concept.kind is not Kind.CONTINUOUS:
            return Refusal("word", f"It is not understood. {allowed} {_LEAVE_EMPTY}")
        if _DATE.fullmatch(text):
            return Refusal("date", f"It looks like a date, not a number. {allowed}")
        if _COMMA.fullmatch(text):
            return Refusal(
                "comma",
                "It holds a comma, which may mean a decimal or thousands. Write 74.5 for seventy-"
                f"four and a half and no mark for thousands. {allowed}",
            )
        if _NUMBER_AND_WORD.fullmatch(text):
            return Refusal("text_in_number", f"Write the number alone, without words. {allowed}")
        return Refusal("not_a_number", f"It is not a number. {allowed} {_LEAVE_EMPTY}")

    def _allowed(self) -> str:
        concept = self._concept
        if concept.kind is Kind.CONTINUOUS:
            unit = UNIT_LABELS.get(concept.unit, concept.unit)
            return f"{concept.label} lies between {concept.low:g} and {concept.high:g} {unit}."
        if self._lists_all and self._codes is not None:
            known = {code: value for code, value in self._codes.items() if not math.isnan(value)}
            if not known:
                return f"Use words: {', '.join(concept.levels.values())}."
            pairs = (f"{code} = {concept.levels[int(value)]}" for code, value in known.items())
        else:
            pairs = (f"{number} = {label}" for number, label in concept.levels.items())
        return f"Use {', '.join(pairs)}."

    def _other_field(self) -> str:
        """Where the same number would be understood: under the name of the field it comes from."""
        field = next(iter(self._concept.fields), "")
        if not _gives_values(self._concept.field_codings.get(normalise_name(field))):
            return ""
        return f" Codes of {field} are understood under the header {field}."


_LEAVE_EMPTY = "Leave the cell empty where nothing was observed."


def shorten(text: str, limit: int = _MAX_SHOWN) -> str:
    """A cell as a message may show it: short, and without characters that hide or reorder text."""
    shown = "".join(c if c.isprintable() else "·" for c in text[: limit + 1])
    return shown if len(text) <= limit else shown[:limit] + "…"


def _gives_values(codes: Mapping[str, float] | None) -> bool:
    """Whether a field's codes are values, not only ways to say that there is none."""
    return codes is not None and any(not math.isnan(value) for value in codes.values())


def _observed(value: float) -> float | None:
    return None if math.isnan(value) else value
