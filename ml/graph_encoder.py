r"""The patient graph's encoder: three residual GATv2 layers over concepts and training patients."""

from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import softmax

from ml.config import GraphConfig
from ml.graph_attention import ValueAttention
from ml.knowledge_graph import KnowledgeGraph
from ml.patient_graph import Findings, FindingScaler
from ml.surrogate import SurrogateReader


@dataclass(frozen=True, slots=True)
class GraphSizes:
    """What a model must know of a graph before it sees any part of it.

    Attributes:
        text_width: length of a name's embedding.
        kinds: kinds of node.
        relations: kinds of edge, reversed ones included.
        columns: columns of the finding scaler.
    """

    text_width: int
    kinds: int
    relations: int
    columns: int


@runtime_checkable
class SizedGraph(Protocol):
    """The whole graph, or what draws parts of it (`ml.neighbour_sampler`)."""

    @property
    def sizes(self) -> GraphSizes:
        """Of the whole graph."""
        ...

    def drawn(self, seed: int) -> "ConceptGraph":
        """What one step looks at."""
        ...


@dataclass(frozen=True, slots=True)
class ConceptGraph:
    """The knowledge graph as tensors.

    Attributes:
        text: embedding of each node's name.
        kind: number of each node's kind.
        edge: source and target of each edge, both directions.
        relation: number of each edge's relation; a reversed edge has a relation of its own.
        column_node: node of each column of the finding scaler.
    """

    text: Float[Tensor, "nodes text_width"]
    kind: Int[Tensor, " nodes"]
    edge: Int[Tensor, "2 edges"]
    relation: Int[Tensor, " edges"]
    column_node: Int[Tensor, " columns"]

    @classmethod
    def build(
        cls, graph: KnowledgeGraph, text: Float[Tensor, "nodes text_width"], scaler: FindingScaler
    ) -> "ConceptGraph":
        """Number nodes, kinds and relations in the order of the graph."""
        table = graph.table
        forward = torch.from_numpy(np.stack([table.source, table.target]).astype(np.int64))
        relation = torch.from_numpy(table.relation.astype(np.int64))
        kind, column_node = node_tensors(graph, scaler)
        return cls(
            text,
            kind,
            torch.cat([forward, forward.flip(0)], dim=1),
            torch.cat([relation, relation + len(table.relations)]),
            column_node,
        )

    @property
    def sizes(self) -> GraphSizes:
        """Counted from the numbers in use; without edges there is room for one relation."""
        return GraphSizes(
            self.text.shape[1],
            int(self.kind.max()) + 1,
            int(self.relation.max()) + 1 if len(self.relation) else 1,
            len(self.column_node),
        )

    def drawn(self, seed: int) -> "ConceptGraph":
        """Itself: every step looks at all of it."""
        del seed
        return self


def node_tensors(
    graph: KnowledgeGraph, scaler: FindingScaler
) -> tuple[Int[Tensor, " nodes"], Int[Tensor, " columns"]]:
    """Number of each node's kind, and node of each column of the scaler."""
    number = {kind: place for place, kind in enumerate(graph.kinds)}
    kind = torch.tensor([number[node.kind] for node in graph.nodes])
    return kind, torch.tensor([graph.position[column.node] for column in scaler.columns])


class ValuePassing(MessagePassing):  # type: ignore[misc]
    """Passes the messages of one `ValueAttention` along the edges of a graph."""

    def __init__(self, attention: ValueAttention) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.attention = attention

    def forward(
        self,
        source: Float[Tensor, "sources width"],
        target: Float[Tensor, "targets width"],
        edge: Int[Tensor, "2 edges"],
        value: Float[Tensor, "edges 2"],
        relation: Int[Tensor, " edges"],
    ) -> Float[Tensor, "targets width"]:
        """What each target receives; a target without edges receives the output's bias."""
        received: Tensor = self.propagate(
            edge,
            size=(source.shape[0], target.shape[0]),
            plain=(self.attention.source(source), None),
            modulated=(self.attention.modulated(source), None),
            query=(None, self.attention.target(target)),
            value=value,
            relation=relation,
        )
        output: Tensor = self.attention.output(received)
        return output

    def message(
        self,
        plain_j: Tensor,
        modulated_j: Tensor,
        query_i: Tensor,
        value: Tensor,
        relation: Tensor,
        index: Tensor,
        size_i: int,
    ) -> Tensor:
        message = self.attention.message(plain_j, modulated_j, value, relation)
        weight = softmax(self.attention.logits(query_i, message), index, num_nodes=size_i)
        weighted: Tensor = weight.unsqueeze(-1) * self.attention.per_head(message)
        return weighted.flatten(1)


class GraphEncoder(nn.Module):
    r"""Graph embeddings z~ of patients, from their findings and the knowledge graph.

    $$h^{(0)} = W_{\mathrm{type}}\, x, \qquad
      h^{(l+1)} = h^{(l)} + \mathrm{GATv2}(\mathrm{LN}(h^{(l)})), \qquad \tilde z = W h^{(3)}$$

    A patient's feature x is its MRI latent z if it sends, and a learned mask if it is hidden, which
    is exactly what a patient with an EHR alone gets. Hidden patients receive and never send.

    Paper: section 2. Separate attentions for concept-concept, patient-concept and concept-patient
    edges are ours, so that hundreds of patients do not drown a concept's few relations; so are the
    learned mask (there: zero) and the vector that each column learns beside its text.

    Args:
        config: width, heads and layers.
        graph: sizes are taken from it.
        latent_width: length of z.
    """

    def __init__(self, config: GraphConfig, graph: SizedGraph, latent_width: int) -> None:
        super().__init__()
        self.config = config
        width = config.width
        sizes = graph.sizes
        self.concept_in = nn.ModuleList(
            nn.Linear(sizes.text_width, width) for _ in range(sizes.kinds)
        )
        self.column_in = nn.Parameter(torch.randn(sizes.columns, width) * 0.1)
        self.patient_in = nn.Linear(latent_width, width)
        self.reader = SurrogateReader(config, sizes.columns, latent_width)
        self.concept_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.layers))
        self.between = nn.ModuleList(
            ValuePassing(
                ValueAttention(width, config.heads, sizes.relations, attends=config.attention)
            )
            for _ in range(config.layers)
        )
        self.from_patients = nn.ModuleList(
            ValuePassing(ValueAttention(width, config.heads, attends=config.attention))
            for _ in range(config.layers)
        )
        self.from_findings = nn.ModuleList(
            ValuePassing(cast("ValueAttention", each)) for each in self.reader.attentions
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        graph: ConceptGraph,
        findings: Findings,
        latent: Float[Tensor, "patients latent"],
        hidden: Bool[Tensor, " patients"],
    ) -> Float[Tensor, "patients latent"]:
        """Graph embeddings of all patients; rows of `latent` that are hidden are not read."""
        patients, _ = self._propagate(graph, findings, latent, hidden)
        embedding: Tensor = self.reader.readout(patients)
        return embedding

    def concept_states(
        self,
        graph: ConceptGraph,
        findings: Findings,
        latent: Float[Tensor, "patients latent"],
    ) -> Float[Tensor, "layers columns width"]:
        """What each layer's findings say, with all of these training patients sending.

        They depend on the knowledge graph and the training patients only, so they are computed
        once and stored; see `SurrogateReader`.
        """
        nobody = torch.zeros(len(findings), dtype=torch.bool)
        return torch.stack(self._propagate(graph, findings, latent, nobody)[1])

    def _propagate(
        self, graph: ConceptGraph, findings: Findings, latent: Tensor, hidden: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        concepts = self._concepts(graph)
        seen = torch.where(hidden.unsqueeze(1), torch.zeros_like(latent), latent)
        patients = torch.where(hidden.unsqueeze(1), self.reader.mask, self.patient_in(seen))
        patient, column, value = findings.edges()
        down = torch.stack([column, patient])
        sends = ~hidden[patient]
        up = torch.stack([patient[sends], graph.column_node[column[sends]]])
        edge, relation = self._edges(graph)
        no_value = torch.tensor([0.0, 1.0]).expand(edge.shape[1], 2)
        zero = torch.zeros_like(column)
        states: list[Tensor] = []
        for layer in range(self.config.layers):
            normal_concepts = self.concept_norms[layer](concepts)
            normal_patients = self.reader.norms[layer](patients)
            columns = normal_concepts[graph.column_node]
            states.append(columns)
            if layer < self.config.layers - 1:  # nobody reads the concepts after the last layer
                passing: Any = self.between[layer]
                step = passing(normal_concepts, normal_concepts, edge, no_value, relation)
                if self.config.patients_send:
                    passing = self.from_patients[layer]
                    step = step + passing(
                        normal_patients, normal_concepts, up, value[sends], zero[sends]
                    )
                concepts = concepts + self.dropout(step)
            passing = self.from_findings[layer]
            step = passing(columns, normal_patients, down, value, zero)
            patients = patients + self.dropout(step)
        return patients, states

    def _edges(self, graph: ConceptGraph) -> tuple[Tensor, Tensor]:
        """The edges between concepts; in training without a random share of them."""
        if not self.training or self.config.edge_dropout == 0:
            return graph.edge, graph.relation
        kept = torch.rand(len(graph.relation)) >= self.config.edge_dropout
        return graph.edge[:, kept], graph.relation[kept]

    def _concepts(self, graph: ConceptGraph) -> Tensor:
        concepts = torch.zeros(len(graph.kind), self.config.width)
        for kind, projection in enumerate(self.concept_in):
            of_kind = (graph.kind == kind).nonzero().squeeze(1)
            concepts = concepts.index_add(0, of_kind, projection(graph.text[of_kind]))
        return concepts.index_add(0, graph.column_node, self.column_in)
