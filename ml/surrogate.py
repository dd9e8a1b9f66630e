"""Serving without the graph: a patient's surrogate from its own findings and stored states."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ml.config import GraphConfig
from ml.graph_attention import ValueAttention
from ml.patient_graph import Findings


class SurrogateReader(nn.Module):
    """The part of the graph encoder that runs for a patient with an EHR alone.

    Such a patient only receives. The states of the concepts in each layer do not depend on it, so
    they are stored, and the patient costs one attention over its own findings a layer, whatever
    the size of the graph; the result is exactly that of the whole graph (method.md section 6).

    Args:
        config: width, heads and layers of the encoder.
        columns: columns of the finding scaler.
        latent_width: length of z.
    """

    states: Tensor

    def __init__(self, config: GraphConfig, columns: int, latent_width: int) -> None:
        super().__init__()
        width = config.width
        self.mask = nn.Parameter(torch.randn(width) * 0.02)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.layers))
        self.attentions = nn.ModuleList(
            ValueAttention(width, config.heads, attends=config.attention)
            for _ in range(config.layers)
        )
        self.readout = nn.Linear(width, latent_width)
        self.register_buffer("states", torch.zeros(config.layers, columns, width))

    def forward(self, findings: Findings) -> Float[Tensor, "patients latent"]:
        """Graph embeddings z~ of patients that are not in the graph."""
        embedding: Tensor = self.readout(self._heard(findings)[0])
        return embedding

    def attention(self, findings: Findings) -> Float[Tensor, "layers patients most heads"]:
        """Weight that each finding gets in each layer; they sum to 1 over a patient's findings."""
        return torch.stack(self._heard(findings)[1])

    def _heard(
        self, findings: Findings
    ) -> tuple[Float[Tensor, "patients width"], list[Float[Tensor, "patients most heads"]]]:
        patients, weights = self.mask.expand(len(findings), -1), []
        for state, norm, each in zip(self.states, self.norms, self.attentions, strict=True):
            attention = cast("ValueAttention", each)
            weight, message = attention.attend(
                norm(patients), state, findings.column, findings.value, findings.observed
            )
            patients = patients + attention.gather(weight, message)
            weights.append(weight)
        return patients, weights
