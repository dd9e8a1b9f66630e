"""PrimeKG: one table, kg.csv, with both ends of each edge written out in full."""

from pathlib import Path

import numpy as np
import pandas as pd

from ml.knowledge_graph import DoubledNodeError, KnowledgeGraph, KnowledgeGraphError, Node
from ml.knowledge_sources.reading import CHUNK_ROWS, ByteCount, EdgeCollector, Progress, Reading

FILE = "kg.csv"
_END = ("index", "id", "type", "name", "source")
_CODES = {"MONDO": "mondo", "HPO": "hpo", "DrugBank": "drugbank", "NCBI": "ncbi"}


def read_primekg(
    folder: Path, *, repair: bool = False, progress: Progress | None = None
) -> Reading:
    """Read kg.csv; it lists most edges in both directions, of which one is kept.

    A node's identifier is its type and PrimeKG's own identifier (`disease::1200`). A relation is
    named after the pair and what is shown for it (`disease_protein:associated with`).

    Args:
        folder: holds kg.csv; or that file itself.
        repair: of two descriptions of one node keep the first, and count them, instead of
            refusing the file.
        progress: called with bytes read and bytes in all.

    Raises:
        KnowledgeGraphError: the file or a column is missing.
        DoubledNodeError: one index or identifier belongs to two nodes.
    """
    path = folder / FILE if folder.is_dir() else folder
    if not path.is_file():
        raise KnowledgeGraphError(f"{folder.name} holds no {FILE}. Give PrimeKG's folder.")
    columns = ["relation", "display_relation", *(f"{end}_{each}" for end in "xy" for each in _END)]
    header = pd.read_csv(path, nrows=0).columns
    missing = [column for column in columns if column not in header]
    if missing:
        raise KnowledgeGraphError(
            f"{path.name} lacks the columns {', '.join(missing)}. Give PrimeKG's own {FILE}."
        )
    count = ByteCount([path], progress)
    nodes: dict[str, tuple[str, ...]] = {}
    place: dict[str, int] = {}
    collector = EdgeCollector(0)
    parts: list[tuple[str, np.ndarray, np.ndarray]] = []
    with path.open("rb") as file:
        for chunk in pd.read_csv(
            file, usecols=columns, dtype=object, na_filter=False, chunksize=CHUNK_ROWS
        ):
            for end in "xy":
                _take_nodes(chunk, end, nodes, place, collector, repair=repair)
            parts += _edges(chunk, place)
            count.at(file.tell())
    collector.nodes = len(nodes)
    kinds = np.unique([kind for _, kind, _, _ in nodes.values()], return_inverse=True)[1]
    for relation, source, target in parts:
        # Of the two directions, the one whose kinds are in order of their names, then the places.
        turned = (kinds[source] > kinds[target]) | (
            (kinds[source] == kinds[target]) & (source > target)
        )
        ends = np.where(turned, target, source), np.where(turned, source, target)
        collector.add(ends[0], relation, ends[1])
    graph = KnowledgeGraph([_node(*each) for each in nodes.values()], collector.table())
    return Reading(graph, dict(collector.left_out))


def _take_nodes(
    chunk: pd.DataFrame,
    end: str,
    nodes: dict[str, tuple[str, ...]],
    place: dict[str, int],
    collector: EdgeCollector,
    *,
    repair: bool,
) -> None:
    for row in chunk[[f"{end}_{each}" for each in _END]].drop_duplicates().itertuples(index=False):
        index, *rest = map(str, row)
        known = nodes.setdefault(index, tuple(rest))
        place.setdefault(index, len(place))
        if known != tuple(rest):
            if not repair:
                raise DoubledNodeError(
                    f"PrimeKG's index {index} is {known[2][:40]!r} and {rest[2][:40]!r}. "
                    "Correct the file, or repair it when reading."
                )
            collector.left_out["second descriptions of a node"] += 1


def _edges(chunk: pd.DataFrame, place: dict[str, int]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    source, target = (chunk[f"{end}_index"].map(place).to_numpy(dtype=np.int64) for end in "xy")
    shown = chunk["relation"] + ":" + chunk["display_relation"]
    number, names = pd.factorize(shown.to_numpy())
    groups = [(str(name), np.flatnonzero(number == at)) for at, name in enumerate(names)]
    return [(name, source[rows], target[rows]) for name, rows in groups]


def _node(id_: str, kind: str, name: str, source: str) -> Node:
    codes = (f"{_CODES[source]}:{id_}",) if source in _CODES else ()
    return Node(f"{kind}::{id_}", kind, name or id_, (), codes)
