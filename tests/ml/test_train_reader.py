"""The CNNs of the second way, and what they may have seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.config import PROFILES
from ml.data.mri import grid
from ml.data.regions import REGION_NAMES
from ml.mirage import Mirage, PseudoMRIDecoder
from ml.patient_graph import FindingScaler
from ml.skip_bank import SkipBank
from ml.training.learn import Learned
from ml.training.people import TrainingPeople
from ml.training.propagate import Propagated
from ml.training.teacher import Teacher
from ml.training.train_reader import train_reader
from ml.unet import UNet3D
from ml.volume_classifier import VolumeClassifier
from tests.ml.graph_case import model_concepts, records

TINY = PROFILES["tiny"]
QUICK = replace(TINY, classifier=replace(TINY.classifier, epochs=1, channels=(4,)))
PEOPLE = 24


@pytest.fixture(scope="module")
def setting():
    """A model that nobody trained, people whose label shows in their volumes, and donors."""
    torch.manual_seed(0)
    rows = records(PEOPLE, seed=3)
    scaler = FindingScaler(model_concepts()).fit(rows)
    label = (torch.arange(PEOPLE) // 3 % 2).float()
    shape = grid(8.0).shape
    people = TrainingPeople(
        tuple(f"p{row}" for row in range(PEOPLE)),
        scaler.encode(rows),
        (torch.randn(PEOPLE, *shape) + label[:, None, None, None]).half(),
        torch.randn(PEOPLE, TINY.unet.width),
        torch.randn(PEOPLE, len(REGION_NAMES)) + 5 + label[:, None],
        label,
        torch.arange(PEOPLE) % TINY.distill.folds,
    )
    unet = UNet3D(TINY.unet).eval()
    levels = unet.encoder(torch.randn(6, 1, *shape))[1]
    bank = SkipBank.build(
        torch.randn(6, TINY.unet.width), levels, [f"p{row}" for row in range(6)], TINY.skip_bank
    )
    return Mirage(scaler, QUICK), people, PseudoMRIDecoder(unet.decoder, bank)


def trained(setting, people):
    mirage, _, drawer = setting
    soft = people.label.nan_to_num(0.5).clamp(0.2, 0.8)
    propagated = [
        Propagated(
            member.reader,
            Teacher(torch.zeros(1), 0.0, soft[people.fold != fold], 1.0),
            {},
        )
        for fold, member in enumerate(mirage.members)
    ]
    learned = Learned(people.latent, torch.randn(PEOPLE), propagated, [], 0.0, {})
    torch.manual_seed(1)
    return train_reader(mirage, learned, people, drawer, 0)


def test_a_cnn_never_learns_from_the_people_it_is_calibrated_on(setting):
    """Trap 10: other scans and labels in part 0 leave its CNN alone; the other CNNs change."""
    people = setting[1]
    before, _ = trained(setting, people)
    own = people.fold == 0
    edited = replace(
        people,
        volumes=torch.where(own[:, None, None, None], people.volumes.flip(2), people.volumes),
        label=torch.where(own, 1 - people.label, people.label),
    )
    after, _ = trained(setting, edited)
    for fold, (old, new) in enumerate(zip(before.members, after.members, strict=True)):
        same = [torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True)]
        assert all(same) if fold == 0 else not all(same)


def test_people_without_a_label_teach_the_cnn_but_no_calibration(setting):
    people = setting[1]
    label = people.label.clone()
    label[:4] = float("nan")
    reader, report = trained(setting, replace(people, label=label))
    assert torch.isfinite(
        torch.cat([each.flatten() for each in reader.state_dict().values()])
    ).all()
    assert 0 <= report.pseudo_auc <= 1


def test_a_volume_is_read_alike_alone_and_among_others():
    torch.manual_seed(0)
    network = VolumeClassifier(QUICK.classifier, 8.0, 3)
    volumes = torch.randn(5, *grid(8.0).shape)
    network(volumes)  # in training mode its statistics move
    network.eval()
    together = network(volumes)
    for row in range(5):
        alone = network(volumes[row : row + 1])
        torch.testing.assert_close(alone.logit, together.logit[row : row + 1], atol=1e-6, rtol=0)
    network.train()
    assert not torch.allclose(network(volumes[:2]).logit, together.logit[:2], atol=1e-3)


def test_finer_volumes_are_averaged_to_the_same_grid():
    network = VolumeClassifier(TINY.classifier, 2.0, 3)
    fine = torch.rand(1, *grid(2.0).shape)
    coarse = network.coarse(fine)
    assert coarse.shape[1:] == grid(4.0).shape == network.mean_brain.shape
    np.testing.assert_allclose(coarse[0, 3, 4, 5], fine[0, 6:8, 8:10, 10:12].mean(), rtol=1e-5)
