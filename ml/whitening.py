"""Whitening-colouring: give the graph's embeddings the mean and covariance of the MRI latents."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEAST_PATIENTS = 8


class DegenerateCohortError(ValueError):
    """A cohort is too small, or does not vary, so that its covariance cannot be estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhiteningReport:
    """What the covariances looked like, for the card.

    Attributes:
        source_shrinkage, target_shrinkage: Ledoit-Wolf weights of the scaled identity, 0 to 1.
        source_rank, target_rank: effective ranks, exp of the entropy of the sample covariance's
            spectrum, unitless.
    """

    source_shrinkage: float
    target_shrinkage: float
    source_rank: float
    target_rank: float


class WhiteningColoring(nn.Module):
    r"""Affine map that gives graph embeddings the mean and covariance of the autoencoder's latents.

    $$z' = (1 - b)\,\tilde z + b\,[\Sigma_t^{1/2}\,\Sigma_s^{-1/2}\,(\tilde z - \mu_s) + \mu_t]$$

    Paper: section 2, 'WC Transformer' (Li et al. 2017), which is b = 1 with sample covariances. On
    embeddings of low rank that amplifies noise (method.md trap 8). Ours: both covariances are
    shrunk towards a multiple of the identity (Ledoit and Wolf 2004), powers are taken in double
    precision, and the blend b is chosen out of fold.

    Args:
        source_mean, target_mean: mu_s, mu_t, unitless.
        transport: the product of the two powers, unitless.
        blend: b, 0 to 1.

    Shape:
        forward: `(patients, width) -> (patients, width)`

    Example:
        >>> _ = torch.manual_seed(0)
        >>> graph, mri = torch.randn(4096, 2), 3 + torch.randn(4096, 2) * torch.tensor([1.0, 3.0])
        >>> moved = WhiteningColoring.fit(source=graph, target=mri)(graph)
        >>> torch.testing.assert_close(moved.mean(0), mri.mean(0), atol=1e-4, rtol=0)
        >>> torch.testing.assert_close(moved.T.cov(), mri.T.cov(), atol=0.3, rtol=0)
    """

    source_mean: Tensor
    target_mean: Tensor
    transport: Tensor
    blend: Tensor

    def __init__(
        self,
        source_mean: Float[Tensor, " width"],
        target_mean: Float[Tensor, " width"],
        transport: Float[Tensor, "width width"],
        blend: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_buffer("source_mean", source_mean)
        self.register_buffer("target_mean", target_mean)
        self.register_buffer("transport", transport)
        self.register_buffer("blend", torch.tensor(blend))
        self.report: WhiteningReport | None = None

    @classmethod
    def fit(
        cls,
        *,
        source: Float[Tensor, "n_source width"],
        target: Float[Tensor, "n_target width"],
        blend: float = 1.0,
    ) -> "WhiteningColoring":
        """Estimate the map from training embeddings; fewer patients than dimensions will do.

        Raises:
            DegenerateCohortError: fewer than 8 patients on a side, or a side that does not vary.
        """
        powers, ranks, shrinkages = [], [], []
        for name, cohort, exponent in (("graph", source, -0.5), ("MRI", target, 0.5)):
            if len(cohort) < LEAST_PATIENTS or float(cohort.var(0).sum()) < 1e-12:
                raise DegenerateCohortError(
                    f"The covariance of the {name} side cannot be estimated from {len(cohort)} "
                    f"embeddings that vary by {float(cohort.std(0).mean()):.1e}; it needs at least "
                    f"{LEAST_PATIENTS} that differ. Train on more patients."
                )
            covariance, shrinkage = shrunk_covariance(cohort)
            powers.append(_power(covariance, exponent))
            ranks.append(effective_rank(cohort))
            shrinkages.append(shrinkage)
        transport = (powers[1] @ powers[0]).to(source.dtype)
        fitted = cls(source.mean(0), target.mean(0), transport, blend)
        fitted.report = WhiteningReport(
            source_shrinkage=shrinkages[0],
            target_shrinkage=shrinkages[1],
            source_rank=ranks[0],
            target_rank=ranks[1],
        )
        return fitted

    @classmethod
    def empty(cls, width: int) -> "WhiteningColoring":
        """A map of the right shape to load stored values into."""
        return cls(torch.zeros(width), torch.zeros(width), torch.eye(width))

    def forward(self, z: Float[Tensor, "patients width"]) -> Float[Tensor, "patients width"]:
        moved: Tensor = (z - self.source_mean) @ self.transport.T + self.target_mean
        return torch.lerp(z, moved, self.blend)


def shrunk_covariance(
    cohort: Float[Tensor, "patients width"],
) -> tuple[Float[Tensor, "width width"], float]:
    r"""Ledoit and Wolf's covariance in double precision, and the weight that it gave the identity.

    $$\Sigma = (1 - \rho)\,S + \rho\,\tfrac{\operatorname{tr} S}{d} I$$
    """
    centred = (cohort - cohort.mean(0)).double()
    patients, width = centred.shape
    sample = centred.T @ centred / patients
    scale = sample.diagonal().mean()
    squares = (centred**2).T @ (centred**2) / patients
    spread = float(((squares - sample**2).sum() / patients).clamp_min(0))
    distance = float(((sample - scale * torch.eye(width, dtype=torch.float64)) ** 2).sum())
    shrinkage = min(1.0, spread / distance) if distance > 0 else 1.0
    identity = torch.eye(width, dtype=torch.float64)
    return (1 - shrinkage) * sample + shrinkage * scale * identity, shrinkage


def effective_rank(cohort: Float[Tensor, "patients width"]) -> float:
    """How many directions the embeddings use: exp of the entropy of their variance's shares.

    Example:
        >>> effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        1.0
    """
    centred = (cohort - cohort.mean(0)).double()
    variance = torch.linalg.svdvals(centred) ** 2
    share = variance / variance.sum().clamp_min(1e-300)
    share = share[share > 1e-12]
    return float((-(share * share.log()).sum()).exp())


def _power(covariance: Float[Tensor, "width width"], exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    floor = float(values.max()) * 1e-9
    powered: Tensor = (vectors * values.clamp_min(floor) ** exponent) @ vectors.T
    return powered
