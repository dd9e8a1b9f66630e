"""What the readers of large sources share: collecting edges, and saying what was left out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int

from ml.knowledge_graph import EdgeTable, KnowledgeGraph

CHUNK_ROWS = 500_000
Progress = Callable[[int, int], None]
"""Bytes read and bytes in all."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A graph, and everything in its files that is not in it.

    Attributes:
        graph: what was read.
        left_out: reason to the number of things left out for it; nothing is dropped in silence.
    """

    graph: KnowledgeGraph
    left_out: dict[str, int]


@dataclass
class EdgeCollector:
    """Edges of a large source, collected chunk by chunk.

    Attributes:
        nodes: how many nodes there are.
        left_out: reason to count, see `Reading`.
    """

    nodes: int
    left_out: Counter[str] = field(default_factory=Counter)
    _parts: dict[str, list[Int[np.ndarray, "2 some"]]] = field(default_factory=dict)

    def add(
        self, source: Int[np.ndarray, " some"], relation: str, target: Int[np.ndarray, " some"]
    ) -> None:
        """Take some edges of one relation."""
        ends = np.stack([source, target]).astype(np.int32)
        self._parts.setdefault(relation, []).append(ends)

    def forget(self, relations: set[str]) -> None:
        """Drop what was collected of some relations, because their file is read again."""
        for relation in relations:
            self._parts.pop(relation, None)

    def table(self) -> EdgeTable:
        """All edges, sorted by relation, source and target; an edge listed twice counts once."""
        columns: list[list[Int[np.ndarray, " some"]]] = [[], [], []]
        relations = tuple(sorted(self._parts))
        for number, relation in enumerate(relations):
            source, target = np.concatenate(self._parts.pop(relation), axis=1)
            keys = source.astype(np.int64) * self.nodes + target
            unique = np.unique(keys)
            if len(unique) < len(keys):
                self.left_out["edges listed twice"] += len(keys) - len(unique)
            columns[0].append((unique // self.nodes).astype(np.int32))
            columns[1].append(np.full(len(unique), number, dtype=np.int16))
            columns[2].append((unique % self.nodes).astype(np.int32))
        empty = np.zeros(0, dtype=np.int32)
        source, code, target = (np.concatenate([empty, *column]) for column in columns)
        return EdgeTable(source, code, target, relations)


class ByteCount:
    """Turns the position in several files into one progress."""

    def __init__(self, files: list[Path], progress: Progress | None) -> None:
        self._progress = progress
        self._total = sum(path.stat().st_size for path in files)
        self._before = 0

    def at(self, position: int) -> None:
        """So many bytes of the present file are read."""
        if self._progress is not None:
            self._progress(min(self._before + position, self._total), self._total)

    def finished(self, path: Path) -> None:
        """The present file is done."""
        self._before += path.stat().st_size
        self.at(0)
