"""Soft alignment of records and MRI latents (PRIMA): who is alike need not be the same person."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ml.evaluation.baselines.generators import GeneratorConfig, optimise, perceptron

WIDTH = 32
TEMPERATURE = 0.1
OWN_SHARE = 0.5
"""Share of the target that is the person's own scan; the rest goes to people with like findings."""


class SoftAlignment(nn.Module):
    r"""Two encoders into one space, and a diagnosis head on it.

    $$L = \mathrm{CE}\big(T,\ \mathrm{softmax}(f_i \cdot g_j / \tau)\big) + \mathrm{CE}(h(f_i), y_i)
      + \mathrm{CE}(h(g_i), y_i), \qquad
      T = \alpha I + (1 - \alpha)\,\mathrm{softmax}(c_i \cdot c_j / \tau)$$

    with the record's f, the scan's g and the text c of a patient's findings.

    Paper: none of MIRAGE's; the risk-knowledge alignment of PRIMA, reduced to what one cohort has.

    Args:
        inputs: length of a record's row.
        latent: length of z.
        hidden: units of the record's hidden layers.
    """

    def __init__(self, inputs: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.of_record = perceptron(inputs, hidden, WIDTH)
        self.of_scan = nn.Linear(latent, WIDTH)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, table: Float[Tensor, "patients inputs"]) -> Float[Tensor, " patients"]:
        """Logit of AD from the record alone."""
        logit: Tensor = self.head(functional.normalize(self.of_record(table), dim=1)).squeeze(1)
        return logit


def soft_targets(concepts: Float[Tensor, "patients text"]) -> Float[Tensor, "patients patients"]:
    """How much of each scan is right for each record; rows sum to 1.

    Args:
        concepts: text of each patient's findings, of length 1.
    """
    alike = (concepts @ concepts.T / TEMPERATURE).softmax(1)
    return OWN_SHARE * torch.eye(len(concepts)) + (1 - OWN_SHARE) * alike


def concept_text(
    table: Float[Tensor, "patients inputs"], text: Float[Tensor, "columns text"]
) -> Float[Tensor, "patients text"]:
    """The texts of a patient's columns, each weighted by the z-score found there, to length 1."""
    value, _ = table.chunk(2, dim=1)
    return functional.normalize(value @ text, dim=1)


def fit_soft_alignment(
    table: Float[Tensor, "patients inputs"],
    latent: Float[Tensor, "patients latent"],
    label: Float[Tensor, " patients"],
    text: Float[Tensor, "columns text"],
    config: GeneratorConfig,
    *,
    seed: int,
) -> tuple[SoftAlignment, list[float]]:
    """Train both encoders and the head together.

    Returns:
        The network in evaluation mode, and the loss of each step.
    """
    torch.manual_seed(seed)
    network = SoftAlignment(table.shape[1], latent.shape[1], config.hidden).train()
    concepts = concept_text(table, text)

    def loss_of(batch: Tensor, step: int) -> Tensor:
        del step
        record = functional.normalize(network.of_record(table[batch]), dim=1)
        scan = functional.normalize(network.of_scan(latent[batch]), dim=1)
        target = soft_targets(concepts[batch])
        near = record @ scan.T / TEMPERATURE
        alike = functional.cross_entropy(near, target)
        alike = alike + functional.cross_entropy(near.T, target.T)
        told = functional.binary_cross_entropy_with_logits
        head = network.head
        diagnosis = told(head(record).squeeze(1), label[batch])
        return alike / 2 + diagnosis + told(head(scan).squeeze(1), label[batch])

    losses = optimise(network.parameters(), len(table), loss_of, config)
    return network.eval(), losses
