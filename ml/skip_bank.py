"""Cohort-aggregated skips: what the decoder is given for a patient who was never scanned."""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from ml.config import SkipBankConfig

# A donor that points the other way counts as hardly similar, not as negative.
LEAST_SIMILARITY = 1e-6


class TooFewDonorsError(ValueError):
    """There are fewer donors than neighbours to average."""


class SkipBank(nn.Module):
    r"""The skips of some training patients, and their average for a new one.

    $$\hat s_i^l = \sum_{j \in N_K(i)} w_{ij}\, s_j^l, \qquad
      w_{ij} = \frac{\cos(z_i, z_j)}{\sum_{k \in N_K(i)} \cos(z_i, z_k)}$$

    Paper: Eq. 5. Ours: never the patient itself nor another visit of the same person (method.md
    trap 3), no neighbour above `weight_cap`, a negative cosine counts as almost none, and one scan
    a person. The choice of donors and of neighbours never sees a diagnosis.

    Skips are stored in half precision: three digits are enough for an average of five.

    Attributes:
        donor_z: latents of the donors, `(donors, width)`.
        donor_keys: 63-bit hashes of the donors' persons, so that a bundle names nobody.
    """

    donor_z: Tensor
    donor_keys: Tensor

    def __init__(
        self,
        donor_z: Tensor,
        donor_keys: Tensor,
        skips: Sequence[Tensor],
        config: SkipBankConfig,
    ) -> None:
        super().__init__()
        self.register_buffer("donor_z", donor_z)
        self.register_buffer("donor_keys", donor_keys)
        self.levels = len(skips)
        for level, stored in enumerate(skips):
            self.register_buffer(f"skip_{level}", stored.half())
        self.k, self.weight_cap = config.k, config.weight_cap

    @classmethod
    def build(
        cls,
        z: Float[Tensor, "donors width"],
        skips: Sequence[Tensor],
        persons: Sequence[str],
        config: SkipBankConfig,
    ) -> "SkipBank":
        """Store the donors that `choose_donors` picked.

        Raises:
            TooFewDonorsError: fewer donors than `config.k`.
            ValueError: a person is there twice.
        """
        if len(persons) < config.k:
            raise TooFewDonorsError(
                f"{len(persons)} donors cannot give {config.k} neighbours. Train on at least "
                f"{config.k + 1} scanned people, or lower SkipBankConfig.k."
            )
        if len(set(persons)) < len(persons):
            raise ValueError("A person may give one scan to the skip bank; see choose_donors.")
        stored = [level.detach() for level in skips]
        return cls(z.detach().clone(), person_keys(persons), stored, config)

    @property
    def skips(self) -> tuple[Tensor, ...]:
        """Stored skips, finest first: `(donors, maps, i, j, k)` each."""
        return tuple(self.get_buffer(f"skip_{level}") for level in range(self.levels))

    @classmethod
    def empty(
        cls, donors: int, width: int, shapes: Sequence[tuple[int, ...]], config: SkipBankConfig
    ) -> "SkipBank":
        """A bank of the right shape to load stored buffers into."""
        stored = [torch.zeros(donors, *shape) for shape in shapes]
        return cls(
            torch.zeros(donors, width), torch.zeros(donors, dtype=torch.int64), stored, config
        )

    def aggregate(
        self, z: Float[Tensor, "patients width"], exclude: Sequence[str] | None = None
    ) -> tuple[tuple[Tensor, ...], Float[Tensor, "patients donors"]]:
        """Average the skips of each patient's K most similar donors.

        Args:
            z: latents of the patients.
            exclude: one person a patient, whose donor is not used; needed for training patients,
                who may be donors themselves. None for patients from outside the training cohort.

        Returns:
            Skips finest first, as `Decoder` takes them, and the weights: rows sum to 1.

        Raises:
            TooFewDonorsError: without the excluded one, fewer than K donors are left.
        """
        allowed = torch.ones(z.shape[0], len(self.donor_keys), dtype=torch.bool, device=z.device)
        if exclude is not None:
            own = person_keys(exclude).to(z.device)
            allowed = own[:, None] != self.donor_keys[None, :]
        weights = neighbour_weights(z, self.donor_z, allowed, k=self.k, cap=self.weight_cap)
        return tuple(mix_skips(weights, stored) for stored in self.skips), weights


def choose_donors(persons: Sequence[str], max_donors: int, seed: int) -> tuple[int, ...]:
    """Rows of the scans whose skips are stored: a random sample of people, one scan each.

    Random, because any rule that looks at the scans could look at the disease. Returned in row
    order.
    """
    first_scan: dict[str, int] = {}
    for row, person in enumerate(persons):
        first_scan.setdefault(person, row)
    rows = list(first_scan.values())
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(sorted(rows[place] for place in order[:max_donors]))


def person_keys(persons: Sequence[str]) -> Int64[Tensor, " persons"]:
    """A number for each person that does not give away the identifier."""
    digests = (hashlib.blake2b(person.encode(), digest_size=8).digest() for person in persons)
    return torch.tensor([int.from_bytes(digest, "big") >> 1 for digest in digests])


def neighbour_weights(
    z: Float[Tensor, "patients width"],
    donor_z: Float[Tensor, "donors width"],
    allowed: Bool[Tensor, "patients donors"],
    *,
    k: int,
    cap: float,
) -> Float[Tensor, "patients donors"]:
    """Eq. 5's weights: cosine to the K nearest allowed donors, summing to 1, none above `cap`.

    Raises:
        TooFewDonorsError: a patient has fewer than `k` allowed donors.

    Example:
        >>> donors = torch.eye(3)
        >>> everyone = torch.ones(1, 3, dtype=torch.bool)
        >>> neighbour_weights(torch.tensor([[3.0, 1, 0]]), donors, everyone, k=2, cap=1.0)
        tensor([[0.7500, 0.2500, 0.0000]])
        >>> neighbour_weights(torch.tensor([[3.0, 1, 0]]), donors, everyone, k=2, cap=0.5)
        tensor([[0.5000, 0.5000, 0.0000]])
    """
    fewest = int(allowed.sum(1).min())
    if fewest < k:
        raise TooFewDonorsError(
            f"A patient has {fewest} donors left without its own scans; {k} are averaged. "
            "Store more donors (SkipBankConfig.max_donors) or lower SkipBankConfig.k."
        )
    cosine = functional.normalize(z, dim=1) @ functional.normalize(donor_z, dim=1).T
    cosine = cosine.masked_fill(~allowed, -2.0)  # below every cosine
    similarity, nearest = cosine.topk(k, dim=1)
    shares = similarity.clamp_min(LEAST_SIMILARITY)
    shares = _capped(shares / shares.sum(1, keepdim=True), cap)
    return torch.zeros_like(cosine).scatter(1, nearest, shares)


def _capped(shares: Float[Tensor, "patients k"], cap: float) -> Float[Tensor, "patients k"]:
    """Hand what exceeds the cap to the others in proportion; at most one share can exceed half."""
    excess = (shares - cap).clamp_min(0)
    room = torch.where(excess > 0, torch.zeros_like(shares), shares)
    handed = excess.sum(1, keepdim=True) * room / room.sum(1, keepdim=True).clamp_min(1e-12)
    return shares - excess + handed


def mix_skips(
    weights: Float[Tensor, "patients donors"], skips: Float[Tensor, "donors maps i j k"]
) -> Float[Tensor, "patients maps i j k"]:
    """Weighted averages of one level's skips."""
    mixed = weights @ skips.to(weights.dtype).flatten(1)
    return mixed.reshape(-1, *skips.shape[1:])
