"""JSON as the standard has it: no NaN, no doubled keys, no depth or number without a limit."""

import json
from typing import Any

from apps.patients.importing.source import FileRefusedError

MAX_DEPTH = 100
MAX_DIGITS = 300


def loads(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        FileRefusedError: it is not JSON, or uses what Python's reader lets pass and the standard
            does not.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_doubles,
            parse_constant=_refuse_constant,
            parse_int=_bounded_int,
        )
    except RecursionError as error:
        raise _too_deep() from error
    except (ValueError, UnicodeDecodeError) as error:
        place = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise FileRefusedError("json", f"This is not JSON{place}. Export it again.") from error
    _check_depth(value)
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FileRefusedError(
            "doubled_key",
            "An object names the same key twice, so one of its values would be lost. Export it "
            "again.",
        )
    return found


def _refuse_constant(name: str) -> Any:
    raise FileRefusedError(
        "not_finite", f"The file holds {name}, which JSON does not have. Leave such values out."
    )


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise FileRefusedError(
            "long_number", f"A number has more than {MAX_DIGITS} digits. Correct it."
        )
    return int(digits)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(v for v in each.values() if isinstance(v, dict | list))
            elif isinstance(each, list):
                inner.extend(v for v in each if isinstance(v, dict | list))
        if not inner:
            return
        level = inner
    raise _too_deep()


def _too_deep() -> FileRefusedError:
    return FileRefusedError(
        "too_deep", f"The JSON is nested more than {MAX_DEPTH} levels deep. No resource is."
    )
