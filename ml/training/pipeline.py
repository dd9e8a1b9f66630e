"""All stages of a training, from a cohort to a bundle folder."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Float16
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
from ml.config import PROFILES, Profile
from ml.data.cohort import Cohort
from ml.data.mri import brain_mask, grid, template
from ml.data.regions import regional_volumes_ml
from ml.mirage import Member, Mirage, PseudoMRIDecoder
from ml.patient_graph import FindingScaler
from ml.skip_bank import SkipBank
from ml.training.checkpoint import tensors_of
from ml.training.course import Course, Report, Reporting
from ml.training.evaluate import MOST_SWAPPED, evaluate, youden_threshold
from ml.training.examples import SHOWN, show
from ml.training.input_ranges import input_ranges
from ml.training.learn import (
    Learned,
    knowledge,
    learn_surrogate,
    one_thread,
    skip_bank,
    surrogate_figures,
)
from ml.training.norms import norms_of_scans
from ml.training.people import TrainingPeople
from ml.training.pretrain_unet import PretrainReport, encode, fresh_unet, pretrain_unet
from ml.training.ranks import Ranks
from ml.training.split import Parts, folds_of, model_concepts, split_people
from ml.training.train_reader import donor_labels, train_reader
from ml.unet import UNet3D

SWAP_RATIO_BOUND = 0.8
"""Share of the disease's effect on the ventricles that z must carry (method.md trap 4)."""
LIMITS = (
    "Research software, not a medical device: it must not be used to diagnose or treat anyone. "
    "Probabilities hold for people like the training people only. A pseudo-MRI is generated from "
    "a record; it shows nothing that was not in the record and must never be read as a scan."
)


def train(
    cohort_folder: Path,
    profile: str | Profile,
    seed: int,
    out: Path,
    progress: Report | None = None,
    *,
    command: str = "",
    name: str = "mirage",
    text_cache: Path | None = None,
    knowledge_file: Path | None = None,
) -> BundleCard:
    """Train every stage of the paper in one go, with nothing to resume from.

    For evaluations that train many small models; see `ml.training.run` for what people use.

    Args:
        cohort_folder: see `ml.data.cohort`.
        profile: name in `ml.config.PROFILES`, or a profile.
        progress: called with the stage, the steps done and the steps in all.

    The other arguments are those of `train_cohort`.
    """
    known = isinstance(profile, str)
    return train_cohort(
        Cohort.load(cohort_folder),
        PROFILES[profile] if isinstance(profile, str) else profile,
        seed,
        out,
        Course(Reporting(progress) if progress else None),
        label=str(profile) if known else "own",
        command=command,
        name=name,
        text_cache=text_cache,
        knowledge_file=knowledge_file,
    )


def train_cohort(
    cohort: Cohort,
    settings: Profile,
    seed: int,
    out: Path,
    course: Course,
    *,
    label: str,
    command: str = "",
    name: str = "mirage",
    text_cache: Path | None = None,
    knowledge_file: Path | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> BundleCard:
    """Train every stage of the paper on a cohort and write the bundle.

    People are split by a keyed hash of the person. Everything is fitted on the training part:
    scales, graph, autoencoder, encoder, alignment, head, and, out of fold, calibration and
    thresholds. The test part is looked at once, at the end.

    Args:
        cohort: everybody who takes part.
        settings: the profile.
        seed: of the split and of everything random. On one machine and number of threads, the same
            seed gives the same weights.
        out: folder of the bundle; its files are replaced.
        course: who is told, what is saved, and on which device networks are trained.
        label: name of the profile, for the card.
        command: command line, for the card.
        name: of the bundle.
        text_cache: folder for text embeddings.
        knowledge_file: a graph other than the default, see `knowledge`.
        lineage: what the bundle was made from, for the card.

    Raises:
        CohortError: the cohort is incomplete, or too small for the folds.
        StoppedError, NotFiniteLossError: see `ml.training.course.Loop.done`.
        ShareDoneError: this is a helper process of torchrun, and the autoencoder is trained.
    """
    parts = split_people(cohort, seed)
    unet, people, scaler, pretrained = _autoencoder(cohort, parts, settings, seed, course)
    course.ranks.part()
    course.ranks = Ranks()
    mirage = Mirage(scaler, settings)
    bank = skip_bank(unet, people, settings, seed)
    drawer = PseudoMRIModel(PseudoMRIDecoder(unet.decoder, bank), intensity_of(unet))
    check_size(mirage, drawer)
    with one_thread():
        graph, graph_report = knowledge(scaler, settings, text_cache, knowledge_file, course)
    learned = learn_surrogate(mirage, people, graph, unet, bank, seed, course)
    known = ~people.label.isnan()
    probability = mirage.calibration.probability(learned.logit).numpy()
    threshold = youden_threshold(probability[known], people.label[known].numpy() == 1)
    reader, read = train_reader(mirage, learned, people, drawer.decoder, seed, course)
    _show_drawn(course, mirage, people, unet, bank)
    course.stage("evaluation")
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
        course=course,
    )
    course.stage("write")
    training = _figures(cohort, parts, mirage, people, pretrained, learned, threshold) | {
        "graph": graph_report,
        "reader": asdict(read),
    }
    files = write_weights(out, mirage, drawer, reader)
    course.end()
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
        training=training | {"seconds": course.laps},
        gates=(_swap_gate(cohort, parts, metrics),),
        norms=_norms(cohort, parts, people, unet),
        limits=LIMITS,
        lineage=lineage or {},
        files=files,
    )
    write_card(out, card)
    return card


def _figures(
    cohort: Cohort,
    parts: Parts,
    mirage: Mirage,
    people: TrainingPeople,
    pretrained: PretrainReport,
    learned: Learned,
    threshold: float,
) -> dict[str, Any]:
    """Settings of a training and what was seen in its stages, for the card."""
    concepts = mirage.scaler.concepts
    return {
        "settings": settings_to_card(mirage.profile),
        "split": parts.hash,
        "parts": {"train": len(parts.train), "test": len(parts.test)},
        "inputs": input_ranges(concepts, [cohort.records[each] for each in parts.train]),
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
    }


def _show_drawn(
    course: Course, mirage: Mirage, people: TrainingPeople, unet: UNet3D, bank: SkipBank
) -> None:
    """A picture of scans, reconstructions and pseudo-MRIs, from members that had not seen them."""
    if course.examples is None:
        return
    seen = people.with_scan()
    some = seen.rows(torch.arange(min(SHOWN, len(seen))))
    scans = some.volumes.float()[:, None]
    with torch.no_grad():
        surrogate = torch.cat(
            [
                _surrogate(cast("Member", mirage.members[fold]), some.rows(torch.tensor([row])))
                for row, fold in enumerate(some.fold.tolist())
            ]
        )
        drawn = PseudoMRIDecoder(unet.decoder, bank)(surrogate, some.persons)
        show(
            course,
            "pseudo-mri",
            ("scan", "reconstruction", "pseudo-MRI"),
            (scans, unet(scans), drawn),
        )


def _surrogate(member: Member, people: TrainingPeople) -> Float[Tensor, "patients width"]:
    return member.surrogate(member.reader(people.findings))


def _swap_gate(cohort: Cohort, parts: Parts, metrics: Mapping[str, Any]) -> Gate:
    """Does z carry the disease? Nobody knows where few scans leave the true difference open."""
    scanned = len(set(cohort.ids_with_scan()) & set(parts.test))
    told = scanned >= JUDGED_FROM and "swap_ratio" in metrics
    if not told and "ssim" in metrics:
        return Gate(
            name="swap_ratio",
            value=None,
            bound=SWAP_RATIO_BOUND,
            people=min(scanned, MOST_SWAPPED),
            passed=None,
        )
    value = metrics["swap_ratio"] if told else None
    return judge("swap_ratio", value, SWAP_RATIO_BOUND, len(parts.test))


def _norms(
    cohort: Cohort, parts: Parts, people: TrainingPeople, unet: UNet3D
) -> dict[str, Any] | None:
    """Regional volumes of the training people without AD, by age and sex."""
    rows = ((people.label == 0) & people.scanned).nonzero().squeeze(1)
    ids = [parts.train[row] for row in rows.tolist()]
    norms = norms_of_scans(cohort, ids, people.volumes[rows], unet.grid)
    return norms.to_entries() if norms else None


def _autoencoder(
    cohort: Cohort, parts: Parts, settings: Profile, seed: int, course: Course
) -> tuple[UNet3D, TrainingPeople, FindingScaler, PretrainReport]:
    """Phase 1, and the training people with the latents that it gives."""
    scans = set(cohort.ids_with_scan())
    scanned = torch.tensor([each in scans for each in parts.train])
    course.stage("read scans")
    volumes = torch.from_numpy(
        cohort.normalised_volumes(
            [each for each in parts.train if each in scans],
            grid(settings.spacing_mm),
            course.step,
        )
    )
    course.stage("autoencoder")
    unet, latent, regions_ml, pretrained = _latents(volumes, settings, seed, course)
    records = [cohort.records[each] for each in parts.train]
    scaler = FindingScaler(model_concepts()).fit(records)
    fold, labels = folds_of(cohort, parts, settings.distill.folds, seed), cohort.labels
    people = TrainingPeople.of(
        tuple(cohort.persons[each] for each in parts.train),
        scaler.encode(records),
        scanned,
        volumes,
        latent,
        regions_ml,
        torch.tensor([_label(labels[each]) for each in parts.train]),
        torch.tensor([fold[each] for each in parts.train]),
    )
    return unet, people, scaler, pretrained


def _latents(
    volumes: Float16[Tensor, "scans x y z"], settings: Profile, seed: int, course: Course
) -> tuple[UNet3D, Float[Tensor, "scans width"], Float[Tensor, "scans regions"], PretrainReport]:
    """The trained autoencoder, what it makes of the scans, and their regional volumes."""
    part = course.part()
    state = part.kept()
    if state is not None:
        with torch.random.fork_rng(devices=[]):
            unet = fresh_unet(settings.unet)
        unet.load_state_dict(state.of_module("unet"))
        unet.decoder.freeze()
        report = PretrainReport(
            steps=state.entries["steps"],
            losses=tuple(state.entries["losses"]),
            components_share=state.entries["components_share"],
        )
        return unet.eval(), state.tensors["z"], state.tensors["regions_ml"], report
    unet, report = pretrain_unet(volumes, settings.unet, settings.pretrain, seed=seed, part=part)
    round_decoder(unet.decoder)
    unet.to(course.device)
    latent = encode(unet, volumes)
    unet.cpu()
    regions_ml = regional_volumes_ml(volumes, unet.grid)
    tensors = tensors_of(unet=unet) | {"z": latent, "regions_ml": regions_ml}
    part.keep(tensors, asdict(report))
    return unet, latent, regions_ml, report


def _label(diagnosis: int | None) -> float:
    return float("nan") if diagnosis is None else float(diagnosis)


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
