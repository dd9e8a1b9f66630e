r"""A reader of coded records: the graph encoder's concept states, summed over a person's codes."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ml.config import GraphConfig
from ml.graph_encoder import ConceptGraph, GraphEncoder
from ml.patient_graph import Findings


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedConfig:
    """How a reader of coded records is built and trained.

    Attributes:
        graph: sizes of the encoder.
        attention: weight of the patients' own attention readout beside the sum; 0 leaves it out.
        ridge: penalty of the squared weights of all codes together, as in a ridge regression.
        own_ridge: further penalty of what a code's weight has of its own, beside the graph's.
        code_dropout: mean share of a person's codes that a step hides.
        steps: optimiser steps, each over all training people.
        learning_rate: of the codes' own weights; falls to 0 along a cosine.
        encoder_rate: of the encoder.
        weight_decay: of the encoder.
    """

    graph: GraphConfig = field(default_factory=lambda: GraphConfig(width=32, layers=2))
    attention: float = 0.0
    ridge: float = 0.1
    own_ridge: float = 0.03
    code_dropout: float = 0.2
    steps: int = 60
    learning_rate: float = 1e-2
    encoder_rate: float = 3e-3
    weight_decay: float = 1e-2


class CodedModel(nn.Module):
    r"""The logit of AD from a coded record.

    $$l_i = b + \sum_{j \in \mathrm{codes}(i)} x_{ij}\,(w^\top h_j + u_j) + a\,r(\tilde z_i)$$

    with the state h of code j after the encoder's message passing over the graph, a weight u of
    its own, and optionally the encoder's attention readout of the patient. A softmax over a
    person's codes is an average; risk adds up over codes, so the sum is the main road.

    Paper: none; ours (GRAM, Choi et al. 2017, sums over codes likewise).
    """

    def __init__(self, config: CodedConfig, graph: ConceptGraph) -> None:
        super().__init__()
        self.config = config
        self.encoder = GraphEncoder(config.graph, graph, 1)
        self.from_state = nn.Linear(config.graph.width, 1, bias=False)
        self.own = nn.Parameter(torch.zeros(len(graph.column_node)))
        self.bias = nn.Parameter(torch.zeros(()))
        nn.init.zeros_(self.from_state.weight)

    def weights(self, graph: ConceptGraph) -> Float[Tensor, " columns"]:
        """What each column adds to the logit where it is present."""
        nobody = Findings(
            torch.zeros(0, 1, dtype=torch.long),
            torch.zeros(0, 1, 2),
            torch.zeros(0, 1, dtype=torch.bool),
        )
        states = self.encoder.concept_states(graph, nobody, torch.zeros(0, 1))[-1]
        weights: Tensor = self.from_state(states).squeeze(1) + self.own
        return weights

    def forward(
        self, graph: ConceptGraph, findings: Findings, weights: Float[Tensor, " columns"]
    ) -> Float[Tensor, " patients"]:
        """Logits from the codes' weights; nobody sends, so a person's logit is its own."""
        score = findings.value[..., 0] * findings.observed
        logit = self.bias + (weights[findings.column] * score).sum(1)
        if self.config.attention:
            people = len(findings)
            everybody = torch.ones(people, dtype=torch.bool)
            read = self.encoder(graph, findings, torch.zeros(people, 1), everybody)
            logit = logit + self.config.attention * read.squeeze(1)
        return logit


def fit_coded_model(
    config: CodedConfig,
    graph: ConceptGraph,
    findings: Findings,
    labels: Int[np.ndarray, " patients"],
    *,
    seed: int,
) -> CodedModel:
    """Train a reader on labelled people, all of them in every step.

    Args:
        config: sizes and penalties.
        graph: the graph of the codes.
        findings: of the training people.
        labels: 1 AD, 0 CN.
        seed: of weights and dropping.
    """
    torch.manual_seed(seed)
    model = CodedModel(config, graph)
    target = torch.from_numpy(labels).float()
    seen = torch.zeros(len(graph.column_node), dtype=torch.bool)
    seen[findings.column[findings.observed]] = True
    own = [model.own, model.bias]
    rest = [*model.encoder.parameters(), *model.from_state.parameters()]
    optimiser = torch.optim.AdamW(
        [
            {"params": own, "lr": config.learning_rate, "weight_decay": 0.0},
            {"params": rest, "lr": config.encoder_rate, "weight_decay": config.weight_decay},
        ]
    )
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    for _ in range(config.steps):
        weights = model.weights(graph)
        logit = model(graph, _drop(findings, config.code_dropout), weights)
        loss = nn.functional.binary_cross_entropy_with_logits(logit, target)
        loss = loss + config.ridge * weights[seen].square().sum()
        loss = loss + config.own_ridge * model.own.square().sum()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        falling.step()
    return model.eval()


def _drop(findings: Findings, mean_share: float) -> Findings:
    share = torch.rand(len(findings), 1) * 2 * mean_share
    return findings.without(torch.rand(findings.observed.shape) < share)


@torch.no_grad()
def read_codes_with(
    model: CodedModel, graph: ConceptGraph, findings: Findings
) -> Float[np.ndarray, " patients"]:
    """P(AD) of each person."""
    probability: np.ndarray = (
        torch.sigmoid(model(graph, findings, model.weights(graph))).double().numpy()
    )
    return probability
