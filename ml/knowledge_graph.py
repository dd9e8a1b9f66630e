"""Biomedical concepts and how they relate: one form for every source, checked and pruned.

Nodes are objects, edges are three NumPy columns: the same class holds the 20,000 edges of an
ontology and the 48 million of iBKH (nine bytes an edge). Readers of the sources are in
`ml.knowledge_sources`, the file it is kept in is `ml.knowledge_file`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int

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
        codes: the same thing in other code systems, for linking by code (`icd10:I63.9`).
    """

    id: str
    kind: str
    name: str
    synonyms: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EdgeTable:
    """Directed, typed edges as columns.

    Attributes:
        source, target: place of each end among the nodes.
        relation: place of each edge's relation in `relations`.
        relations: names of the relations.
    """

    source: Int[np.ndarray, " edges"]
    relation: Int[np.ndarray, " edges"]
    target: Int[np.ndarray, " edges"]
    relations: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, kept: Bool[np.ndarray, " edges"]) -> "EdgeTable":
        """Some of the edges, in their order."""
        return EdgeTable(self.source[kept], self.relation[kept], self.target[kept], self.relations)

    def tidy(self) -> "EdgeTable":
        """The same edges in the smallest types, relations sorted by name and all in use."""
        counts = np.bincount(self.relation, minlength=len(self.relations))
        used = sorted(name for name, count in zip(self.relations, counts, strict=True) if count)
        number = {name: place for place, name in enumerate(used)}
        new = np.array([number.get(name, -1) for name in self.relations], dtype=np.int16)
        return EdgeTable(
            self.source.astype(np.int32, copy=False),
            new[self.relation] if len(self) else np.zeros(0, dtype=np.int16),
            self.target.astype(np.int32, copy=False),
            tuple(used),
        )


class KnowledgeGraph:
    """Nodes in a fixed order and directed, typed edges between them.

    Paper: the knowledge graph of section 2 (there iBKH; here the Human Phenotype Ontology by
    default).

    Args:
        nodes: the concepts.
        edges: names of source, relation and target of each edge, or columns of places.

    Raises:
        DoubledNodeError: two nodes share an identifier.
        DanglingEdgeError: an edge starts or ends at no node.

    Example:
        >>> stroke = Node("I63", "diagnosis", "Cerebral infarction")
        >>> vascular = Node("I60-I69", "diagnosis", "Cerebrovascular diseases")
        >>> KnowledgeGraph((stroke, vascular), [("I63", "is_a", "I60-I69")]).ancestors("I63")
        ('I60-I69',)
    """

    def __init__(self, nodes: Iterable[Node], edges: Iterable[Edge] | EdgeTable) -> None:
        self.nodes = tuple(nodes)
        self.position: Mapping[str, int] = {node.id: at for at, node in enumerate(self.nodes)}
        if len(self.position) < len(self.nodes):
            counts = Counter(node.id for node in self.nodes)
            twice = sorted(name for name, count in counts.items() if count > 1)
            raise DoubledNodeError(
                f"{len(twice)} node identifiers occur twice, the first is {twice[0]}. "
                "Merge the nodes or give one of them another identifier."
            )
        table = edges if isinstance(edges, EdgeTable) else _table(edges, self.position)
        self.table = table.tidy()
        for ends in (self.table.source, self.table.target):
            if len(ends) and not 0 <= int(ends.min()) <= int(ends.max()) < len(self.nodes):
                raise DanglingEdgeError(
                    f"An edge ends at node {int(ends.max())}; there are {len(self.nodes)} nodes. "
                    "The columns belong to another list of nodes: read the source again."
                )

    @property
    def relations(self) -> tuple[str, ...]:
        """Names of the relations in use, sorted."""
        return self.table.relations

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of node in use, sorted."""
        return tuple(sorted({node.kind for node in self.nodes}))

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The edges by name; for graphs of an ontology's size, not of iBKH's."""
        names = [node.id for node in self.nodes]
        table = self.table
        columns = (table.source.tolist(), table.relation.tolist(), table.target.tolist())
        return tuple(
            (names[source], table.relations[relation], names[target])
            for source, relation, target in zip(*columns, strict=True)
        )

    @cached_property
    def version(self) -> str:
        """SHA-256 of nodes and edges: equal graphs have equal versions."""
        return content_hash(nodes_as_json(self.nodes), self.table)

    def counts(self) -> dict[str, dict[str, int]]:
        """Nodes of each kind and edges of each relation."""
        kinds = Counter(node.kind for node in self.nodes)
        edges = np.bincount(self.table.relation, minlength=len(self.relations)).tolist()
        return {
            "nodes": dict(sorted(kinds.items())),
            "edges": dict(zip(self.relations, edges, strict=True)),
        }

    def joined(self, nodes: Iterable[Node], edges: Iterable[Edge]) -> "KnowledgeGraph":
        """This graph with further nodes and edges behind its own."""
        all_nodes = (*self.nodes, *nodes)
        position = {node.id: place for place, node in enumerate(all_nodes)}
        return KnowledgeGraph(all_nodes, _behind(self.table, _table(edges, position)))

    def ancestors(self, node: str) -> tuple[str, ...]:
        """Everything that a node is a kind of, nearest first, without the node itself.

        What holds for a node holds for its ancestors (the true-path rule of ontologies): who has
        I63.9 has I63, and a cerebrovascular disease.

        Raises:
            DanglingEdgeError: the graph has no such node.
        """
        [place] = self._places([node])
        found: dict[int, None] = {place: None}
        frontier = [place]
        while frontier:
            frontier = [
                up
                for near in frontier
                for up in self._parents.get(near, ())
                if up not in found and found.setdefault(up) is None
            ]
        return tuple(self.nodes[place].id for place in found)[1:]

    def parents(self, node: str) -> tuple[str, ...]:
        """What a node is directly a kind of.

        Raises:
            DanglingEdgeError: the graph has no such node.
        """
        [place] = self._places([node])
        return tuple(self.nodes[up].id for up in self._parents.get(place, ()))

    def pruned(self, seeds: Iterable[str], *, children: int) -> "KnowledgeGraph":
        """What the seeds can reach: all their ancestors, and a few steps down to their subtypes.

        Args:
            seeds: identifiers of linked nodes.
            children: steps from a seed down along `is_a`.

        Raises:
            DanglingEdgeError: a seed is no node of this graph.
        """
        start = self._mask(seeds)
        low, high = self.table.source[self._is_a], self.table.target[self._is_a]
        up = _reach(start, low, high, steps=len(self.nodes))
        return self._only(up | _reach(start, high, low, steps=children))

    def within(self, seeds: Iterable[str], hops: int) -> "KnowledgeGraph":
        """Everything at most so many edges away from a seed, whatever the relation or direction.

        Raises:
            DanglingEdgeError: a seed is no node of this graph.
        """
        reached = self._mask(seeds)
        for _ in range(hops):
            reached = _reach(reached, self.table.source, self.table.target, steps=1) | _reach(
                reached, self.table.target, self.table.source, steps=1
            )
        return self._only(reached)

    def connected(self) -> "KnowledgeGraph":
        """Without the nodes that no edge touches (two million of iBKH's molecules)."""
        touched = np.zeros(len(self.nodes), dtype=bool)
        touched[self.table.source] = True
        touched[self.table.target] = True
        return self._only(touched)

    @cached_property
    def _is_a(self) -> Bool[np.ndarray, " edges"]:
        """Which edges make the hierarchy: `is_a`, or a source's own (`Di_Di:is_a`)."""
        names = [name.rpartition(":")[2] == IS_A for name in self.relations]
        edges: np.ndarray = np.array(names, dtype=bool)[self.table.relation]
        return edges

    @cached_property
    def _parents(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        table = self.table.rows(self._is_a)
        for low, high in zip(table.source.tolist(), table.target.tolist(), strict=True):
            found.setdefault(low, []).append(high)
        return found

    def _places(self, nodes: Sequence[str]) -> list[int]:
        unknown = [each for each in nodes if each not in self.position]
        if unknown:
            raise DanglingEdgeError(
                f"{len(unknown)} linked identifiers are no nodes of the graph, the first is "
                f"{unknown[0]}. The ontology may be older than the links: correct the links."
            )
        return [self.position[each] for each in nodes]

    def _mask(self, nodes: Iterable[str]) -> Bool[np.ndarray, " nodes"]:
        mask = np.zeros(len(self.nodes), dtype=bool)
        mask[self._places(list(nodes))] = True
        return mask

    def _only(self, kept: Bool[np.ndarray, " nodes"]) -> "KnowledgeGraph":
        """The kept nodes, in their order, and the edges between them."""
        new = np.cumsum(kept, dtype=np.int32) - 1
        table = self.table.rows(kept[self.table.source] & kept[self.table.target])
        return KnowledgeGraph(
            (node for node, keep in zip(self.nodes, kept.tolist(), strict=True) if keep),
            EdgeTable(new[table.source], table.relation, new[table.target], table.relations),
        )


def nodes_as_json(nodes: Sequence[Node]) -> bytes:
    """One line a node: identifier, kind, name, synonyms, codes."""
    lines = [json.dumps([n.id, n.kind, n.name, n.synonyms, n.codes]) for n in nodes]
    return "\n".join(lines).encode()


def content_hash(nodes: bytes, table: EdgeTable) -> str:
    """SHA-256 of nodes as lines of JSON and of the columns of a tidy table."""
    digest = hashlib.sha256(nodes)
    digest.update(json.dumps(table.relations).encode())
    for column in (table.source, table.relation, table.target):
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


def _table(edges: Iterable[Edge], position: Mapping[str, int]) -> EdgeTable:
    number: dict[str, int] = {}
    columns: tuple[list[int], list[int], list[int]] = ([], [], [])
    for source, relation, target in edges:
        for end in (source, target):
            if end not in position:
                raise DanglingEdgeError(
                    f"The edge {source} {relation} {target} names {end}, which is no node. "
                    "Add the node or leave the edge out."
                )
        columns[0].append(position[source])
        columns[1].append(number.setdefault(relation, len(number)))
        columns[2].append(position[target])
    source_, relation_, target_ = (np.array(column, dtype=np.int32) for column in columns)
    return EdgeTable(source_, relation_, target_, tuple(number))


def _behind(first: EdgeTable, second: EdgeTable) -> EdgeTable:
    """Two tables over the same nodes as one."""
    relations = tuple(dict.fromkeys((*first.relations, *second.relations)))
    number = np.array([relations.index(name) for name in second.relations], dtype=np.int32)
    return EdgeTable(
        np.concatenate([first.source, second.source]),
        np.concatenate([first.relation, number[second.relation]]),
        np.concatenate([first.target, second.target]),
        relations,
    )


def _reach(
    seeds: Bool[np.ndarray, " nodes"],
    near: Int[np.ndarray, " edges"],
    far: Int[np.ndarray, " edges"],
    steps: int,
) -> Bool[np.ndarray, " nodes"]:
    reached = seeds.copy()
    frontier = seeds
    for _ in range(steps):
        new = np.zeros_like(reached)
        new[far[frontier[near]]] = True
        frontier = new & ~reached
        if not frontier.any():
            break
        reached |= frontier
    return reached
