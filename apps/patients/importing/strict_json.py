"""JSON as the standard has it: no NaN, no doubled keys, no depth or number without a limit."""

import json
import re
from collections.abc import Generator, Iterator
from typing import Any

from apps.patients.importing.source import FileRefusedError

MAX_DEPTH = 100
MAX_DIGITS = 300
MAX_MARKS = 1_000_000
_SPACE = re.compile(r"[ \t\n\r]*")


def loads(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        FileRefusedError: it is not JSON, or uses what Python's reader lets pass and the standard
            does not.
    """
    text = _as_text(text)
    value, end = _value(text, _after_space(text, 0))
    _expect_end(text, end)
    return value


def members(content: bytes, unrolled: str) -> Iterator[tuple[str, Any]]:
    """Keys and values of the object that a JSON text is, one after the other.

    The list under the key `unrolled` comes item by item, each under that key again, so that only
    one of its items is in memory; an empty one does not come at all.

    Raises:
        FileRefusedError: as in `loads`, or the text is no object, or has too many parts.
    """
    marks = content.count(b"{") + content.count(b"[") + content.count(b",")
    if marks > MAX_MARKS:
        raise FileRefusedError(
            "too_many_rows",
            f"The JSON has more than {MAX_MARKS:,} parts. Export it as NDJSON, which is read line "
            "by line.",
        )
    text = _as_text(content)
    place = _after_space(text, 0)
    if text[place : place + 1] != "{":
        raise FileRefusedError("file_type", "This JSON is no object, so it is no FHIR Bundle.")
    seen: set[str] = set()
    place = _after_space(text, place + 1)
    while text[place : place + 1] != "}":
        key, place = _value(text, place)
        place = _after_space(text, place)
        if not isinstance(key, str) or text[place : place + 1] != ":":
            raise _no_json(text, place)
        if key in seen:
            raise _doubled()
        seen.add(key)
        place = _after_space(text, place + 1)
        if key == unrolled and text[place : place + 1] == "[":
            place = yield from _items(text, place, key)
        else:
            value, place = _value(text, place)
            yield key, value
        place = _next(text, place, "}")
    _expect_end(text, place + 1)


def _items(text: str, place: int, key: str) -> Generator[tuple[str, Any], None, int]:
    """Each item of the list at a place; returns the place behind it."""
    place = _after_space(text, place + 1)
    while text[place : place + 1] != "]":
        value, place = _value(text, place)
        yield key, value
        place = _next(text, place, "]")
    return place + 1


def _next(text: str, place: int, end: str) -> int:
    """Where the next member begins, or where the `end` stands."""
    place = _after_space(text, place)
    if text[place : place + 1] == end:
        return place
    if text[place : place + 1] != ",":
        raise _no_json(text, place)
    place = _after_space(text, place + 1)
    if text[place : place + 1] == end:
        raise _no_json(text, place)
    return place


def _value(text: str, place: int) -> tuple[Any, int]:
    """The value that begins at a place, and where it ends."""
    try:
        value, end = _DECODER.raw_decode(text, place)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        at = error.pos if isinstance(error, json.JSONDecodeError) else place
        raise _no_json(text, at) from error
    _check_depth(value)
    return value, end


def _as_text(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode(json.detect_encoding(text), "surrogatepass").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise FileRefusedError(
            "encoding", "The file holds bytes that are no text. Export it again as UTF-8."
        ) from error


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _expect_end(text: str, place: int) -> None:
    place = _after_space(text, place)
    if place != len(text):
        raise _no_json(text, place)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _doubled()
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


_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_doubles, parse_constant=_refuse_constant, parse_int=_bounded_int
)


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


def _doubled() -> FileRefusedError:
    return FileRefusedError(
        "doubled_key",
        "An object names the same key twice, so one of its values would be lost. Export it again.",
    )


def _no_json(text: str, place: int) -> FileRefusedError:
    line = text.count("\n", 0, place) + 1
    return FileRefusedError("json", f"This is not JSON at line {line}. Export it again.", line)


def _too_deep() -> FileRefusedError:
    return FileRefusedError(
        "too_deep", f"The JSON is nested more than {MAX_DEPTH} levels deep. No resource is."
    )
