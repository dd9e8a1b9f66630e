"""Multimodal VAE: one latent for record and MRI, inferred from whichever of them there is."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ml.evaluation.baselines.generators import GeneratorConfig, optimise, perceptron

WIDTH = 16
"""Length of the shared latent h."""
ANNEALED_SHARE = 0.5
"""Share of the steps over which the weight of the divergence grows from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Independent normal distributions, one row a patient."""

    mean: Float[Tensor, "patients width"]
    log_variance: Float[Tensor, "patients width"]

    def sample(self) -> Float[Tensor, "patients width"]:
        """One draw by reparametrisation, so that a gradient passes through it."""
        return self.mean + torch.randn_like(self.mean) * (0.5 * self.log_variance).exp()

    def divergence(self) -> Float[Tensor, " patients"]:
        """KL divergence from N(0, I), in nats."""
        terms = self.log_variance.exp() + self.mean.square() - 1 - self.log_variance
        return 0.5 * terms.sum(1)


def product_of_experts(experts: list[Gaussian]) -> Gaussian:
    r"""The normalised product of the experts and of the prior N(0, I).

    $$\Lambda = I + \sum_e \Lambda_e, \qquad \mu = \Lambda^{-1} \sum_e \Lambda_e \mu_e$$

    Example:
        >>> one = Gaussian(torch.tensor([[2.0]]), torch.tensor([[0.0]]))
        >>> product_of_experts([one]).mean, product_of_experts([one]).log_variance.exp()
        (tensor([[1.]]), tensor([[0.5000]]))
    """
    precisions = [(-expert.log_variance).exp() for expert in experts]
    total = 1 + torch.stack(precisions).sum(0)
    weighted = [each * expert.mean for each, expert in zip(precisions, experts, strict=True)]
    return Gaussian(torch.stack(weighted).sum(0) / total, -total.log())


class MultimodalVAE(nn.Module):
    """MVAE (Wu and Goodman 2018) of the record and the autoencoder's latent of the scan.

    Paper: row 'MVAE' of Table 1. The scan enters and leaves as its latent z, which the frozen
    decoder turns into a volume: 400 scans are too few to learn a second decoder from.

    Args:
        inputs: length of a record's row: values, then presence.
        latent: length of z.
        hidden: units of the hidden layers.
    """

    def __init__(self, inputs: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.columns = inputs // 2
        self.of_record = perceptron(inputs, hidden, 2 * WIDTH)
        self.of_scan = perceptron(latent, hidden, 2 * WIDTH)
        self.to_record = perceptron(WIDTH, hidden, self.columns, dropout=0.0)
        self.to_scan = perceptron(WIDTH, hidden, latent, dropout=0.0)

    def infer(
        self,
        table: Float[Tensor, "patients inputs"] | None,
        z: Float[Tensor, "patients latent"] | None,
    ) -> Gaussian:
        """The posterior of h from what there is; at least one of the two."""
        seen = [(self.of_record, table), (self.of_scan, z)]
        found = [network(given).chunk(2, dim=1) for network, given in seen if given is not None]
        return product_of_experts([Gaussian(mean, spread) for mean, spread in found])

    def loss(
        self,
        table: Float[Tensor, "patients inputs"],
        z: Float[Tensor, "patients latent"],
        divergence_weight: float,
    ) -> Float[Tensor, ""]:
        """Minus the evidence bounds given both, the record alone and the scan alone."""
        value, presence = table.chunk(2, dim=1)
        total = torch.zeros(())
        for given in ((table, z), (table, None), (None, z)):
            posterior = self.infer(*given)
            h = posterior.sample()
            scan = 0.5 * (self.to_scan(h) - z).square().sum(1)
            record = 0.5 * (presence * (self.to_record(h) - value).square()).sum(1)
            bound = scan + record + divergence_weight * posterior.divergence()
            total = total + bound.mean()
        return total / 3

    def forward(self, table: Float[Tensor, "patients inputs"]) -> Float[Tensor, "patients latent"]:
        """z of patients with a record alone, at the posterior's mean."""
        drawn: Tensor = self.to_scan(self.infer(table, None).mean)
        return drawn


def fit_multimodal_vae(
    table: Float[Tensor, "patients inputs"],
    latent: Float[Tensor, "patients latent"],
    config: GeneratorConfig,
    *,
    seed: int,
) -> tuple[MultimodalVAE, list[float]]:
    """Train with a divergence whose weight grows from 0, so that h is used before it is priced.

    Returns:
        The network in evaluation mode, and the loss of each step.
    """
    torch.manual_seed(seed)
    network = MultimodalVAE(table.shape[1], latent.shape[1], config.hidden).train()
    annealed = max(1, round(ANNEALED_SHARE * config.steps))

    def loss_of(batch: Tensor, step: int) -> Tensor:
        return network.loss(table[batch], latent[batch], min(1.0, step / annealed))

    losses = optimise(network.parameters(), len(table), loss_of, config)
    return network.eval(), losses
