"""Whose skips a pseudo-MRI is made with: figures over all of them, never one of them.

Paper: Eq. 5's neighbours. The summary is ours (evidence.md section 2: a pseudo-MRI is no copy).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ml.skip_bank import SkipBank, neighbour_weights

FEWEST = 5
"""Of fewer people nothing is said."""


@dataclass(frozen=True, slots=True)
class Donors:
    """The donors of one pseudo-MRI's skips, together.

    Attributes:
        n: how many were averaged.
        of: from how many they were chosen.
        largest_weight: of one of them, 0 to 1.
        nearness: share of the bank's donors that have a more similar one among the others than
            this surrogate has, 0 to 1: near 0 it would be as near to one donor as a second scan.
    """

    n: int
    of: int
    largest_weight: float
    nearness: float


def donors_of(bank: SkipBank, surrogate: Float[Tensor, "1 width"]) -> Donors | None:
    """Summarise whom the bank averages for one surrogate; None if they are fewer than five."""
    keys = len(bank.donor_keys)
    allowed = torch.ones(1, keys, dtype=torch.bool)
    weights = neighbour_weights(surrogate, bank.donor_z, allowed, k=bank.k, cap=bank.weight_cap)[0]
    count = int((weights > 0).sum())
    if count < FEWEST:
        return None
    donors = functional.normalize(bank.donor_z, dim=1)
    among = (donors @ donors.T).fill_diagonal_(-2.0).amax(1)
    nearest = float((functional.normalize(surrogate, dim=1) @ donors.T).max())
    return Donors(
        n=count,
        of=keys,
        largest_weight=float(weights.max()),
        nearness=float((among > nearest).double().mean()),
    )
