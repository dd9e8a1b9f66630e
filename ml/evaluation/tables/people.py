"""The people of one seed: who trains, who judges, and their scans."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor

from ml.concepts import Concept, dictionary
from ml.data.cohort import Cohort, split_by_person
from ml.data.mri import grid
from ml.data.oasis import RECORD as OASIS_RECORD
from ml.data.oasis import TABLE as OASIS_TABLE
from ml.data.oasis import read_oasis
from ml.data.phantom import make_phantom_cohort
from ml.data.regions import regional_volumes_ml
from ml.evaluation.baselines.generators import record_table
from ml.evaluation.tables.cells import Bench, Made
from ml.evaluation.tables.settings import TablesError
from ml.patient_graph import Findings, FindingScaler
from ml.records import PatientRecord
from ml.training.people import TrainingPeople
from ml.training.split import model_concepts

FEWEST = 10
"""People of each diagnosis in each part."""
JUDGED_FROM_YEARS = 60.0
"""Of OASIS-1: younger people have no CDR above 0."""
TELLING = 8
"""Values of a record from which on two people hardly share it by chance."""


@dataclass(frozen=True, slots=True)
class Source:
    """The people to deal, and what is read of them.

    Attributes:
        cohort: of all.
        ids: those with a record, a scan and a diagnosis.
        concepts: columns of a record.
    """

    cohort: Cohort
    ids: tuple[str, ...]
    concepts: tuple[Concept, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """The people who train, or those who judge; all have a record, a scan and a diagnosis.

    Attributes:
        records, persons: of each.
        findings: on the scale of the training people.
        table: the same as a table, see `record_table`.
        volumes: normalised scans.
        regions_ml: regional volumes read off them.
        label: 1 AD, 0 CN.
    """

    records: list[PatientRecord]
    persons: tuple[str, ...]
    findings: Findings
    table: Float[Tensor, "patients inputs"]
    volumes: Float16[Tensor, "patients x y z"]
    regions_ml: Float[Tensor, "patients regions"]
    label: Float[Tensor, " patients"]

    def __len__(self) -> int:
        return len(self.persons)

    @property
    def labels(self) -> Int[np.ndarray, " patients"]:
        """The diagnoses as whole numbers."""
        return self.label.numpy().astype(np.int64)


@dataclass(frozen=True, slots=True)
class Dealt:
    """Both parts of one seed.

    Attributes:
        scaler: fitted on the training people.
        train, test: the parts.
        fold: part of each training person in cross-fitting.
    """

    scaler: FindingScaler
    train: Part
    test: Part
    fold: Int[Tensor, " patients"]

    def training_people(self, latent: Float[Tensor, "patients width"]) -> TrainingPeople:
        """As the stages of the training take them."""
        part = self.train
        return TrainingPeople(
            part.persons,
            part.findings,
            part.volumes,
            latent,
            part.regions_ml,
            part.label,
            self.fold,
        )


def make_people(bench: Bench, seed: int) -> Made:
    """Cell `people`: the scans of both parts, read once."""
    source, train, test = _deal(bench, seed)
    cohort = source.cohort
    here = grid(bench.settings.model.spacing_mm)
    tensors = {}
    for name, ids in (("train", train), ("test", test)):
        volumes = torch.from_numpy(cohort.normalised_volumes(ids, here))
        tensors[f"{name}_volumes"] = volumes
        tensors[f"{name}_regions"] = regional_volumes_ml(volumes, here)
    labels = cohort.labels
    return Made(
        {
            "train": len(train),
            "train_ad": sum(labels[each] == 1 for each in train),
            "test": len(test),
            "test_ad": sum(labels[each] == 1 for each in test),
        },
        tensors,
    )


def people_of(bench: Bench, seed: int) -> Dealt:
    """Both parts, with the scans of cell `people`."""
    source, train, test = _deal(bench, seed)
    cohort, scans = source.cohort, bench.tensors("people", seed)
    scaler = FindingScaler(source.concepts).fit([cohort.records[each] for each in train])

    def part(name: str, ids: tuple[str, ...]) -> Part:
        records = [cohort.records[each] for each in ids]
        findings = scaler.encode(records)
        return Part(
            records,
            tuple(cohort.persons[each] for each in ids),
            findings,
            record_table(findings, len(scaler.columns)),
            scans[f"{name}_volumes"],
            scans[f"{name}_regions"],
            torch.tensor([float(cohort.labels[each] or 0) for each in ids]),
        )

    folds = bench.settings.model.distill.folds
    shares = {str(fold): 1 / folds for fold in range(folds)}
    persons = {each: cohort.persons[each] for each in train}
    dealt = split_by_person(persons, seed=seed + 1, fractions=shares)
    fold = {each: int(number) for number, ids in dealt.items() for each in ids}
    return Dealt(
        scaler,
        part("train", train),
        part("test", test),
        torch.tensor([fold[each] for each in train]),
    )


def _deal(bench: Bench, seed: int) -> tuple[Source, tuple[str, ...], tuple[str, ...]]:
    """The people and the ids of both parts.

    Raises:
        TablesError: too few people of a diagnosis, or the same record in both parts.
    """
    source = _source(bench, seed)
    cohort, share = source.cohort, bench.settings.train_share
    persons = {each: cohort.persons[each] for each in source.ids}
    parts = split_by_person(persons, seed=seed, fractions={"train": share, "test": 1 - share})
    for name, ids in parts.items():
        ad = sum(cohort.labels[each] == 1 for each in ids)
        if min(ad, len(ids) - ad) < FEWEST:
            raise TablesError(
                f"The {name} part has {ad} people with AD and {len(ids) - ad} without who have a "
                f"record, a scan and a diagnosis; the tables need {FEWEST} of each. Give a larger "
                "cohort or another share."
            )
    _check_no_copies(source, parts["train"], parts["test"])
    return source, parts["train"], parts["test"]


def _source(bench: Bench, seed: int) -> Source:
    """Phantoms of the seed, a cohort folder, or OASIS-1 as it is handed out."""
    folder = bench.settings.cohort or _phantoms(bench, seed)
    if (folder / OASIS_TABLE).exists():
        known = dictionary()
        concepts = tuple(known[name] for name in OASIS_RECORD.values())
        return _complete(read_oasis(folder).cohort, concepts, from_years=JUDGED_FROM_YEARS)
    return _complete(Cohort.load(folder), model_concepts())


def _complete(cohort: Cohort, concepts: tuple[Concept, ...], *, from_years: float = 0.0) -> Source:
    """Those who have a record, a scan and a diagnosis, and are old enough to be judged."""
    scanned = set(cohort.ids_with_scan())
    young = {each.id for each in cohort.participants if (each.age_years or from_years) < from_years}
    ids = tuple(
        each
        for each in cohort.ids
        if each in scanned - young and each in cohort.records and cohort.labels[each] is not None
    )
    return Source(cohort, ids, concepts)


def _check_no_copies(source: Source, train: tuple[str, ...], test: tuple[str, ...]) -> None:
    read = {each.id for each in source.concepts}

    def row(participant: str) -> tuple[tuple[str, float], ...]:
        values = source.cohort.records[participant].values
        return tuple(sorted((name, value) for name, value in values.items() if name in read))

    seen = {row(each) for each in train}
    copies = sum(len(row(each)) >= TELLING and row(each) in seen for each in test)
    if copies:
        raise TablesError(
            f"{copies} of {len(test)} test people have exactly the record of somebody who trains. "
            "Give visits of one person the same person_id, or take the copies out."
        )


def _phantoms(bench: Bench, seed: int) -> Path:
    """The phantoms of a seed, made when they are first asked for."""
    settings = bench.settings
    spacing_mm = settings.model.spacing_mm
    folder = bench.out / "cohorts" / f"{settings.people}-{spacing_mm:g}mm-seed-{seed}"
    if not (folder / "participants.tsv").exists():
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        make_phantom_cohort(
            folder, patients=settings.people, spacing_mm=spacing_mm, seed=seed, workers=1
        )
    return folder
