"""Records without a scan and whole groups that are hidden, in phase 2 and 3."""

from dataclasses import replace

import pytest
import torch
from sklearn.metrics import roc_auc_score

from ml.config import PROFILES, components_only
from ml.data.cohort import Cohort
from ml.graph_encoder import ConceptGraph
from ml.mirage import Mirage
from ml.patient_graph import FindingScaler
from ml.records import PatientRecord
from ml.skip_bank import person_keys
from ml.training.learn import learn_surrogate, skip_bank, surrogate_figures
from ml.training.people import NothingToLearnError, TrainingPeople
from ml.training.propagate import propagate
from ml.training.split import split_people
from ml.training.teacher import teacher_of
from ml.unet import UNet3D
from tests.ml.graph_case import knowledge, model_concepts, records

WHOLE = components_only(PROFILES["tiny"])
TINY = replace(
    WHOLE,
    propagate=replace(WHOLE.propagate, steps=30),
    distill=replace(WHOLE.distill, steps=10, blends=(0.0,)),
)
PEOPLE, SCANNED = 120, 36
UNET = UNet3D(TINY.unet)


@pytest.fixture(scope="module")
def case():
    """Scans that know the label only roughly, and a finding that is the label."""
    label = (torch.arange(PEOPLE) % 2).float()
    filled = [
        PatientRecord(patient=r.patient, values=r.values | {"stroke": float(own)})
        for r, own in zip(records(PEOPLE, seed=4, severity=0.5), label, strict=True)
    ]
    scaler = FindingScaler(model_concepts()).fit(filled)
    graph = ConceptGraph.build(*knowledge(), scaler)
    torch.manual_seed(0)
    latent = torch.randn(PEOPLE, TINY.unet.width)
    latent[:, 0] += 2 * label
    people = TrainingPeople(
        tuple(map(str, range(PEOPLE))),
        scaler.encode(filled),
        torch.randn(PEOPLE, *UNET.grid.shape).half(),
        latent,
        torch.randn(PEOPLE, 9),
        label,
        torch.arange(PEOPLE) // 2 % 3,
    )
    return people, scaler, graph


def unscanned(people, scanned=SCANNED):
    latent, regions = people.latent.clone(), people.regions_ml.clone()
    latent[scanned:], regions[scanned:] = torch.nan, torch.nan
    return replace(people, latent=latent, regions_ml=regions)


def learned(people, graph, **settings):
    return propagate(
        people,
        graph,
        UNET,
        TINY.graph,
        replace(TINY.propagate, **settings),
        seed=1,
        column_group=torch.zeros(len(graph.column_node), dtype=torch.long),
    )


def reading(found, people):
    embedding = found.reader(people.findings)
    return embedding @ found.teacher.weight


@pytest.fixture(scope="module")
def mixed(case):
    """Two in three without a scan; of the scanned ones, half have a label that says nothing."""
    people, _, _ = case
    label = people.label.clone()
    label[:SCANNED][torch.arange(SCANNED) % 4 < 2] = label[:SCANNED].mean().round()
    return unscanned(replace(people, label=label))


@pytest.fixture(scope="module")
def together(case, mixed):
    return learned(mixed, case[2])


@torch.no_grad()
def test_a_label_without_a_scan_teaches(case, mixed, together):
    """The control learns from the scanned people alone."""
    people, _, graph = case
    with torch.enable_grad():
        alone = learned(mixed.with_scan(), graph)
    assert roc_auc_score(people.label, reading(together, people)) > 0.9
    assert roc_auc_score(people.label, reading(alone, people)) < 0.8


def test_the_teacher_knows_nothing_of_people_without_a_scan(mixed, together):
    assert together.reader.states.isfinite().all()
    assert together.teacher.soft[:SCANNED].isfinite().all()
    assert together.teacher.soft[SCANNED:].isnan().all()
    assert torch.equal(teacher_of(mixed.with_scan()).weight, together.teacher.weight)


def test_a_whole_training_takes_people_without_a_scan(case):
    people, scaler, graph = case
    mixed = unscanned(people)
    mirage = Mirage(scaler, TINY)
    bank = skip_bank(UNET, mixed, TINY, 1)
    assert set(bank.donor_keys.tolist()) <= set(person_keys(mixed.persons[:SCANNED]).tolist())
    found = learn_surrogate(mirage, mixed, graph, UNET, bank, 1)
    assert found.logit.isfinite().all()
    assert roc_auc_score(people.label, found.logit) > 0.6
    figures = surrogate_figures(found.embedding, mixed)
    assert all(abs(each) < 1e3 for each in figures.values())


def test_scans_stand_beside_the_people_they_are_of(case):
    people, _, _ = case
    seen = torch.arange(PEOPLE) % 3 == 1
    placed = TrainingPeople.of(
        people.persons,
        people.findings,
        seen,
        people.volumes[seen],
        people.latent[seen],
        people.regions_ml[seen],
        people.label,
        people.fold,
    )
    assert torch.equal(placed.scanned, seen)
    rows = placed.with_scan()
    assert rows.persons == tuple(people.persons[row] for row in seen.nonzero().squeeze(1))
    assert torch.equal(rows.volumes, people.volumes[seen])
    assert torch.equal(rows.latent, people.latent[seen])
    assert not placed.volumes[~seen].any()


def test_who_has_a_record_and_a_label_trains_without_a_scan(tmp_path):
    """And who has a record alone does not."""
    names = [f"sub-{number:03d}" for number in range(120)]
    table = ["participant_id\tage\tsex\tdiagnosis"]
    table += [f"{name}\t70\tF\t{('AD', 'CN')[row % 2]}" for row, name in enumerate(names[:100])]
    table += [f"{name}\t70\tF\tn/a" for name in names[100:]]
    (tmp_path / "participants.tsv").write_text("\n".join(table) + "\n")
    ehr = ["patient,age", *(f"{name},70" for name in names)]
    (tmp_path / "ehr.csv").write_text("\n".join(ehr) + "\n")
    scan = tmp_path / "scan"
    scan.touch()
    scanned = [*names[:40], *names[100:110]]
    cohort = replace(Cohort.load(tmp_path), scans=dict.fromkeys(scanned, scan))
    parts = split_people(cohort, seed=1)
    assert set(parts.train) - set(scanned) <= set(names[40:100])
    assert len(set(parts.train) & set(names[40:100])) > 30
    assert set(parts.train) & set(names[100:110])
    assert not set(parts.train) & set(names[110:])


def test_neither_scan_nor_label_is_refused(case):
    people, _, _ = case
    label = people.label.clone()
    label[-3:] = torch.nan
    with pytest.raises(NothingToLearnError, match="3 of 120 training people have neither"):
        unscanned(replace(people, label=label))


@torch.no_grad()
def test_a_hidden_group_is_not_learned_from(case):
    """All columns are one group here: hidden always, nothing is left to learn from."""
    people, _, graph = case
    with torch.enable_grad():
        masked = learned(people, graph, group_masking=1.0)
        plain = learned(people, graph, group_masking=0.0)
    assert roc_auc_score(people.label, reading(plain, people)) > 0.9
    assert roc_auc_score(people.label, reading(masked, people)) < 0.75
