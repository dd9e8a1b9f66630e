"""Training on a graph too large to pass through at once: a few neighbours of each node a step.

PyTorch Geometric's NeighborLoader needs a compiled package that is not on PyPI; this is NumPy.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from torch import Tensor

from ml.graph_encoder import ConceptGraph, GraphSizes, node_tensors
from ml.knowledge_graph import KnowledgeGraph
from ml.patient_graph import FindingScaler


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Who sends to whom, node by node (compressed sparse rows): nine bytes an edge and direction.

    Attributes:
        first: where each node's senders begin in the two other columns.
        sender: the node at the other end, in the order of relation and sender.
        relation: number of the relation; a reversed edge has a number of its own.
        relations: how many there are, reversed ones included.
    """

    first: Int[np.ndarray, " nodes_and_one"]
    sender: Int[np.ndarray, " edges"]
    relation: Int[np.ndarray, " edges"]
    relations: int

    @classmethod
    def of(cls, graph: KnowledgeGraph) -> "Neighbours":
        """Both directions of every edge, sorted by receiver."""
        table = graph.table
        names = len(table.relations)
        receiver = np.concatenate([table.target, table.source])
        count = len(receiver)
        # One row an edge, one entry in it: turned to columns, it lists each receiver's edges.
        rows = csr_array(
            (np.ones(count, dtype=np.int8), receiver, np.arange(count + 1, dtype=np.int32)),
            shape=(count, len(graph.nodes)),
        )
        columns = rows.tocsc()
        order = columns.indices
        sender = np.concatenate([table.source, table.target])[order]
        code = np.concatenate([table.relation, table.relation + np.int16(names)])[order]
        return cls(columns.indptr.astype(np.int64), sender, code, 2 * names)

    def sampled(
        self, receivers: Int[np.ndarray, " some"], fanout: int, rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " edges"], Int[np.ndarray, " edges"]]:
        """Places of at most `fanout` edges into each receiver, and which receiver each is for.

        A node with more senders has its list cut into `fanout` equal stretches, turned by a random
        offset, and one edge is drawn from each: every edge has the same chance, and since the list
        is sorted by relation, each relation keeps its share.
        """
        start = self.first[receivers]
        degree = self.first[receivers + 1] - start
        whole = np.flatnonzero(degree <= fanout)
        row = np.repeat(whole, degree[whole])
        before = np.cumsum(degree[whole]) - degree[whole]
        within = np.arange(len(row)) - np.repeat(before, degree[whole])
        cut = np.flatnonzero(degree > fanout)
        length = degree[cut, None]
        borders = np.arange(fanout + 1) * length // fanout
        drawn = rng.random((len(cut), fanout)) * np.diff(borders, axis=1)
        offset = (rng.random((len(cut), 1)) * length).astype(np.int64)
        place = (borders[:, :-1] + drawn.astype(np.int64) + offset) % length
        return (
            np.concatenate([start[row] + within, (start[cut, None] + place).ravel()]),
            np.concatenate([row, np.repeat(cut, fanout)]),
        )


class NeighbourSampler:
    """Draws the part of a knowledge graph that one training step looks at.

    Starting from the nodes of the model's columns, each step outwards takes a few senders of each
    node that it reached. A fan-out that covers every neighbour gives what the whole graph gives.

    Paper: does not say how a graph of iBKH's size is passed through. The attention of a node with
    more neighbours than its fan-out is a softmax over the drawn ones.

    Args:
        neighbours: who sends to whom.
        text, kind: of all nodes.
        column_node: node of each column.
        fanouts: neighbours drawn at each step outwards from a column. A model of L layers looks
            L - 1 steps beyond a column's node.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        text: Float[Tensor, "nodes text_width"],
        kind: Int[Tensor, " nodes"],
        column_node: Int[Tensor, " columns"],
        fanouts: tuple[int, ...],
    ) -> None:
        self.neighbours = neighbours
        self.text = text
        self.kind = kind
        self.column_node = column_node
        self.fanouts = fanouts

    @classmethod
    def build(
        cls,
        graph: KnowledgeGraph,
        text: Float[Tensor, "nodes text_width"],
        scaler: FindingScaler,
        fanouts: tuple[int, ...],
    ) -> "NeighbourSampler":
        """The same numbering of kinds, relations and columns as `ConceptGraph.build`."""
        kind, column_node = node_tensors(graph, scaler)
        return cls(Neighbours.of(graph), text, kind, column_node, fanouts)

    @property
    def sizes(self) -> GraphSizes:
        """Of the whole graph, so that a model fits every part that is drawn."""
        return GraphSizes(
            self.text.shape[1],
            int(self.kind.max()) + 1,
            self.neighbours.relations,
            len(self.column_node),
        )

    def drawn(self, seed: int) -> ConceptGraph:
        """The part that this seed draws; its nodes are numbered anew, the columns' first."""
        rng = np.random.default_rng(seed)
        place = np.full(len(self.kind), -1, dtype=np.int64)
        frontier = np.unique(self.column_node.numpy())
        place[frontier] = np.arange(len(frontier))
        nodes = [frontier]
        count = len(frontier)
        ends: list[Int[np.ndarray, "2 some"]] = [np.zeros((2, 0), dtype=np.int64)]
        codes: list[Int[np.ndarray, " some"]] = [np.zeros(0, dtype=np.int64)]
        for fanout in self.fanouts:
            edges, row = self.neighbours.sampled(frontier, fanout, rng)
            sender = self.neighbours.sender[edges]
            new = np.unique(sender[place[sender] < 0])
            place[new] = np.arange(count, count + len(new))
            ends.append(np.stack([place[sender], place[frontier[row]]]))
            codes.append(self.neighbours.relation[edges].astype(np.int64))
            nodes.append(new)
            count += len(new)
            frontier = new
        kept = torch.from_numpy(np.concatenate(nodes))
        return ConceptGraph(
            self.text[kept].float(),
            self.kind[kept],
            torch.from_numpy(np.concatenate(ends, axis=1)),
            torch.from_numpy(np.concatenate(codes)),
            torch.from_numpy(place)[self.column_node],
        )


def training_graph(
    graph: KnowledgeGraph,
    text: Float[Tensor, "nodes text_width"],
    scaler: FindingScaler,
    fanouts: tuple[int, ...],
) -> ConceptGraph | NeighbourSampler:
    """The whole graph as tensors or, with fan-outs, what draws a part of it for each step."""
    if fanouts:
        return NeighbourSampler.build(graph, text, scaler, fanouts)
    return ConceptGraph.build(graph, text, scaler)
