from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.config import PROFILES, SkipBankConfig
from ml.data.mri import brain_mask, grid, normalise
from ml.data.phantom import PhantomConfig, phantom_scan, sample_person
from ml.data.phantom_anatomy import anatomy
from ml.data.regions import ventricle_ml
from ml.evaluation.swap import NoContrastError, reconstruction, swap_test
from ml.skip_bank import SkipBank, choose_donors
from ml.training.course import Course, Reporting
from ml.training.pretrain_unet import (
    TooFewScansError,
    encode,
    encode_with_skips,
    fresh_unet,
    guess_of,
    pretrain_unet,
)

pytestmark = pytest.mark.slow
TINY = PROFILES["tiny"]
COARSE = grid(8.0)
TRAINING = 40


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def people():
    """Normalised scans and labels of phantoms with more disease than usual, for a short test."""
    config = PhantomConfig(ad_severity=4.0)
    scans, labels = [], []
    for number in range(TRAINING + 20):
        rng = np.random.default_rng(number)
        person = sample_person(f"sub-{number}", rng, config)
        voxels, _ = phantom_scan(person, anatomy(COARSE), COARSE, rng, config)
        scans.append(torch.tensor(normalise(voxels, brain_mask(COARSE))))
        labels.append(person.state)
    return torch.stack(scans), torch.tensor(labels)


@pytest.fixture(scope="module")
def trained(people):
    return pretrain_unet(people[0][:TRAINING], TINY.unet, TINY.pretrain, seed=0)


@pytest.fixture(scope="module")
def bank(people, trained):
    persons = [f"p{number}" for number in range(TRAINING)]
    rows = choose_donors(persons, 8, seed=0)
    z, skips = encode_with_skips(trained[0], people[0][list(rows)])
    return SkipBank.build(z, skips, [persons[row] for row in rows], SkipBankConfig(max_donors=8))


@pytest.fixture(scope="module")
def plain(people):
    """The same without principal components: every weight starts from nothing."""
    config = replace(TINY.unet, principal=False)
    return pretrain_unet(people[0][:TRAINING], config, TINY.pretrain, seed=0)


def test_the_loss_falls(trained, plain):
    for _, report in (trained, plain):
        assert report.steps == TINY.pretrain.epochs * (TRAINING // TINY.pretrain.batch_size)
        assert report.losses[-1] < report.losses[0]
    assert plain[1].losses[-1] < 0.8 * plain[1].losses[0]


def test_with_principal_components_training_starts_where_it_would_have_ended(trained, plain):
    assert trained[1].components_share > 0.9
    assert trained[1].losses[0] < plain[1].losses[-1]


def test_held_out_scans_are_closer_than_the_mean_brain(people, trained, bank):
    held_out = people[0][TRAINING:]
    persons = [f"q{number}" for number in range(len(held_out))]
    figures = reconstruction(trained[0], bank, held_out, persons)
    assert figures.own > figures.mean_brain
    assert figures.neighbour > figures.mean_brain
    assert figures.neighbour > figures.neighbour_only


def test_the_swap_test_sees_a_decoder_that_ignores_z(people, trained, bank):
    """Trap 4's negative control; that a long training passes is measured, not asserted, here."""
    unet, _ = trained
    held_out, labels = people[0][TRAINING:], people[1][TRAINING:]
    fixed = [skip.float().mean(0, keepdim=True) for skip in bank.skips]

    swap = swap_test(
        lambda z, skips: unet.decoder(torch.zeros_like(z), skips),
        encode(unet, held_out),
        labels,
        fixed,
        held_out[:, None],
        COARSE,
    )

    assert swap.true_ml > 3
    assert abs(swap.ratio) < 1e-3


def test_a_perfect_decoder_has_ratio_1(people):
    scans, labels = people[0][:, None], people[1]
    order = torch.arange(len(scans), dtype=torch.float32)[:, None]
    swap = swap_test(lambda z, _: scans[z[:, 0].long()], order, labels, [], scans, COARSE)
    assert swap.ratio == pytest.approx(1, abs=1e-4)


def test_the_swap_test_needs_both_groups(people):
    with pytest.raises(NoContrastError):
        swap_test(
            lambda z, _: z,
            torch.zeros(2, 3),
            torch.ones(2, dtype=torch.int64),
            [],
            people[0][:2, None],
            COARSE,
        )


def test_the_reading_of_ventricles_follows_their_true_volume():
    config = PhantomConfig()
    read, true = [], []
    for widening in (0.0, 1.5, 3.0, 4.5):
        rng = np.random.default_rng(4)
        person = replace(sample_person("sub-1", rng, config), ventricle_mm=widening)
        voxels, volumes = phantom_scan(person, anatomy(COARSE), COARSE, rng, config)
        scan = torch.tensor(normalise(voxels, brain_mask(COARSE)))[None]
        read.append(float(ventricle_ml(scan, COARSE)))
        true.append(volumes["ventricles_ml"])
    assert read == sorted(read)
    assert np.corrcoef(read, true)[0, 1] > 0.97


def test_z_is_standardised_over_the_training_scans(people, plain):
    z = encode(plain[0], people[0][:TRAINING])
    torch.testing.assert_close(z.mean(0), torch.zeros(TINY.unet.width), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.var(0), torch.ones(TINY.unet.width), atol=2e-2, rtol=0)


def test_principal_components_are_standardised_before_anything_is_learned(people):
    config = replace(TINY.pretrain, epochs=0)
    unet, _ = pretrain_unet(people[0][:TRAINING], TINY.unet, config, seed=0)
    z = encode(unet, people[0][:TRAINING])
    torch.testing.assert_close(z.mean(0), torch.zeros(TINY.unet.width), atol=1e-3, rtol=0)
    torch.testing.assert_close(z.T.cov(), torch.eye(TINY.unet.width), atol=1e-2, rtol=0)


def test_the_decoder_comes_back_frozen(trained):
    unet, _ = trained
    unet.train()
    assert not unet.decoder.training
    assert not any(weight.requires_grad for weight in unet.decoder.parameters())
    unet.eval()


def test_the_same_seed_gives_the_same_weights(people):
    quick = replace(TINY.pretrain, epochs=1)
    first, second, other = (
        pretrain_unet(people[0][:16], TINY.unet, quick, seed=seed)[0] for seed in (1, 1, 2)
    )
    same = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(one, two) for one, two in same)
    assert not torch.equal(first.encoder.to_z.weight, other.encoder.to_z.weight)


def test_z_does_not_depend_on_the_batch(people, trained):
    scans = people[0][:6]
    torch.testing.assert_close(
        encode(trained[0], scans, batch_size=6),
        encode(trained[0], scans, batch_size=1),
        atol=1e-4,
        rtol=0,
    )


def test_too_few_scans_are_refused(people):
    with pytest.raises(TooFewScansError, match="7 scans"):
        pretrain_unet(people[0][:7], TINY.unet, TINY.pretrain, seed=0)


def test_progress_is_told_after_each_step(people):
    told = []
    course = Course(Reporting(lambda *each: told.append(each)))
    course.stage("autoencoder")
    quick = replace(TINY.pretrain, epochs=1)
    pretrain_unet(
        people[0][:16],
        TINY.unet,
        quick,
        seed=0,
        part=course.part(),
    )
    assert told == [("autoencoder", 1, 2), ("autoencoder", 2, 2)]


@pytest.mark.parametrize("certainty", [0.2, 0.5, 0.9])
def test_a_guess_is_the_mean_of_the_latents_behind_it(certainty: float) -> None:
    draw = torch.Generator().manual_seed(1)
    z, noise = (torch.randn(20_000, 4, generator=draw) for _ in range(2))
    rho = torch.full((len(z), 1), certainty)
    guess = guess_of(z, rho, noise)
    slope = (z * guess).mean() / guess.square().mean()
    # Of one regressed on the other the slope is 1: a guess neither over- nor understates z.
    assert slope.item() == pytest.approx(1, abs=0.02)
    seen = guess / certainty  # what was seen is no guess: it overstates z
    assert ((z * seen).mean() / seen.square().mean()).item() == pytest.approx(certainty, abs=0.02)


def test_guesses_train_the_decoder_also_in_the_shortest_schedules(people) -> None:
    config = replace(TINY.pretrain, epochs=1, guess_share=1.0)  # five steps of eight scans
    unet, report = pretrain_unet(people[0][:TRAINING], TINY.unet, config, seed=0)
    torch.manual_seed(0)
    fresh = fresh_unet(TINY.unet)
    assert report.steps == 5
    assert any(
        not torch.equal(weight, before)
        for weight, before in zip(
            unet.decoder.levels.parameters(), fresh.decoder.levels.parameters(), strict=True
        )
    )


def test_a_swap_ratio_is_told_only_where_the_groups_truly_differ(people, trained, bank) -> None:
    scans, labels = people
    unet = trained[0]
    mean_skips = [level.float().mean(0, keepdim=True) for level in bank.skips]
    told = {
        name: swap_test(
            unet.decoder, encode(unet, scans), groups, mean_skips, scans[:, None], unet.grid
        ).told
        for name, groups in {
            "disease": labels,
            "nothing": torch.arange(len(scans)) % 2,
        }.items()
    }
    assert told == {"disease": True, "nothing": False}
