"""Exports of known studies, where a column's name alone would mislead (exports.toml)."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ml.concepts import normalise_name


@dataclass(frozen=True, slots=True)
class Export:
    """One study's export.

    Attributes:
        name: what a page calls it.
        fingerprint: normalised names of columns that all must be there.
        identifier: pattern whose first group is the person in a longer identifier.
        columns: normalised name of a column to what it means here.
    """

    name: str
    fingerprint: frozenset[str]
    identifier: re.Pattern[str] | None
    columns: Mapping[str, Mapping[str, Any]]

    def person_in(self, identifier: str) -> str:
        """Who an identifier of this export is about."""
        match = self.identifier.fullmatch(identifier.strip()) if self.identifier else None
        return match[1] if match else identifier


def export_of(header: Sequence[str]) -> Export | None:
    """The study that a header belongs to."""
    names = {normalise_name(name) for name in header}
    return next((export for export in _exports() if export.fingerprint <= names), None)


def export_named(name: str) -> Export | None:
    """A study by its name."""
    return next((export for export in _exports() if export.name == name), None)


@cache
def _exports() -> tuple[Export, ...]:
    with (Path(__file__).parent / "exports.toml").open("rb") as file:
        entries = tomllib.load(file)["export"]
    return tuple(
        Export(
            name=entry["name"],
            fingerprint=frozenset(map(normalise_name, entry["fingerprint"])),
            identifier=re.compile(entry["identifier"]) if "identifier" in entry else None,
            columns={normalise_name(name): column for name, column in entry["columns"].items()},
        )
        for entry in entries
    )
