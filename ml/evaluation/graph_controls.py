"""Graphs and texts without content, to score beside the real ones (method.md section 5).

If a model does as well on a rewired graph or with random texts, the graph's content adds nothing,
and a report has to say so.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ml.knowledge_graph import EdgeTable, KnowledgeGraph

ROUNDS = 200
"""Attempts to exchange away loops and doubled edges before a group keeps its own ends."""


def rewired(
    graph: KnowledgeGraph, seed: int, classes: Int[np.ndarray, " nodes"] | None = None
) -> KnowledgeGraph:
    """The same nodes and degrees, other neighbours.

    Edges exchange their targets with edges of the same relation between the same two classes of
    node. So each node keeps its number of edges of each relation in each direction, and what sort
    of node is at their other ends; which nodes these are is random. No edge becomes a loop or the
    same as another.

    Paper: Table 2 takes the graph away; one of the same degrees without the content is ours.

    Args:
        graph: the real one.
        seed: of the exchange.
        classes: number of each node's class; by default its kind. The depth in a hierarchy keeps
            codes below categories and categories below blocks.
    """
    rng = np.random.default_rng(seed)
    table = graph.table
    if classes is None:
        number = {kind: place for place, kind in enumerate(graph.kinds)}
        classes = np.array([number[node.kind] for node in graph.nodes])
    ends = [classes[table.source].astype(np.int64), classes[table.target].astype(np.int64)]
    count = int(classes.max(initial=0)) + 1
    group = (table.relation.astype(np.int64) * count + ends[0]) * count + ends[1]
    target = table.target.copy()
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        target[rows] = _exchanged(table.source[rows], target[rows], len(graph.nodes), rng)
    return KnowledgeGraph(
        graph.nodes, EdgeTable(table.source, table.relation, target, table.relations)
    )


def _exchanged(
    source: Int[np.ndarray, " edges"],
    target: Int[np.ndarray, " edges"],
    nodes: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, " edges"]:
    """The targets in another order, none at its own source, no two edges alike."""
    new = rng.permutation(target)
    for _ in range(ROUNDS):
        key = source.astype(np.int64) * nodes + new
        first = np.zeros(len(key), dtype=bool)
        first[np.unique(key, return_index=True)[1]] = True
        wrong = np.flatnonzero(~first | (source == new))
        if not len(wrong):
            return new
        for row, other in zip(wrong, rng.integers(0, len(new), len(wrong)), strict=True):
            new[row], new[other] = new[other], new[row]
    return target


def random_text(
    text: Float[Tensor, "nodes text_width"], seed: int
) -> Float[Tensor, "nodes text_width"]:
    """Random directions in the place of the names' embeddings, each as long as the real one."""
    drawn = torch.randn(text.shape, generator=torch.Generator().manual_seed(seed))
    directions = torch.nn.functional.normalize(drawn, dim=1)
    stretched: Tensor = directions * text.norm(dim=1, keepdim=True)
    return stretched
