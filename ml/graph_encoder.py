r"""The patient graph's encoder: three residual GATv2 layers over concepts and training patients."""

from dataclasses import dataclass
from typing import Any, cast

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
        position = graph.position
        ends = [(position[source], position[target]) for source, _, target in graph.edges]
        forward = torch.tensor(ends, dtype=torch.long).reshape(-1, 2).T
        number = {relation: place for place, relation in enumerate(graph.relations)}
        relation = torch.tensor([number[name] for _, name, _ in graph.edges], dtype=torch.long)
        return cls(
            text,
            torch.tensor([graph.kinds.index(node.kind) for node in graph.nodes]),
            torch.cat([forward, forward.flip(0)], dim=1),
            torch.cat([relation, relation + len(number)]),
            torch.tensor([position[column.node] for column in scaler.columns]),
        )


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

    def __init__(self, config: GraphConfig, graph: ConceptGraph, latent_width: int) -> None:
        super().__init__()
        self.config = config
        width = config.width
        kinds = int(graph.kind.max()) + 1
        relations = int(graph.relation.max()) + 1
        self.concept_in = nn.ModuleList(nn.Linear(graph.text.shape[1], width) for _ in range(kinds))
        self.column_in = nn.Parameter(torch.randn(len(graph.column_node), width) * 0.1)
        self.patient_in = nn.Linear(latent_width, width)
        self.reader = SurrogateReader(config, len(graph.column_node), latent_width)
        self.concept_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.layers))
        self.between = nn.ModuleList(
            ValuePassing(ValueAttention(width, config.heads, relations))
            for _ in range(config.layers)
        )
        self.from_patients = nn.ModuleList(
            ValuePassing(ValueAttention(width, config.heads)) for _ in range(config.layers)
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
        no_value = torch.tensor([0.0, 1.0]).expand(graph.edge.shape[1], 2)
        zero = torch.zeros_like(column)
        states: list[Tensor] = []
        for layer in range(self.config.layers):
            normal_concepts = self.concept_norms[layer](concepts)
            normal_patients = self.reader.norms[layer](patients)
            columns = normal_concepts[graph.column_node]
            states.append(columns)
            passing: Any = self.between[layer]
            step = passing(normal_concepts, normal_concepts, graph.edge, no_value, graph.relation)
            passing = self.from_patients[layer]
            step = step + passing(normal_patients, normal_concepts, up, value[sends], zero[sends])
            concepts = concepts + self.dropout(step)
            passing = self.from_findings[layer]
            step = passing(columns, normal_patients, down, value, zero)
            patients = patients + self.dropout(step)
        return patients, states

    def _concepts(self, graph: ConceptGraph) -> Tensor:
        concepts = torch.zeros(len(graph.kind), self.config.width)
        for kind, projection in enumerate(self.concept_in):
            of_kind = (graph.kind == kind).nonzero().squeeze(1)
            concepts = concepts.index_add(0, of_kind, projection(graph.text[of_kind]))
        return concepts.index_add(0, graph.column_node, self.column_in)
