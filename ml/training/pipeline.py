"""All stages of a training, from a cohort folder to a bundle folder."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ml.bundle import (
    PseudoMRIModel,
    check_size,
    round_decoder,
    settings_to_card,
    write_card,
    write_weights,
)
from ml.card import JUDGED_FROM, BundleCard, Gate, Reference, judge
from ml.concepts import Concept, dictionary, schema
from ml.config import PROFILES, Profile
from ml.data.cohort import Cohort, CohortError, split_by_person, split_hash
from ml.data.mri import brain_mask, grid, template
from ml.data.regions import regional_volumes_ml
from ml.mirage import Mirage, PseudoMRIDecoder
from ml.patient_graph import FindingScaler
from ml.training.evaluate import evaluate, youden_threshold
from ml.training.input_ranges import input_ranges
from ml.training.learn import (
    Progress,
    knowledge,
    learn_surrogate,
    one_thread,
    skip_bank,
    surrogate_figures,
)
from ml.training.norms import norms_of_scans
from ml.training.people import TrainingPeople
from ml.training.pretrain_unet import PretrainReport, encode, pretrain_unet
from ml.training.stage_watch import StageWatch
from ml.training.train_reader import donor_labels, train_reader
from ml.unet import UNet3D

SWAP_RATIO_BOUND = 0.8
"""Share of the disease's effect on the ventricles that z must carry (method.md trap 4)."""
FRACTIONS = {"train": 0.75, "test": 0.25}
LIMITS = (
    "Research software, not a medical device: it must not be used to diagnose or treat anyone. "
    "Probabilities hold for people like the training people only. A pseudo-MRI is generated from "
    "a record; it shows nothing that was not in the record and must never be read as a scan."
)


@dataclass(frozen=True, slots=True)
class Parts:
    """Who is in which part, by participant id."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def train(
    cohort_folder: Path,
    profile: str | Profile,
    seed: int,
    out: Path,
    progress: Progress | None = None,
    *,
    command: str = "",
    name: str = "mirage",
    text_cache: Path | None = None,
    knowledge_file: Path | None = None,
) -> BundleCard:
    """Train every stage of the paper on a cohort and write the bundle.

    People are split by a keyed hash of the person. Everything is fitted on the training part:
    scales, graph, autoencoder, encoder, alignment, head, and, out of fold, calibration and
    thresholds. The test part is looked at once, at the end.

    Args:
        cohort_folder: see `ml.data.cohort`.
        profile: name in `ml.config.PROFILES`, or a profile.
        seed: of the split and of everything random. On one machine and number of threads, the same
            seed gives the same weights.
        out: folder of the bundle; its files are replaced.
        progress: called with the stage, the steps done and the steps in all.
        command: command line, for the card.
        name: of the bundle.
        text_cache: folder for text embeddings.
        knowledge_file: a graph other than the default, see `knowledge`.

    Raises:
        CohortError: the cohort is incomplete, or too small for the folds.
    """
    settings = PROFILES[profile] if isinstance(profile, str) else profile
    report = progress or _silent
    watch = StageWatch()
    cohort = Cohort.load(cohort_folder)
    parts = split_people(cohort, seed)
    unet, people, scaler, pretrained = _autoencoder(cohort, parts, settings, seed, report)
    watch.lap("autoencoder")
    mirage = Mirage(scaler, settings)
    bank = skip_bank(unet, people, settings, seed)
    drawer = PseudoMRIModel(PseudoMRIDecoder(unet.decoder, bank), intensity_of(unet))
    check_size(mirage, drawer)
    with one_thread():
        graph, graph_report = knowledge(scaler, settings, text_cache, knowledge_file)
    learned = learn_surrogate(mirage, people, graph, unet, bank, seed, report, watch)
    known = ~people.label.isnan()
    probability = mirage.calibration.probability(learned.logit).numpy()
    threshold = youden_threshold(probability[known], people.label[known].numpy() == 1)
    reader, read = train_reader(mirage, learned, people, drawer.decoder, seed, report)
    watch.lap("reader")
    metrics = evaluate(
        cohort,
        parts.train,
        parts.test,
        mirage,
        unet,
        drawer,
        reader,
        donor_labels(people, settings, seed),
        threshold,
        seed=seed,
        report=report,
    )
    watch.lap("evaluation")
    training = {
        "settings": settings_to_card(settings),
        "split": split_hash({"train": parts.train, "test": parts.test}),
        "parts": {"train": len(parts.train), "test": len(parts.test)},
        "graph": graph_report,
        "inputs": input_ranges(scaler.concepts, [cohort.records[each] for each in parts.train]),
        "autoencoder": asdict(pretrained),
        "propagate": [each.losses for each in learned.propagated],
        "distill": [asdict(each) for each in learned.distilled],
        "blend": {"chosen": learned.blend, "out_of_fold_log_loss": learned.blend_losses},
        "surrogate": surrogate_figures(learned.embedding, people),
        "calibration": {
            "temperature": 1 / max(float(mirage.calibration.slope), 1e-6),
            "intercept": float(mirage.calibration.intercept),
            "threshold": threshold,
        },
        "reader": asdict(read),
        "seconds": watch.laps,
    }
    files = write_weights(out, mirage, drawer, reader)
    label = profile if isinstance(profile, str) else "own"
    card = BundleCard(
        name=name,
        version=_version(files),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        seed=seed,
        profile=label,
        spacing_mm=settings.spacing_mm,
        schema=tuple(concept.id for concept in scaler.concepts),
        reference=_reference(cohort, parts.train),
        base_rate=float(people.label[known].mean()),
        min_inputs=settings.diagnosis.min_inputs,
        metrics=metrics,
        training=training,
        gates=(_swap_gate(cohort, parts, metrics),),
        norms=_norms(cohort, parts, people, unet),
        limits=LIMITS,
        files=files,
    )
    write_card(out, card)
    return card


def _swap_gate(cohort: Cohort, parts: Parts, metrics: Mapping[str, Any]) -> Gate:
    """Does z carry the disease? Without enough scans among the test people nobody knows."""
    scanned = len(set(cohort.ids_with_scan()) & set(parts.test))
    value = metrics.get("swap_ratio") if scanned >= JUDGED_FROM else None
    return judge("swap_ratio", value, SWAP_RATIO_BOUND, len(parts.test))


def _norms(
    cohort: Cohort, parts: Parts, people: TrainingPeople, unet: UNet3D
) -> dict[str, Any] | None:
    """Regional volumes of the training people without AD, by age and sex."""
    rows = ((people.label == 0) & people.scanned).nonzero().squeeze(1)
    ids = [parts.train[row] for row in rows.tolist()]
    norms = norms_of_scans(cohort, ids, people.volumes[rows], unet.grid)
    return norms.to_entries() if norms else None


def split_people(cohort: Cohort, seed: int) -> Parts:
    """Training people need a record, and a scan or a label; test people a record and a label."""
    parts = split_by_person(cohort.persons, seed=seed, fractions=FRACTIONS)
    scanned = set(cohort.ids_with_scan())
    labels = cohort.labels
    train_ids = tuple(
        each
        for each in parts["train"]
        if each in cohort.records and (each in scanned or labels[each] is not None)
    )
    test_ids = tuple(
        each for each in parts["test"] if each in cohort.records and labels[each] is not None
    )
    counts = [
        sum(labels[each] == value for each in train_ids if each in scanned) for value in (0, 1)
    ]
    if min(counts) < 5 or len(test_ids) < 4:
        raise CohortError(
            f"The training part has {counts[1]} scanned people with AD and {counts[0]} without, "
            f"the test part {len(test_ids)} people. Training needs 5 of each and 4 to test on: "
            "add people, or take another seed."
        )
    return Parts(train_ids, test_ids)


def _autoencoder(
    cohort: Cohort, parts: Parts, settings: Profile, seed: int, report: Progress
) -> tuple[UNet3D, TrainingPeople, FindingScaler, PretrainReport]:
    """Phase 1, and the training people with the latents that it gives."""
    scans = set(cohort.ids_with_scan())
    scanned = torch.tensor([each in scans for each in parts.train])
    volumes = torch.from_numpy(
        cohort.normalised_volumes(
            [each for each in parts.train if each in scans],
            grid(settings.spacing_mm),
            lambda done, total: report("read scans", done, total),
        )
    )
    unet, pretrained = pretrain_unet(
        volumes,
        settings.unet,
        settings.pretrain,
        seed=seed,
        progress=lambda done, total, _: report("autoencoder", done, total),
    )
    round_decoder(unet.decoder)
    records = [cohort.records[each] for each in parts.train]
    scaler = FindingScaler(model_concepts()).fit(records)
    persons = {each: cohort.persons[each] for each in parts.train}
    labels = cohort.labels
    people = TrainingPeople.of(
        tuple(persons.values()),
        scaler.encode(records),
        scanned,
        volumes,
        encode(unet, volumes),
        regional_volumes_ml(volumes, unet.grid),
        torch.tensor([_label(labels[each]) for each in parts.train]),
        _folds(persons, settings.distill.folds, seed),
    )
    return unet, people, scaler, pretrained


def _label(diagnosis: int | None) -> float:
    return float("nan") if diagnosis is None else float(diagnosis)


def model_concepts() -> tuple[Concept, ...]:
    """What the model reads: the schema without what is nearly the diagnosis (method.md trap 6)."""
    known = dictionary()
    return tuple(known[name] for name in schema() if not known[name].label_proximal)


def _folds(persons: dict[str, str], folds: int, seed: int) -> Tensor:
    shares = {str(fold): 1 / folds for fold in range(folds)}
    dealt = split_by_person(persons, seed=seed + 1, fractions=shares)
    fold = {each: int(part) for part, ids in dealt.items() for each in ids}
    return torch.tensor([fold[each] for each in persons])


def intensity_of(unet: UNet3D) -> Float[Tensor, " 2"]:
    """Offset and scale that turn a decoded volume back into the template's intensities.

    Scans are z-scored inside a mask that is the same for everybody and so holds some air. What air
    and bright white matter are on that scale is read off the mean brain: its corner, and the 98th
    percentile inside the mask.
    """
    mask = brain_mask(unet.grid)
    mean_brain = unet.encoder.mean_brain[0, 0].numpy()
    air, bright = float(mean_brain[0, 0, 0]), float(np.percentile(mean_brain[mask], 98))
    scale = float(np.percentile(template(unet.grid)[mask], 98)) / (bright - air)
    return torch.tensor([-air * scale, scale])


def _reference(cohort: Cohort, train_ids: tuple[str, ...]) -> Reference:
    by_id = {each.id: each for each in cohort.participants}
    people = [by_id[each] for each in train_ids]
    ages = [each.age_years for each in people if each.age_years is not None]
    kind = "invented people (phantoms), no real patients" if cohort.truth else "people"
    scans = len(set(train_ids) & set(cohort.ids_with_scan()))
    scanned = "each" if scans == len(people) else f"{scans} of them"
    return Reference(
        n=len(people),
        n_ad=sum(each.label == 1 for each in people),
        age_low_years=float(min(ages, default=0.0)),
        age_high_years=float(max(ages, default=0.0)),
        description=f"{len(people)} {kind}, each with a health record, {scanned} with a T1 MRI.",
    )


def _version(files: dict[str, str]) -> str:
    """Names the weights: equal weights, equal version."""
    return hashlib.sha256("".join(files.values()).encode()).hexdigest()[:10]


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
