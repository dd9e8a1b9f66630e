"""Traps of method.md that concern scans and whole trainings, each with the trap sprung beside it.

Phantoms here differ little but in their ventricles, so that forty scans suffice.
"""

from collections import defaultdict
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ml.config import PROFILES, PropagateConfig, SkipBankConfig
from ml.data.mri import brain_mask, grid, intensity_range, normalise
from ml.data.phantom import PhantomConfig, phantom_scan, sample_person
from ml.data.phantom_anatomy import anatomy
from ml.data.regions import regional_volumes_ml
from ml.diagnosis import Calibration
from ml.evaluation.heads import neighbour_figures
from ml.evaluation.swap import carried_by, swap_test
from ml.graph_encoder import ConceptGraph, GraphEncoder
from ml.losses import ssim
from ml.mirage import Member, Mirage, PseudoMRIDecoder
from ml.patient_graph import FindingScaler
from ml.pseudo_mri_reader import PseudoMRIReader
from ml.skip_bank import SkipBank
from ml.training.course import Course, Reporting
from ml.training.distill import distill
from ml.training.learn import learn_surrogate
from ml.training.people import TrainingPeople
from ml.training.pretrain_unet import encode_with_skips, pretrain_unet
from ml.training.propagate import propagate
from ml.training.teacher import fit_teacher
from ml.training.train_reader import train_classifier
from ml.unet import UNet3D
from tests.ml.graph_case import knowledge, model_concepts, records

pytestmark = pytest.mark.slow
TINY = PROFILES["tiny"]
COARSE = grid(8.0)
TRAINING, HELD_OUT = 40, 24
PATIENTS = 72
SHORT = replace(
    TINY,
    propagate=replace(TINY.propagate, decode_steps=0),
    distill=replace(TINY.distill, decode_every=1000, blends=(0.0, 1.0)),
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scans():
    """Normalised scans and true states, training people first."""
    config = PhantomConfig(ad_severity=6.0, shape_mm=0.7, folding_mm=0.4)
    volumes, states = [], []
    for number in range(TRAINING + HELD_OUT):
        rng = np.random.default_rng(number)
        person = sample_person(f"sub-{number}", rng, config)
        voxels, _ = phantom_scan(person, anatomy(COARSE), COARSE, rng, config)
        volumes.append(torch.tensor(normalise(voxels, brain_mask(COARSE))))
        states.append(person.state)
    return torch.stack(volumes), torch.tensor(states)


@pytest.fixture(scope="module")
def ours(scans):
    settings = replace(TINY.pretrain, epochs=4)
    return pretrain_unet(scans[0][:TRAINING], TINY.unet, settings, seed=0)[0]


@pytest.fixture(scope="module")
def papers(scans):
    """The paper's recipe: skips at every level, always the scan's own, and the squared error."""
    unet = replace(TINY.unet, principal=False, warp_mm=0.0, skip_channels=TINY.unet.channels)
    settings = replace(
        TINY.pretrain,
        epochs=8,
        mean_skip_share=0.0,
        neighbour_skip_share=0.0,
        ssim_weight=0.0,
    )
    return pretrain_unet(scans[0][:TRAINING], unet, settings, seed=0)[0]


def patients(count, seed=0):
    """People whose severity shows in their records, their latents and their regional volumes."""
    rng = np.random.default_rng(seed)
    severity = rng.normal(0.0, 2.0, count)
    rows = [
        records(1, seed=1000 * seed + row, severity=each)[0] for row, each in enumerate(severity)
    ]
    scaler = FindingScaler(model_concepts()).fit(rows)
    shown = torch.tensor(severity, dtype=torch.float32) / 2
    latent = torch.tensor(rng.standard_normal((count, TINY.unet.width)), dtype=torch.float32)
    latent[:, 0] = 0.9 * shown + 0.4 * latent[:, 0]
    people = TrainingPeople(
        tuple(f"p{row}" for row in range(count)),
        scaler.encode(rows),
        torch.zeros(count, *COARSE.shape, dtype=torch.float16),
        latent,
        torch.tensor(rng.standard_normal((count, 3)), dtype=torch.float32) + shown[:, None],
        (shown > 0).float(),
        torch.arange(count) % TINY.distill.folds,
    )
    return people, scaler, ConceptGraph.build(*knowledge(), scaler)


# Trap 1: the identity leak, in the training stage itself


class _SeesEverybody(GraphEncoder):
    """The same encoder with the hiding switched off."""

    def forward(self, graph, findings, latent, hidden):
        return super().forward(graph, findings, latent, torch.zeros_like(hidden))


def test_phase_2_cannot_copy_the_latent_that_it_is_to_guess(monkeypatch):
    """Latents of pure noise and one record for all: whoever guesses them has seen them."""
    people, _, graph = patients(40)
    noise = torch.randn(40, TINY.unet.width, generator=torch.Generator().manual_seed(1))
    alike = people.findings.rows(torch.zeros(40, dtype=torch.int64))  # nothing to learn by heart
    blind = replace(people, latent=noise, findings=alike)
    config = PropagateConfig(steps=60, decode_steps=0, diagnosis_weight=0.0, learning_rate=1e-2)

    def loss():
        unet = UNet3D(TINY.unet)
        return propagate(blind, graph, unet, TINY.graph, config, seed=0).losses["latent"]

    assert loss() > 0.9
    monkeypatch.setattr("ml.training.propagate.GraphEncoder", _SeesEverybody)
    assert loss() < 0.5


# Trap 3: self-retrieval, in the training stage itself


def test_phase_3_draws_nobody_with_the_skips_of_another_visit(scans, ours):
    """Other skips of p0 change no loss of p0's visits; they do change that of strangers."""
    people, scaler, _ = patients(12)
    z, skips = encode_with_skips(ours, scans[0][:8])
    bank = SkipBank.build(
        z, skips, [f"p{row}" for row in range(8)], SkipBankConfig(max_donors=8, k=7)
    )
    other = deepcopy(bank)
    for level in other.skips:
        level[0] += 1.0
    config = replace(TINY.distill, steps=1, decode_every=1)

    def loss(person, bank):
        torch.manual_seed(0)
        visits = replace(people, persons=(person,) * len(people))
        drawn = distill(
            Member(TINY, len(scaler.columns)),
            people.latent,
            visits,
            fit_teacher(people.latent, people.label, people.fold),
            ours,
            bank,
            config,
            TINY.reconstruction,
            blend=0.0,
            teacher_share=0.5,
            seed=0,
        )
        return drawn.losses["reconstruction"]

    assert loss("p0", bank) == loss("p0", other)
    assert loss("somebody else", bank) != loss("somebody else", other)


# Traps 4 and 7: what z carries and what the skips carry


def test_z_carries_the_disease_and_not_under_the_papers_recipe(scans, ours, papers):
    """Trap 4. Reconstructions with own skips look as good either way, which is the trap."""
    held_out, states = scans[0][TRAINING:], scans[1][TRAINING:]
    ratio, similar = {}, {}
    for name, unet in (("ours", ours), ("paper", papers)):
        z, own = encode_with_skips(unet, held_out)
        _, skips = encode_with_skips(unet, scans[0][:TRAINING])
        fixed = [level.mean(0, keepdim=True) for level in skips]

        def swapped(z, unet=unet, fixed=fixed):
            return swap_test(unet.decoder, z, states, fixed, held_out[:, None], COARSE).ratio

        ratio[name] = swapped(z)
        assert abs(swapped(torch.zeros_like(z))) < 1e-3
        with torch.no_grad():
            decoded = unet.decoder(z, own)
        mask, span = torch.tensor(brain_mask(COARSE)), intensity_range(COARSE)
        similar[name] = float(ssim(decoded, held_out[:, None], mask, data_range=span).mean())
    assert ratio["ours"] > 0.7
    assert ratio["paper"] < 0.3
    assert similar["paper"] > similar["ours"] - 0.05


def test_the_disease_is_in_z_and_not_in_the_skips_and_the_reverse_in_the_papers_recipe(
    scans, ours, papers
):
    """Trap 7: the z of others with the true skips, and the true z with mean skips."""
    held_out, states = scans[0][TRAINING:], scans[1][TRAINING:]

    def carried(unet, skips_of):
        z, own = encode_with_skips(unet, held_out)
        return carried_by(unet.decoder, z, skips_of(z, own), states, held_out[:, None], COARSE)

    def donors(z, own):
        del own
        donor_z, skips = encode_with_skips(ours, scans[0][:8])
        names = [f"p{row}" for row in range(8)]
        return SkipBank.build(donor_z, skips, names, TINY.skip_bank).aggregate(z)[0]

    averaged, own = carried(ours, donors), carried(ours, lambda _, own: own)
    assert abs(averaged.skips) < 0.25 * averaged.z
    assert abs(own.skips) < own.z
    control = carried(papers, lambda _, own: own)
    assert control.skips > 2 * control.z


@pytest.fixture(scope="module")
def reader(scans):
    """CNNs on real scans, one for each half of the training people."""
    volumes, states = scans[0][:TRAINING], scans[1][:TRAINING].float()
    regions = regional_volumes_ml(volumes, COARSE)
    config = replace(TINY.classifier, epochs=60, batch_size=8)
    made = PseudoMRIReader(config, 8.0, members=2, columns=1, regions=regions.shape[1])
    for part in (0, 1):
        rows = slice(part, None, 2)
        made.members[part] = train_classifier(
            volumes[rows].half(),
            volumes[rows].half(),
            states[rows],
            regions[rows],
            config,
            8.0,
            seed=part,
        )
    return made.eval()


def exchanged(scans, reader, ours, unet, seed=0):
    """The controls of trap 7 on held-out people: donors and z are ours, the decoder is unet's."""
    held_out, states = scans[0][TRAINING:], scans[1][TRAINING:]
    z, _ = encode_with_skips(ours, held_out)
    donor_z, _ = encode_with_skips(ours, scans[0][:12])
    _, skips = encode_with_skips(unet, scans[0][:12])
    bank = SkipBank.build(donor_z, skips, [f"p{row}" for row in range(12)], TINY.skip_bank)
    drawer = PseudoMRIDecoder(unet.decoder, bank)
    return neighbour_figures(drawer, reader, z, states.numpy(), scans[1][:12].float(), seed=seed)


def test_a_cnn_reads_the_disease_from_z_and_in_the_papers_recipe_from_the_neighbours(
    scans, reader, ours, papers
):
    """Trap 7, all controls: mean skips, shuffled z, random donors, donors of one diagnosis."""
    held_out, states = scans[0][TRAINING:], scans[1][TRAINING:]
    assert roc_auc_score(states, reader.cnn_logit(held_out)) > 0.85
    found = [exchanged(scans, reader, ours, ours, seed) for seed in range(5)]
    for same_z in ("true", "mean_skips", "random_donors", "cn_donors", "ad_donors"):
        assert found[0][same_z]["value"] > 0.8, same_z
    shuffled = np.mean([each["shuffled_z"]["value"] for each in found])
    assert abs(shuffled - 0.5) < 0.15
    assert abs(found[0]["ad_donors_shift_over_ad_cn_difference"]) < 0.25

    control = exchanged(scans, reader, ours, papers)
    assert control["shuffled_z"]["value"] == pytest.approx(control["true"]["value"], abs=0.1)
    assert control["ad_donors_shift_over_ad_cn_difference"] > 1.0
    assert found[0]["donors_vote"] == control["donors_vote"]


# Trap 9: similarity that the background flatters


def test_similarity_of_the_whole_volume_flatters_a_guess_that_shows_no_brain(scans):
    """The guess is right where there is no brain, and one grey inside."""
    scan = scans[0][:8, None]
    brain = torch.tensor(brain_mask(COARSE))
    grey = torch.where(brain, scan[..., brain].mean(), scan)
    span = intensity_range(COARSE)
    inside = float(ssim(grey, scan, brain, data_range=span).mean())
    everywhere = float(ssim(grey, scan, torch.ones_like(brain), data_range=span).mean())
    assert everywhere > inside + 0.2


def test_similarity_needs_a_data_range_that_fits_and_a_wide_one_flatters(scans):
    first, second = scans[0][:8, None], scans[0][8:16, None]
    brain = torch.tensor(brain_mask(COARSE))
    with pytest.raises(TypeError, match="data_range"):
        ssim(first, second, brain)
    fitting, wide = (
        float(ssim(first, second, brain, data_range=span).mean())
        for span in (intensity_range(COARSE), 10 * intensity_range(COARSE))
    )
    assert wide > fitting + 0.05


# Trap 10 and the first canary: what a model says of the people it has learned from


def learned_from_permuted_labels():
    """Members trained on `patients`; out-of-fold logits, and those of each member's own people."""
    people, scaler, graph = patients(PATIENTS)
    order = torch.randperm(PATIENTS, generator=torch.Generator().manual_seed(4))
    people = replace(people, label=people.label[order])
    mirage = Mirage(scaler, SHORT)
    unet = UNet3D(TINY.unet)
    unet.decoder.freeze()
    bank = no_bank()
    torch.manual_seed(0)
    out = learn_surrogate(mirage, people, graph, unet, bank, 0)
    in_sample = []
    with torch.no_grad():
        logits = mirage.read(people.findings).logits
    for fold, logit in enumerate(logits):
        rest = people.fold != fold
        in_sample.append(roc_auc_score(people.label[rest], logit[rest]))
    return roc_auc_score(people.label, out.logit), float(np.mean(in_sample))


def no_bank():
    """Five donors that nothing is decoded from."""
    levels = [torch.zeros(5, kept, 2, 2, 2) for kept in TINY.unet.skip_channels if kept]
    names = [f"donor{row}" for row in range(5)]
    return SkipBank.build(torch.randn(5, TINY.unet.width), levels, names, TINY.skip_bank)


def test_permuted_labels_teach_the_whole_model_nothing_but_its_own_people_seem_to_show_it():
    """Canary, and trap 10: in-sample figures of the same model look like a success."""
    band = 2.6 * np.sqrt((PATIENTS + 1) / (3 * PATIENTS**2))  # 99 % of AUCs of a useless score
    out_of_fold, in_sample = learned_from_permuted_labels()
    assert abs(out_of_fold - 0.5) < band
    assert in_sample > 0.5 + band


def test_calibration_on_the_people_a_head_was_fitted_on_is_overconfident():
    """Trap 10: the same head, calibrated out of fold and, as control, in sample."""
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(1200, 60, generator=generator)
    label = (latent[:, 0] + 1.5 * torch.randn(1200, generator=generator) > 0).float()
    known, new = slice(0, 150), slice(150, None)
    teacher = fit_teacher(latent[known], label[known], torch.arange(150) % 5)
    logit = latent @ teacher.weight + teacher.bias

    def brier(seen):
        fitted = Calibration().fit(seen, label[known] == 1, coverage=0.9)
        return float((fitted.probability(logit[new]) - label[new]).square().mean())

    assert brier(teacher.soft.logit()) < brier(logit[known])


# Trap 12: threads


def test_the_graph_stage_runs_on_one_thread_whatever_the_caller_has_set():
    """The control is the next stage, which runs as the caller wants."""
    people, scaler, graph = patients(30)
    quick = replace(
        SHORT,
        propagate=replace(SHORT.propagate, steps=1),
        distill=replace(SHORT.distill, steps=1, blends=(0.0,)),
    )
    seen = defaultdict(set)
    unet = UNet3D(TINY.unet)
    torch.set_num_threads(2)
    try:
        learn_surrogate(
            Mirage(scaler, quick),
            people,
            graph,
            unet,
            no_bank(),
            0,
            Course(Reporting(lambda stage, *_: seen[stage].add(torch.get_num_threads()))),
        )
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(1)
    assert seen == {"graph": {1}, "distillation": {2}}
    assert after == 2
