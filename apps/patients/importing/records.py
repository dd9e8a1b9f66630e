"""Facts about a file and the problems of its header, as the database keeps them."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from apps.patients.importing.problems import Problem
from apps.patients.importing.source import Facts, Format, Shape


def facts_to_json(facts: Facts, problems: Iterable[Problem]) -> dict[str, Any]:
    return {**asdict(facts), "problems": [asdict(problem) for problem in problems]}


def facts_from_json(stored: dict[str, Any]) -> Facts:
    names = set(Facts.__dataclass_fields__)
    values = {name: value for name, value in stored.items() if name in names}
    return Facts(
        **{
            **values,
            "format": Format(values["format"]),
            "shape": Shape(values["shape"]),
            "sheets": tuple(values["sheets"]),
            "notes": tuple(values["notes"]),
        }
    )


def header_problems(stored: dict[str, Any]) -> tuple[Problem, ...]:
    return tuple(Problem(**problem) for problem in stored.get("problems", ()))
