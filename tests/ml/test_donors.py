import torch

from ml.config import SkipBankConfig
from ml.donors import donors_of
from ml.skip_bank import SkipBank

PEOPLE = [f"person-{n}" for n in range(8)]


def bank(z, k=5):
    skips = [torch.zeros(len(z), 1, 2, 2, 2)]
    return SkipBank.build(z, skips, PEOPLE[: len(z)], SkipBankConfig(k=k))


def test_donors_are_told_as_figures_over_all_of_them():
    z = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    surrogate = z.mean(0, keepdim=True)
    found = donors_of(bank(z), surrogate)
    _, weights = bank(z).aggregate(surrogate)

    assert (found.n, found.of) == (5, 8)
    assert found.largest_weight == float(weights.max())
    assert 0 <= found.nearness <= 1


def test_of_fewer_than_five_nothing_is_said():
    z = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))

    assert donors_of(bank(z, k=4), z.mean(0, keepdim=True)) is None


def test_a_surrogate_at_a_donor_is_nearer_than_donors_are_to_each_other():
    z = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))

    assert donors_of(bank(z), z[:1]).nearness == 0.0
    assert donors_of(bank(z), -z.mean(0, keepdim=True)).nearness > 0.5
