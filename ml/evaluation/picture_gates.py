"""Gates on the pictures of a finished bundle: do they show the disease, and are they nobody's?

Both need the decoder with its donors alone. A bundle keeps no encoder, so the donors' scans are
represented by what the decoder makes of their own latent and their own skips.
"""

import math

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import norm
from torch import Tensor

from ml.card import JUDGED_FROM, Gate
from ml.data.mri import brain_mask, grid
from ml.data.regions import ventricle_ml
from ml.evaluation.heads import retrieved
from ml.mirage import PseudoMRIDecoder
from ml.skip_bank import SkipBank

DRAWN_OF_A_CLASS = 24
DRAWN_AT_ONCE = 4
LEAST_K, MOST_WEIGHT = 5, 0.5
LEAST_PERCENTILE = 5.0


def picture_gates(
    drawer: PseudoMRIDecoder,
    surrogates: Float[Tensor, "patients width"],
    labels: Int[ndarray, " patients"],
    spacing_mm: float,
) -> list[Gate]:
    """Swap test with the same skips for everybody, donors' shares, and the donor copy test.

    Args:
        drawer: decoder and donors of a bundle.
        surrogates: of people who did not train it.
        labels: theirs, 1 AD and 0 CN.
        spacing_mm: voxel edge of the pictures.
    """
    known = torch.from_numpy(labels)
    groups = [(known == label).nonzero().squeeze(1)[:DRAWN_OF_A_CLASS] for label in (1, 0)]
    some = torch.cat(groups)
    return [
        _swap(drawer, [surrogates[rows] for rows in groups], spacing_mm),
        _shares(drawer.skip_bank, surrogates),
        _copies(drawer, surrogates[some[:: max(1, len(some) // 20)]], spacing_mm),
    ]


@torch.no_grad()
def _swap(
    drawer: PseudoMRIDecoder, groups: list[Float[Tensor, "_ width"]], spacing_mm: float
) -> Gate:
    """Ventricles of AD minus CN where everybody has the mean of all donors' skips.

    The surrogate is then all that differs between two pictures (method.md trap 4).
    """
    skips = [level.float().mean(0, keepdim=True) for level in drawer.skip_bank.skips]
    with_ad, without = (_ventricles_ml(drawer, z, skips, spacing_mm) for z in groups)
    people = len(with_ad) + len(without)
    value = float(with_ad.mean() - without.mean())
    error = math.sqrt(sum(float(each.var()) / len(each) for each in (with_ad, without)))
    reach = float(norm.ppf(0.975)) * error
    return Gate(
        name="swap_test",
        value=value,
        low=value - reach,
        high=value + reach,
        bound=0.0,
        people=people,
        passed=value - reach > 0 if people >= JUDGED_FROM else None,
        title="Swap test: the surrogate carries the disease",
        finding=f"with the same skips for everybody, ventricles of AD minus CN are {value:.1f} ml "
        f"({value - reach:.1f} to {value + reach:.1f}) in {people} pictures".replace("-", "\u2212"),
        limit="its interval above 0 ml",
    )


def _ventricles_ml(
    drawer: PseudoMRIDecoder,
    z: Float[Tensor, "patients width"],
    skips: list[Tensor],
    spacing_mm: float,
) -> Float[Tensor, " patients"]:
    on = grid(spacing_mm)
    found = []
    for part in torch.split(z, DRAWN_AT_ONCE):
        fixed = [level.expand(len(part), *level.shape[1:]) for level in skips]
        found.append(ventricle_ml(drawer.decoder(part, fixed)[:, 0], on))
    return torch.cat(found).double()


def _shares(bank: SkipBank, surrogates: Float[Tensor, "patients width"]) -> Gate:
    """No picture is made of fewer than five donors, nor half of one of them."""
    weights = retrieved(bank, surrogates)
    fewest, most = int((weights > 0).sum(1).min()), float(weights.max())
    return Gate(
        name="donor_shares",
        value=most,
        bound=MOST_WEIGHT,
        people=len(surrogates),
        passed=fewest >= LEAST_K and most <= MOST_WEIGHT + 1e-6,
        title="Donors: several, and none alone",
        finding=f"at least {fewest} donors a picture, the largest share of one is {most:.2f}",
        limit=f"at least {LEAST_K} donors, at most {MOST_WEIGHT:.2f} of one",
    )


@torch.no_grad()
def _copies(
    drawer: PseudoMRIDecoder, surrogates: Float[Tensor, "patients width"], spacing_mm: float
) -> Gate:
    """Is a picture nearer to one donor than donors are to each other?

    A mean of brains is near to every brain, so distances alone would call any smooth picture a
    copy. What gives a copy away is that one donor is much nearer than the next: distance to the
    nearest over that to the second, set among the same ratios of the donors between themselves.
    """
    bank = drawer.skip_bank
    mask = torch.from_numpy(brain_mask(grid(spacing_mm)).copy())
    own = torch.cat(
        [
            drawer.decoder(bank.donor_z[at : at + 1], [s[at : at + 1].float() for s in bank.skips])
            for at in range(len(bank.donor_z))
        ]
    )[:, 0][:, mask]
    drawn = torch.cat([drawer(z)[:, 0][:, mask] for z in torch.split(surrogates, DRAWN_AT_ONCE)])
    between = torch.cdist(own, own).fill_diagonal_(torch.inf)
    real, made = _nearness(between), _nearness(torch.cdist(drawn, own))
    percentile = 100 * float((real[None] < made[:, None]).double().mean(1).median())
    return Gate(
        name="donor_copy",
        value=percentile,
        bound=LEAST_PERCENTILE,
        people=len(surrogates),
        passed=percentile >= LEAST_PERCENTILE,
        title="Donor copy test",
        finding=f"nearest over second nearest donor {float(made.median()):.2f}, between donors "
        f"{float(real.median()):.2f}: percentile {percentile:.0f} of {len(own)} donors",
        limit=f"at least percentile {LEAST_PERCENTILE:.0f}",
    )


def _nearness(distances: Float[Tensor, "volumes donors"]) -> Float[Tensor, " volumes"]:
    """Distance to the nearest over that to the second: near 0 for a copy, near 1 for a mean."""
    two = distances.topk(2, dim=1, largest=False).values
    return two[:, 0] / two[:, 1]
