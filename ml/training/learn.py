"""Phases 2 and 3: from training people with latents to a fitted `Mirage`, fold by fold."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
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
from ml.text_encoder import TextEncoder
from ml.training.distill import Distilled, choose_blend, distill
from ml.training.people import TrainingPeople
from ml.training.pretrain_unet import encode_with_skips
from ml.training.propagate import Propagated, propagate
from ml.training.stage_watch import StageWatch
from ml.unet import UNet3D
from ml.whitening import effective_rank

Progress = Callable[[str, int, int], None]
"""Stage, steps done, steps in all."""


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
    report: Progress,
    watch: StageWatch,
) -> Learned:
    """Fit the members, calibration and familiarity of a model, in place.

    Args:
        mirage: fresh, with the scaler of these people.
        people: training people only.
        graph: the knowledge graph as tensors.
        unet, bank: of phase 1.
        seed: of everything random.
        report: called with the stage, the steps done and the steps in all.
        watch: takes the seconds of each stage.
    """
    settings = mirage.profile
    with one_thread():
        group = mirage.scaler.group
        propagated = _propagate(people, graph, unet, settings, group, seed, report)
        embedding = _out_of_fold(people, propagated)
    watch.lap("graph")
    blend, blend_losses = choose_blend(embedding, people, settings.distill.blends)
    logit, distilled = _distill(
        mirage, embedding, people, propagated, unet, bank, blend, settings, seed, report
    )
    known = ~people.label.isnan()
    mirage.calibration.fit(logit[known], people.label[known] == 1, settings.diagnosis.coverage)
    mirage.familiarity.fit(embedding)
    mirage.eval()
    watch.lap("distillation")
    return Learned(embedding, logit, propagated, distilled, blend, blend_losses)


def knowledge(
    scaler: FindingScaler,
    settings: Profile,
    text_cache: Path | None,
    file: Path | None = None,
) -> tuple[SizedGraph, dict[str, Any]]:
    """A knowledge graph under the scaler's concepts as tensors, and its figures for the card.

    Args:
        scaler: the concepts that the model reads.
        settings: what of the graph is kept, and how it is passed through.
        text_cache: folder for text embeddings.
        file: a whole graph as `python -m ml graph` writes it; by default HPO, with ICD-10-CM
            beside it if the settings say so.
    """
    embed = TextEncoder(cache=text_cache)
    if file is not None:
        source, hops = read_knowledge(file), settings.graph.hops
    else:
        source, hops = (read_default() if settings.graph.diagnoses else read_hpo()), None
    graph, links = graph_with_dictionary(
        source, scaler.concepts, embed, children=settings.graph.children, hops=hops
    )
    text = embed([node.name for node in graph.nodes])
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
    report: Progress,
) -> list[Propagated]:
    """Phase 2 once for each fold, without the fold's people."""
    folds = settings.distill.folds
    return [
        propagate(
            people.rows((people.fold != fold).nonzero().squeeze(1)),
            graph,
            unet,
            settings.graph,
            settings.propagate,
            seed=seed,
            column_group=column_group,
            progress=_part_of(report, "graph", fold, folds),
        )
        for fold in range(folds)
    ]


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
    report: Progress,
) -> tuple[Float[Tensor, " patients"], list[Distilled]]:
    """Phase 3 once for each fold, without the fold's people, and their logits."""
    logit = torch.empty(len(people))
    reports = []
    for fold, (phase2, module) in enumerate(zip(propagated, mirage.members, strict=True)):
        member = cast("Member", module)
        member.reader.load_state_dict(phase2.reader.state_dict())
        rest = (people.fold != fold).nonzero().squeeze(1)
        reports.append(
            distill(
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
                progress=_part_of(report, "distillation", fold, settings.distill.folds),
            )
        )
        rows = (people.fold == fold).nonzero().squeeze(1)
        with torch.no_grad():
            logit[rows] = member.head(member.surrogate(embedding[rows]))
    return logit, reports


def _part_of(report: Progress, stage: str, part: int, parts: int) -> Callable[..., None]:
    def tell(done: int, total: int, _: float) -> None:
        report(stage, part * total + done, parts * total)

    return tell


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Small operations are up to 34 times slower on two busy threads (method.md trap 12)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
