"""Keep a knowledge graph in one file that cannot run code and says if it was changed."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ml.knowledge_graph import (
    EdgeTable,
    KnowledgeGraph,
    KnowledgeGraphError,
    Node,
    content_hash,
    nodes_as_json,
)

FORMAT = "mirage-knowledge-graph 1"


class KnowledgeFileError(KnowledgeGraphError):
    """The file is no knowledge graph, or not the one that was written."""


def write_knowledge(path: Path, graph: KnowledgeGraph) -> None:
    """Write a graph as safetensors: three columns of edges, nodes as lines of JSON, its version.

    Args:
        path: the file; one that is there is replaced.
        graph: what to keep.
    """
    table = graph.table
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    save_file(
        {
            "source": np.ascontiguousarray(table.source),
            "relation": np.ascontiguousarray(table.relation),
            "target": np.ascontiguousarray(table.target),
            "nodes": np.frombuffer(nodes_as_json(graph.nodes), dtype=np.uint8),
        },
        unfinished,
        metadata={
            "format": FORMAT,
            "version": graph.version,
            "relations": json.dumps(table.relations),
        },
    )
    unfinished.replace(path)


def read_knowledge(path: Path) -> KnowledgeGraph:
    """Read a graph and check that its content is what its version says.

    Raises:
        KnowledgeFileError: the file is missing, of another format, cut off, or was changed.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            meta = file.metadata() or {}
            if meta.get("format") != FORMAT:
                raise KnowledgeFileError(
                    f"{path.name} is of the format {meta.get('format', 'unknown')[:40]!r}; this "
                    f"version reads {FORMAT!r}. Make it again with `python -m ml graph`."
                )
            columns = {name: file.get_tensor(name) for name in ("source", "relation", "target")}
            lines = file.get_tensor("nodes").tobytes()
    except (OSError, SafetensorError) as error:
        raise KnowledgeFileError(
            f"The knowledge graph {path.name} cannot be read ({type(error).__name__}). "
            "Make it again with `python -m ml graph`."
        ) from error
    table = EdgeTable(**columns, relations=tuple(json.loads(meta["relations"])))
    found = content_hash(lines, table)
    if found != meta["version"]:
        raise KnowledgeFileError(
            f"{path.name} holds the graph {found[:12]}, but says it is {meta['version'][:12]}: "
            "it was changed. Make it again with `python -m ml graph`."
        )
    nodes = (
        Node(id_, kind, name, tuple(synonyms), tuple(codes))
        for id_, kind, name, synonyms, codes in map(json.loads, lines.splitlines())
    )
    return KnowledgeGraph(nodes, table)
