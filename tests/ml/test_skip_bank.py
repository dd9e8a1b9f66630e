import pytest
import torch

from ml.config import SkipBankConfig
from ml.skip_bank import (
    SkipBank,
    TooFewDonorsError,
    choose_donors,
    neighbour_weights,
    person_keys,
)

CONFIG = SkipBankConfig(max_donors=8, k=5)
PERSONS = [f"p{number}" for number in range(8)]


def _levels():
    torch.manual_seed(1)
    return [torch.randn(8, 3, 4, 4, 4).half().float(), torch.randn(8, 2, 2, 2, 2).half().float()]


@pytest.fixture
def bank():
    torch.manual_seed(0)
    return SkipBank.build(torch.randn(8, 6), _levels(), PERSONS, CONFIG)


def test_weights_are_cosines_that_sum_to_one_by_hand():
    z = torch.tensor([[1.0, 0.0]])
    donors = torch.tensor([[1.0, 0.0], [3.0, 4.0], [4.0, 3.0], [0.0, 1.0]])  # 1, .6, .8, 0
    everyone = torch.ones(1, 4, dtype=torch.bool)
    weights = neighbour_weights(z, donors, everyone, k=3, cap=1.0)
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0.6, 0.8, 0.0]]) / 2.4)


def test_no_neighbour_has_more_than_the_cap():
    z = torch.tensor([[1.0, 0.0]])
    donors = torch.tensor([[1.0, 0.0], [0.1, 1.0], [0.2, 1.0], [-1.0, 0.0], [-1.0, 0.1]])
    everyone = torch.ones(1, 5, dtype=torch.bool)
    uncapped = neighbour_weights(z, donors, everyone, k=5, cap=1.0)
    capped = neighbour_weights(z, donors, everyone, k=5, cap=0.5)
    assert float(uncapped.max()) > 0.5
    assert float(capped.max()) == pytest.approx(0.5)
    assert float(capped.sum()) == pytest.approx(1)
    # The others keep their proportions.
    assert float(capped[0, 2] / capped[0, 1]) == pytest.approx(
        float(uncapped[0, 2] / uncapped[0, 1]), rel=1e-4
    )


def test_the_aggregate_is_the_weighted_sum_of_stored_skips(bank):
    skips, weights = bank.aggregate(torch.randn(3, 6))
    assert weights.shape == (3, 8)
    assert bool(((weights > 0).sum(1) == 5).all())
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    for level, stored in zip(skips, _levels(), strict=True):
        torch.testing.assert_close(level, torch.einsum("pd,dcxyz->pcxyz", weights, stored))


def test_a_patient_is_never_its_own_neighbour(bank):
    """Trap 3, with its negative control: without `exclude` everybody retrieves itself."""
    _, without = bank.aggregate(bank.donor_z, exclude=PERSONS)
    _, control = bank.aggregate(bank.donor_z)
    assert float(without.diagonal().abs().max()) == 0
    assert bool((control.diagonal() == control.max(1).values).all())


def test_another_visit_of_a_donor_excludes_that_donor_too(bank):
    visit = bank.donor_z[:1] + 0.01
    _, weights = bank.aggregate(visit, exclude=["p0"])
    assert float(weights[0, 0]) == 0


def test_aggregating_alone_or_in_a_batch_is_the_same(bank):
    z = torch.randn(7, 6)
    together, _ = bank.aggregate(z)
    alone = [bank.aggregate(row[None])[0] for row in z]
    for level, volume in enumerate(together):
        torch.testing.assert_close(
            volume, torch.cat([each[level] for each in alone]), atol=1e-6, rtol=0
        )


def test_fewer_donors_than_neighbours_are_refused():
    with pytest.raises(TooFewDonorsError, match="4 donors"):
        SkipBank.build(torch.randn(4, 6), [torch.randn(4, 2, 2, 2, 2)], PERSONS[:4], CONFIG)


def test_a_bank_that_is_too_small_without_the_patient_is_refused():
    bank = SkipBank.build(torch.randn(5, 6), [torch.randn(5, 2, 2, 2, 2)], PERSONS[:5], CONFIG)
    bank.aggregate(torch.randn(1, 6), exclude=["somebody else"])
    with pytest.raises(TooFewDonorsError, match="4 donors left"):
        bank.aggregate(torch.randn(1, 6), exclude=["p2"])


def test_a_person_gives_one_scan():
    persons = ["a", "a", "b", "c", "c", "d"]
    rows = choose_donors(persons, max_donors=10, seed=0)
    assert [persons[row] for row in rows] == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="one scan"):
        SkipBank.build(torch.randn(6, 6), [torch.randn(6, 1, 1, 1, 1)], persons, CONFIG)


def test_the_choice_of_donors_follows_the_seed():
    people = [f"p{number}" for number in range(50)]
    assert choose_donors(people, 8, seed=1) == choose_donors(people, 8, seed=1)
    assert choose_donors(people, 8, seed=1) != choose_donors(people, 8, seed=2)
    assert len(choose_donors(people, 8, seed=1)) == 8


def test_a_bank_comes_back_from_its_buffers(bank):
    shapes = [tuple(level.shape[1:]) for level in bank.skips]
    again = SkipBank.empty(8, 6, shapes, CONFIG)
    again.load_state_dict(bank.state_dict())
    z = torch.randn(2, 6)
    for first, second in zip(bank.aggregate(z)[0], again.aggregate(z)[0], strict=True):
        assert torch.equal(first, second)


def test_stored_keys_do_not_name_the_person():
    assert person_keys(["ann"]).tolist() == person_keys(["ann"]).tolist()
    assert len(set(person_keys(PERSONS).tolist())) == 8
    assert bool((person_keys(PERSONS) >= 0).all())
