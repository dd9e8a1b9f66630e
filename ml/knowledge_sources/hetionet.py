"""Hetionet: a table of nodes (id, name, kind) and tables of edges (source, metaedge, target)."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

from ml.knowledge_graph import DanglingEdgeError, KnowledgeGraph, KnowledgeGraphError, Node
from ml.knowledge_sources.reading import CHUNK_ROWS, ByteCount, EdgeCollector, Progress, Reading

_NODES = ["id", "name", "kind"]
_EDGES = ["source", "metaedge", "target"]
_ENDINGS = ("*.tsv", "*.tsv.gz", "*.sif", "*.sif.gz")


def read_hetionet(
    folder: Path, *, repair: bool = False, progress: Progress | None = None
) -> Reading:
    """Read the nodes and every table of edges in a folder, tab-separated, plain or gzipped.

    Relations keep Hetionet's names of meta-edges (`DpS`: a disease presents a symptom).

    Args:
        folder: holds the files; which is which is seen from their headers.
        repair: leave out and count edges that end nowhere, instead of refusing the files.
        progress: called with bytes read and bytes in all.

    Raises:
        KnowledgeGraphError: there is not exactly one table of nodes, or none of edges.
        DoubledNodeError: an identifier occurs twice.
        DanglingEdgeError: an edge names an identifier that is no node.
    """
    files = sorted(path for ending in _ENDINGS for path in folder.glob(ending))
    headers = {path: _header(path) for path in files}
    nodes_files = [path for path in files if headers[path] == _NODES]
    edge_files = [path for path in files if headers[path] == _EDGES]
    if len(nodes_files) != 1 or not edge_files:
        raise KnowledgeGraphError(
            f"{folder.name} has {len(nodes_files)} tables with the columns {', '.join(_NODES)} and "
            f"{len(edge_files)} with {', '.join(_EDGES)}. Give a folder with Hetionet's nodes.tsv "
            "and its edges.sif.gz."
        )
    count = ByteCount([*nodes_files, *edge_files], progress)
    table = pd.read_csv(nodes_files[0], sep="\t", dtype=object, keep_default_na=False)
    nodes = [
        Node(id_, kind, name or id_)
        for id_, name, kind in zip(table["id"], table["name"], table["kind"], strict=True)
    ]
    graph = KnowledgeGraph(nodes, ())  # refuses doubled identifiers
    count.finished(nodes_files[0])
    collector = EdgeCollector(len(nodes))
    others = len(files) - len(edge_files) - 1
    if others:
        collector.left_out["files with other columns"] += others
    index = pd.Index(table["id"], dtype=object)
    for path in edge_files:
        _read_edges(path, index, collector, repair=repair)
        count.finished(path)
    return Reading(KnowledgeGraph(graph.nodes, collector.table()), dict(collector.left_out))


def _header(path: Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return file.readline().rstrip("\r\n").split("\t")


def _read_edges(path: Path, index: pd.Index, collector: EdgeCollector, *, repair: bool) -> None:
    chunks = pd.read_csv(path, sep="\t", dtype=object, na_filter=False, chunksize=CHUNK_ROWS)
    for chunk in chunks:
        source = index.get_indexer(chunk["source"].to_numpy())
        target = index.get_indexer(chunk["target"].to_numpy())
        tied = (source >= 0) & (target >= 0)
        if not tied.all():
            if not repair:
                row = chunk[~tied].iloc[0]
                lost = row["target"] if row["source"] in index else row["source"]
                raise DanglingEdgeError(
                    f"{path.name} names {lost[:60]}, which is no node. Take both files from the "
                    "same release, or repair it when reading."
                )
            collector.left_out[f"rows of {path.name} that end nowhere"] += int((~tied).sum())
        number, names = pd.factorize(chunk["metaedge"].to_numpy())
        for place, name in enumerate(names):
            rows = np.flatnonzero((number == place) & tied)
            if len(rows):
                collector.add(source[rows], str(name), target[rows])
