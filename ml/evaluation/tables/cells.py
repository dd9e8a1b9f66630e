"""Results that are kept: a cell is made once from its settings, its inputs and its code.

A cell's key is a hash of all three, so a changed line or setting makes exactly those cells anew
that could come out differently, and a run that was killed goes on with the cell it was in.
"""

import ast
import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ml.evaluation.tables.settings import TablesError, TableSettings

CODE = Path(__file__).resolve().parents[2]
"""The folder of the package `ml`."""
KEY_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Made:
    """What a cell holds.

    Attributes:
        figures: JSON.
        tensors: arrays that later cells need.
    """

    figures: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing to compute, for each seed.

    Attributes:
        name: letters and `/`.
        make: computes it from the bench and the seed; a plain function of a module.
        needs: names of the cells it reads.
        options: arguments of `make` by name.
        uses: settings of baselines that it depends on.
    """

    name: str
    make: Callable[..., Made]
    needs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    uses: tuple[str, ...] = ()


class Bench:
    """The folder of a run: makes cells, keeps them and hands them out.

    Args:
        out: folder of the run.
        settings: of the run.
        cells: all there are, by name.
    """

    def __init__(self, out: Path, settings: TableSettings, cells: Mapping[str, Cell]) -> None:
        self.out, self.settings, self.cells = out, settings, cells

    def key(self, name: str, seed: int) -> str:
        """Names the content of a cell: its settings, its code, and the keys of what it needs."""
        cell = self.cells[name]
        content = {
            "name": name,
            "seed": seed,
            "settings": self.settings.entries_for(cell.uses),
            "options": {key: str(value) for key, value in cell.options.items()},
            "code": code_version(cell.make.__module__),
            "needs": [self.key(each, seed) for each in cell.needs],
            "people": self._cohort_version,
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]

    @cached_property
    def _cohort_version(self) -> str:
        folder = self.settings.cohort
        return "" if folder is None else folder_version(folder)

    def path(self, name: str, seed: int) -> Path:
        """The cell's JSON file, there or not."""
        file = f"{name.replace('/', '-')}-{self.key(name, seed)}.json"
        return self.out / "cells" / f"seed-{seed}" / file

    def is_made(self, name: str, seed: int) -> bool:
        """Whether the cell needs no work."""
        return self.path(name, seed).exists()

    def make(self, name: str, seed: int) -> None:
        """Compute a cell and keep it; the JSON file comes last, so a cell is there or is not."""
        if self.is_made(name, seed):
            return
        cell, started = self.cells[name], perf_counter()
        made = cell.make(self, seed, **cell.options)
        path = self.path(name, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = ""
        if made.tensors:
            kept = {key: value.contiguous().clone() for key, value in made.tensors.items()}
            unfinished = path.with_suffix(f".{os.getpid()}.part")
            save_file(kept, unfinished)
            arrays = _hash_of(unfinished)
            unfinished.replace(path.with_suffix(".safetensors"))
        figures = {
            "name": name,
            "seed": seed,
            "seconds": round(perf_counter() - started, 1),
            "arrays": arrays,
            "figures": dict(made.figures),
        }
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        unfinished.write_text(json.dumps(figures, indent=1, allow_nan=False), encoding="utf-8")
        unfinished.replace(path)

    def figures(self, name: str, seed: int) -> dict[str, Any]:
        """What a cell found.

        Raises:
            TablesError: the file is damaged.
        """
        found: dict[str, Any] = self._read(name, seed)["figures"]
        return found

    def seconds(self, name: str, seed: int) -> float:
        """How long the cell took when it was made."""
        return float(self._read(name, seed)["seconds"])

    def tensors(self, name: str, seed: int) -> dict[str, Tensor]:
        """The arrays of a cell.

        Raises:
            TablesError: the file is damaged or gone.
        """
        path = self.path(name, seed).with_suffix(".safetensors")
        try:
            if _hash_of(path) != self._read(name, seed)["arrays"]:
                raise _damaged(path)
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise _damaged(path) from error

    def _read(self, name: str, seed: int) -> dict[str, Any]:
        path = self.path(name, seed)
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise _damaged(path) from error
        return found


def _damaged(path: Path) -> TablesError:
    return TablesError(
        f"{path.name} in {path.parent.name} is damaged or gone. Delete what is left of that cell; "
        "the same command makes it again."
    )


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_needs(cells: Mapping[str, Cell], wanted: Sequence[str]) -> list[str]:
    """The wanted cells and all that they need, each after what it needs."""
    order: dict[str, None] = {}

    def add(name: str) -> None:
        for each in cells[name].needs:
            add(each)
        order.setdefault(name)

    for name in wanted:
        add(name)
    return list(order)


@cache
def code_version(module: str) -> str:
    """Hash of a module and of every module of `ml` that it imports, directly or not."""
    digest = hashlib.sha256()
    for name in sorted(_imported(module)):
        digest.update(_file_of(name).read_bytes())
    for table in sorted(CODE.rglob("*.toml")):
        digest.update(table.read_bytes())
    return digest.hexdigest()


def _imported(module: str) -> set[str]:
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for node in ast.walk(ast.parse(_file_of(name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                inside = [f"{node.module}.{each.name}" for each in node.names]
                named = [node.module, *inside]
            elif isinstance(node, ast.Import):
                named = [each.name for each in node.names]
            else:
                continue
            waiting += [each for each in named if each.startswith("ml.") and _exists(each)]
    return found


def _exists(module: str) -> bool:
    return _file_of(module).exists()


def _file_of(module: str) -> Path:
    if not module.startswith("ml."):
        return Path(str(sys.modules[module].__file__))
    place = CODE.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def folder_version(folder: Path) -> str:
    """Hash of every file of a cohort folder and of where it lies in it."""
    digest = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{_hash_of(path)}\n".encode())
    return digest.hexdigest()
