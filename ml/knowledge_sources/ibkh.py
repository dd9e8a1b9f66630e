"""iBKH, the integrative Biomedical Knowledge Hub that the paper uses (wcm-wanglab/iBKH).

A folder `entity` with 11 vocabularies and a folder `relation` with 18 wide tables: two columns of
keys, one column of 0 and 1 for each relation, `Source`, sometimes `Inference_Score`. Names of
folders and files occur in both cases, those of tables with and without `_res`.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.knowledge_graph import (
    DanglingEdgeError,
    DoubledNodeError,
    KnowledgeGraph,
    KnowledgeGraphError,
    Node,
)
from ml.knowledge_sources.reading import CHUNK_ROWS, ByteCount, EdgeCollector, Progress, Reading

VOCABULARIES = {
    "anatomy": "anatomy",
    "disease": "disease",
    "drug": "drug",
    "gene": "gene",
    "molecule": "molecule",
    "symptom": "symptom",
    "sdsi": "supplement_ingredient",
    "dsp": "supplement_product",
    "tc": "therapeutic_class",
    "pathway": "pathway",
    "side_effect": "side_effect",
}
"""Vocabulary file (without `_vocab.csv`) to kind of node."""

TABLES = {
    "A_G": ("anatomy", "gene"),
    "D_Di": ("drug", "disease"),
    "D_D": ("drug", "drug"),
    "D_G": ("drug", "gene"),
    "D_Pwy": ("drug", "pathway"),
    "D_SE": ("drug", "side_effect"),
    "Di_Di": ("disease", "disease"),
    "Di_G": ("disease", "gene"),
    "Di_Pwy": ("disease", "pathway"),
    "Di_Sy": ("disease", "symptom"),
    "G_G": ("gene", "gene"),
    "G_Pwy": ("gene", "pathway"),
    "DSP_SDSI": ("supplement_product", "supplement_ingredient"),
    "SDSI_A": ("supplement_ingredient", "anatomy"),
    "SDSI_D": ("supplement_ingredient", "drug"),
    "SDSI_Di": ("supplement_ingredient", "disease"),
    "SDSI_Sy": ("supplement_ingredient", "symptom"),
    "SDSI_TC": ("supplement_ingredient", "therapeutic_class"),
}
"""Relation table (without `_res.csv`) to the kinds of its two key columns."""

_KEYS = {**VOCABULARIES, "dsi": "supplement_ingredient", "sideeffect": "side_effect"}
_NO_RELATION = {"source", "inference_score"}
_CODES = {"icd_10": "icd10", "umls_cui": "umls", "mesh_id": "mesh"}
_SPELLINGS = "`entity` and `relation`, or `Entity` and `Relation`"


def read_ibkh(folder: Path, *, repair: bool = False, progress: Progress | None = None) -> Reading:
    """Read all 11 vocabularies and 18 relation tables.

    Identifiers are unique within a vocabulary only (a UMLS concept may be a symptom and a side
    effect), so a node's identifier begins with its kind: `disease::DOID:10652`. A relation is
    named after its table and column: `D_Di:Treats`.

    Args:
        folder: holds the folders of entities and relations.
        repair: leave out edges that end nowhere and keep the first of doubled identifiers, and
            count both, instead of refusing the files.
        progress: called with bytes read and bytes in all.

    Raises:
        KnowledgeGraphError: a folder, file or column is missing, or a cell is neither 0 nor 1.
        DoubledNodeError: a vocabulary lists an identifier twice.
        DanglingEdgeError: a table names an identifier that its vocabulary lacks.
    """
    entities = _found(folder, "entity", {f"{name}_vocab": name for name in VOCABULARIES})
    tables = _found(
        folder, "relation", {f"{name}{end}": name for name in TABLES for end in ("", "_res")}
    )
    count = ByteCount([*entities.values(), *tables.values()], progress)
    nodes: list[Node] = []
    places: dict[str, pd.Index] = {}
    first: dict[str, int] = {}
    collector = EdgeCollector(0)
    for name, kind in VOCABULARIES.items():
        first[kind] = len(nodes)
        ids, read = _read_vocabulary(entities[name], kind, collector, repair=repair)
        nodes += read
        places[kind] = pd.Index(ids, dtype=object)
        count.finished(entities[name])
    collector.nodes = len(nodes)
    for name in TABLES:
        table = _Table.of(name, tables[name])
        collector.left_out["columns that are no relation (source, score)"] += table.others
        table.read(collector, places, first, count, repair=repair)
        count.finished(tables[name])
    graph = KnowledgeGraph(nodes, collector.table())
    return Reading(graph, dict(collector.left_out))


def _found(folder: Path, inside: str, names: Mapping[str, str]) -> dict[str, Path]:
    """The files of one of the two folders by what they are, whatever their case."""
    lower = {name.lower(): what for name, what in names.items()}
    homes = [each for each in folder.glob("*") if each.is_dir() and each.name.lower() == inside]
    if not homes:
        raise KnowledgeGraphError(
            f"{folder.name} has no folder `{inside}`. Give the folder that holds {_SPELLINGS}."
        )
    found: dict[str, Path] = {}
    for path in sorted(path for home in homes for path in home.glob("*.csv")):
        what = lower.get(path.stem.lower())
        if what is None or what in found:
            why = "is no file of iBKH" if what is None else f"is a second file of {what}"
            raise KnowledgeGraphError(
                f"{path.parent.name}/{path.name} {why}. Take it out of the folder, or rename it."
            )
        found[what] = path
    missing = sorted(set(names.values()) - set(found))
    if missing:
        raise KnowledgeGraphError(
            f"{len(missing)} files of iBKH are missing in {homes[0].name}, the first is "
            f"{missing[0]}. Unpack the whole download into it."
        )
    return found


def _read_vocabulary(
    path: Path, kind: str, collector: EdgeCollector, *, repair: bool
) -> tuple[list[str], list[Node]]:
    table = pd.read_csv(path, dtype=object, keep_default_na=False, na_values=[])
    if "primary" not in table.columns:
        raise KnowledgeGraphError(
            f"{path.name} has no column `primary`; it has {', '.join(map(str, table.columns))}. "
            "Give iBKH's own vocabulary."
        )
    twice = table["primary"].duplicated()
    if twice.any():
        if not repair:
            raise DoubledNodeError(
                f"{path.name} lists {int(twice.sum())} identifiers twice, the first is "
                f"{table['primary'][twice].iloc[0]}. Correct the file, or repair it when reading."
            )
        collector.left_out[f"doubled identifiers in {path.name}"] += int(twice.sum())
        table = table[~twice]
    ids = table["primary"].tolist()
    lower = {str(column).lower(): column for column in table.columns}
    named = next((lower[each] for each in ("name", "symbol") if each in lower), "primary")
    names = table[named].tolist()
    codes = [
        [f"{system}:{cell}" if cell else "" for cell in table[lower[column]].tolist()]
        for column, system in _CODES.items()
        if column in lower
    ]
    coded = zip(*codes, strict=True) if codes else ((),) * len(ids)
    nodes = [
        Node(f"{kind}::{id_}", kind, name or id_, (), tuple(filter(None, row)))
        for id_, name, row in zip(ids, names, coded, strict=True)
    ]
    return ids, nodes


@dataclass(frozen=True, slots=True)
class _Table:
    """One wide relation table: key columns, their kinds, columns of 0 and 1, how many others."""

    name: str
    path: Path
    keys: tuple[str, str]
    kinds: tuple[str, str]
    flags: tuple[str, ...]
    others: int

    @classmethod
    def of(cls, name: str, path: Path) -> "_Table":
        """From the header: keys by name (Gene_1, Side_Effect), else the first two columns."""
        with path.open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file), [])
        kinds = [_KEYS.get(column.lower().replace("-", "_").rstrip("_12")) for column in header]
        keys = [place for place, kind in enumerate(kinds) if kind is not None][:2]
        pair = tuple(str(kinds[place]) for place in keys)
        if not keys and len(header) > 2:
            keys, pair = [0, 1], TABLES[name]
        if sorted(pair) != sorted(TABLES[name]):
            raise KnowledgeGraphError(
                f"{path.name} should have the keys of {' and '.join(TABLES[name])}; its columns "
                f"begin {', '.join(header[:4])}. Give iBKH's own table."
            )
        flags = [
            column
            for place, column in enumerate(header)
            if place not in keys and column and column.lower() not in _NO_RELATION
        ]
        if not flags:
            raise KnowledgeGraphError(f"{path.name} has no column of a relation, only keys.")
        source, target = (header[place] for place in keys)
        others = len(header) - len(keys) - len(flags)
        return cls(name, path, (source, target), (pair[0], pair[1]), tuple(flags), others)

    def read(
        self,
        collector: EdgeCollector,
        places: Mapping[str, pd.Index],
        first: Mapping[str, int],
        count: ByteCount,
        *,
        repair: bool,
    ) -> None:
        """Collect the edges; once more with patience if cells are not plain 0 and 1."""
        before = dict(collector.left_out)
        try:
            chunks = self._chunks(count, {"na_filter": False}, "int8")
            self._collect(chunks, collector, places, first, repair=repair)
        except (ValueError, OverflowError) as error:
            if isinstance(error, KnowledgeGraphError):
                raise
            collector.forget({f"{self.name}:{flag}" for flag in self.flags})
            collector.left_out.clear()
            collector.left_out.update(before)
            try:
                chunks = self._chunks(count, {"keep_default_na": False, "na_values": ""}, "float32")
                self._collect(chunks, collector, places, first, repair=repair)
            except (ValueError, pd.errors.ParserError) as cell:
                if isinstance(cell, KnowledgeGraphError):
                    raise
                raise KnowledgeGraphError(
                    f"{self.path.name} has a cell that is neither 0 nor 1: {cell}. "
                    "Correct the file."
                ) from cell

    def _chunks(
        self, count: ByteCount, empty: Mapping[str, Any], flag: str
    ) -> Iterator[pd.DataFrame]:
        dtypes = dict.fromkeys(self.keys, object) | dict.fromkeys(self.flags, flag)
        with (
            self.path.open("rb") as file,
            pd.read_csv(
                file, usecols=list(dtypes), dtype=dtypes, chunksize=CHUNK_ROWS, **empty
            ) as chunks,
        ):
            for chunk in chunks:
                yield chunk
                count.at(file.tell())

    def _collect(
        self,
        chunks: Iterator[pd.DataFrame],
        collector: EdgeCollector,
        places: Mapping[str, pd.Index],
        first: Mapping[str, int],
        *,
        repair: bool,
    ) -> None:
        for chunk in chunks:
            source, target = (
                self._ends(chunk[key].to_numpy(), kind, places, first, repair=repair)
                for key, kind in zip(self.keys, self.kinds, strict=True)
            )
            tied = (source >= 0) & (target >= 0)
            related = np.zeros(len(chunk), dtype=bool)
            for flag in self.flags:
                said = self._said(chunk[flag].to_numpy(), flag)
                related |= said
                kept = np.flatnonzero(said & tied)
                if len(kept):
                    collector.add(source[kept], f"{self.name}:{flag}", target[kept])
            for why, count in (
                ("that end nowhere", int((~tied).sum())),
                ("without a relation", int((~related).sum())),
            ):
                if count:
                    collector.left_out[f"rows of {self.path.name} {why}"] += count

    def _ends(
        self,
        ids: np.ndarray,
        kind: str,
        places: Mapping[str, pd.Index],
        first: Mapping[str, int],
        *,
        repair: bool,
    ) -> np.ndarray:
        """Places of the nodes with these identifiers, -1 for those that are none."""
        place = places[kind].get_indexer(ids)
        lost = place < 0
        if lost.any() and not repair:
            raise DanglingEdgeError(
                f"{self.path.name} names {str(ids[lost][0])[:60]}, which is no {kind} of iBKH's "
                "vocabulary. Take both from the same release, or repair it when reading."
            )
        return np.where(lost, -1, place + first[kind])

    def _said(self, cells: np.ndarray, flag: str) -> np.ndarray:
        """Where a column says that its relation holds; an empty cell says that it does not."""
        said: np.ndarray = cells == 1
        known = said | (cells == 0)
        if cells.dtype.kind == "f":
            known |= np.isnan(cells)
        if not known.all():
            raise KnowledgeGraphError(
                f"{self.path.name}, column {flag}, has a cell that is neither 0 nor 1: "
                f"{cells[~known][0]}. Correct the file."
            )
        return said
