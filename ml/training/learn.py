"""Phases 2 and 3: from training people with latents to a fitted `Mirage`, fold by fold."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ml.concept_linking import coverage
from ml.config import Profile
from ml.graph_encoder import SizedGraph
from ml.knowledge_file import read_knowledge
from ml.knowledge_sources.default import read_default
from ml.knowledge_sources.hpo import read_hpo
from ml.mirage import Member, Mirage
from ml.neighbour_sampler import training_graph
from ml.patient_graph import FindingScaler, graph_with_dictionary
from ml.skip_bank import SkipBank, choose_donors
from ml.surrogate import SurrogateReader
from ml.text_encoder import TextEncoder
from ml.training.checkpoint import tensors_of
from ml.training.course import Course, Part, Report
from ml.training.distill import Distilled, choose_blend, distill
from ml.training.people import TrainingPeople
from ml.training.pretrain_unet import encode_with_skips
from ml.training.propagate import Propagated, propagate
from ml.training.teacher import Teacher
from ml.unet import UNet3D
from ml.whitening import effective_rank

Progress = Report


@dataclass(frozen=True, slots=True)
class Learned:
    """What phases 2 and 3 leave beside the fitted model.

    Attributes:
        embedding: z~ of each training person from the encoder that had not seen it.
        logit: of AD, from the member that had not seen the person.
        propagated, distilled: one a fold.
        blend, blend_losses: share of the whitening-colouring, and what it was chosen by.
    """

    embedding: Float[Tensor, "patients width"]
    logit: Float[Tensor, " patients"]
    propagated: list[Propagated]
    distilled: list[Distilled]
    blend: float
    blend_losses: dict[str, float]


def learn_surrogate(
    mirage: Mirage,
    people: TrainingPeople,
    graph: SizedGraph,
    unet: UNet3D,
    bank: SkipBank,
    seed: int,
    course: Course | None = None,
) -> Learned:
    """Fit the members, calibration and familiarity of a model, in place.

    Args:
        mirage: fresh, with the scaler of these people.
        people: training people only.
        graph: the knowledge graph as tensors.
        unet, bank: of phase 1.
        seed: of everything random.
        course: of the training; silent by default.
    """
    settings, course = mirage.profile, course or Course()
    course.stage("graph")
    with one_thread():
        group = mirage.scaler.group
        propagated = _propagate(people, graph, unet, settings, group, seed, course)
        embedding = _out_of_fold(people, propagated)
    course.tell("metric", values=_auc_of_teachers(propagated, people))
    course.stage("distillation")
    blend, blend_losses = course.once(
        "blend", lambda: choose_blend(embedding, people, settings.distill.blends)
    )
    logit, distilled = _distill(
        mirage, embedding, people, propagated, unet, bank, blend, settings, seed, course
    )
    course.tell("metric", values=_auc("surrogate, out of fold", logit, people.label))
    known = ~people.label.isnan()
    mirage.calibration.fit(logit[known], people.label[known] == 1, settings.diagnosis.coverage)
    mirage.familiarity.fit(embedding)
    mirage.eval()
    return Learned(embedding, logit, propagated, distilled, blend, blend_losses)


def knowledge(
    scaler: FindingScaler,
    settings: Profile,
    text_cache: Path | None,
    file: Path | None = None,
    course: Course | None = None,
) -> tuple[SizedGraph, dict[str, Any]]:
    """A knowledge graph under the scaler's concepts as tensors, and its figures for the card.

    Args:
        scaler: the concepts that the model reads.
        settings: what of the graph is kept, and how it is passed through.
        text_cache: folder for text embeddings.
        file: a whole graph as `python -m ml graph` writes it; by default HPO, with ICD-10-CM
            beside it if the settings say so.
        course: of a training, which keeps the embeddings: which names were embedded together, now
            or when the cache was filled, decides their last bits.
    """
    embed = TextEncoder(cache=text_cache)
    if file is not None:
        source, hops = read_knowledge(file), settings.graph.hops
    else:
        source, hops = (read_default() if settings.graph.diagnoses else read_hpo()), None
    graph, links = graph_with_dictionary(
        source, scaler.concepts, embed, children=settings.graph.children, hops=hops
    )
    part = (course or Course()).part(name="names of the graph")
    state = part.kept()
    text = state.tensors["text"] if state else embed([node.name for node in graph.nodes])
    if state is None:
        part.keep({"text": text}, {})
    figures = {
        "nodes": len(graph.nodes),
        "edges": len(graph.table),
        "version": graph.version,
        "text_encoder": Path(embed.model).name,
        "links": coverage(links),
    }
    return training_graph(graph, text, scaler, settings.graph.fanouts), figures


def skip_bank(unet: UNet3D, people: TrainingPeople, settings: Profile, seed: int) -> SkipBank:
    """The skips of donors among the training people."""
    people = people.with_scan()
    rows = torch.tensor(choose_donors(people.persons, settings.skip_bank.max_donors, seed))
    z, skips = encode_with_skips(unet, people.volumes[rows])
    persons = [people.persons[row] for row in rows.tolist()]
    return SkipBank.build(z, skips, persons, settings.skip_bank)


def surrogate_figures(
    embedding: Float[Tensor, "patients width"], people: TrainingPeople
) -> dict[str, float]:
    """How much of the latents the out-of-fold guesses explain, and in how many directions."""
    embedding, people = embedding[people.scanned], people.with_scan()
    residual = (embedding - people.latent).square().sum()
    total = (people.latent - people.latent.mean(0)).square().sum()
    return {
        "out_of_fold_r2": float(1 - residual / total),
        "effective_rank": effective_rank(embedding),
        "effective_rank_of_latents": effective_rank(people.latent),
    }


def _propagate(
    people: TrainingPeople,
    graph: SizedGraph,
    unet: UNet3D,
    settings: Profile,
    column_group: Int[Tensor, " columns"],
    seed: int,
    course: Course,
) -> list[Propagated]:
    """Phase 2 once for each fold, without the fold's people."""
    folds, found = settings.distill.folds, []
    for fold in range(folds):
        part = course.part(fold, folds)
        propagated = _kept_propagated(part, graph, settings)
        if propagated is None:
            propagated = propagate(
                people.rows((people.fold != fold).nonzero().squeeze(1)),
                graph,
                unet,
                settings.graph,
                settings.propagate,
                seed=seed,
                column_group=column_group,
                part=part,
            )
            _keep_propagated(part, propagated)
        found.append(propagated)
    return found


def _keep_propagated(part: Part, propagated: Propagated) -> None:
    teacher = propagated.teacher
    part.keep(
        tensors_of(reader=propagated.reader)
        | {"teacher.weight": teacher.weight, "teacher.soft": teacher.soft},
        {"bias": teacher.bias, "penalty": teacher.penalty, "losses": propagated.losses},
    )


def _kept_propagated(part: Part, graph: SizedGraph, settings: Profile) -> Propagated | None:
    state = part.kept()
    if state is None:
        return None
    tensors, entries = state.tensors, state.entries
    with torch.random.fork_rng(devices=[]):
        reader = SurrogateReader(settings.graph, graph.sizes.columns, settings.unet.width)
    reader.load_state_dict(state.of_module("reader"))
    teacher = Teacher(
        tensors["teacher.weight"], entries["bias"], tensors["teacher.soft"], entries["penalty"]
    )
    return Propagated(reader.eval(), teacher, entries["losses"])


@torch.no_grad()
def _out_of_fold(
    people: TrainingPeople, propagated: list[Propagated]
) -> Float[Tensor, "patients width"]:
    """z~ of everybody, from the encoder that had not seen them."""
    embedding = torch.empty_like(people.latent)
    for fold, each in enumerate(propagated):
        rows = (people.fold == fold).nonzero().squeeze(1)
        embedding[rows] = each.reader(people.findings.rows(rows))
    return embedding


def _distill(
    mirage: Mirage,
    embedding: Float[Tensor, "patients width"],
    people: TrainingPeople,
    propagated: list[Propagated],
    unet: UNet3D,
    bank: SkipBank,
    blend: float,
    settings: Profile,
    seed: int,
    course: Course,
) -> tuple[Float[Tensor, " patients"], list[Distilled]]:
    """Phase 3 once for each fold, without the fold's people, and their logits."""
    logit, folds = torch.empty(len(people)), settings.distill.folds
    reports = []
    for fold, (phase2, module) in enumerate(zip(propagated, mirage.members, strict=True)):
        member, part = cast("Member", module), course.part(fold, folds)
        state = part.kept()
        if state is None:
            member.reader.load_state_dict(phase2.reader.state_dict())
            rest = (people.fold != fold).nonzero().squeeze(1)
            report = distill(
                member,
                embedding[rest],
                people.rows(rest),
                phase2.teacher,
                unet,
                bank,
                settings.distill,
                settings.reconstruction,
                blend=blend,
                teacher_share=settings.propagate.teacher_share,
                seed=seed,
                part=part,
            )
            part.keep(tensors_of(member=member), asdict(report))
        else:
            member.load_state_dict(state.of_module("member"))
            report = Distilled(state.entries["losses"], state.entries["alignment"])
        reports.append(report)
        rows = (people.fold == fold).nonzero().squeeze(1)
        with torch.no_grad():
            logit[rows] = member.head(member.surrogate(embedding[rows]))
    return logit, reports


def _auc_of_teachers(propagated: list[Propagated], people: TrainingPeople) -> dict[str, float]:
    """How well the heads on real scans tell people whom they had not seen."""
    soft = torch.zeros(len(people))
    for fold, each in enumerate(propagated):  # everybody is among the people of all folds but one
        soft[people.fold != fold] += each.teacher.soft.nan_to_num()
    return _auc("teacher on scans, out of fold", soft, people.label, people.scanned)


def _auc(
    who: str,
    score: Float[Tensor, " patients"],
    label: Float[Tensor, " patients"],
    among: Bool[Tensor, " patients"] | None = None,
) -> dict[str, float]:
    known = ~label.isnan() if among is None else ~label.isnan() & among
    return {f"AUC of the {who}": float(roc_auc_score(label[known] == 1, score[known]))}


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Small operations are up to 34 times slower on two busy threads (method.md trap 12)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
