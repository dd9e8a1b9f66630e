"""The paper's phase 2 read literally: every training patient shows the z that it has to guess."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ml.graph_encoder import ConceptGraph, GraphEncoder
from ml.mirage import Member, Mirage
from ml.skip_bank import SkipBank
from ml.training.distill import choose_blend, distill
from ml.training.learn import Learned
from ml.training.people import TrainingPeople
from ml.training.propagate import Propagated
from ml.training.teacher import teacher_of
from ml.unet import UNet3D


def learn_unmasked(
    mirage: Mirage,
    people: TrainingPeople,
    graph: ConceptGraph,
    unet: UNet3D,
    bank: SkipBank,
    seed: int,
) -> Learned:
    """Fit the members of a model in place, nobody hidden in phase 2 (method.md trap 1).

    People of a fold get their embedding from an encoder without them, as patients with a record
    alone do: what is measured is what is left when there is nothing to copy.
    """
    settings, folds = mirage.profile, mirage.profile.distill.folds
    embedding = torch.empty_like(people.latent)
    propagated = []
    for fold in range(folds):
        own = (people.fold == fold).nonzero().squeeze(1)
        rest = (people.fold != fold).nonzero().squeeze(1)
        propagated.append(_propagate(mirage, people.rows(rest), graph, seed))
        with torch.no_grad():
            embedding[own] = propagated[-1].reader(people.findings.rows(own))
    blend, losses = choose_blend(embedding, people, settings.distill.blends)
    logit, reports = torch.empty(len(people)), []
    for fold in range(folds):
        member = mirage.members[fold]
        if not isinstance(member, Member):
            raise TypeError(f"Member {fold} is a {type(member).__name__}.")
        member.reader.load_state_dict(propagated[fold].reader.state_dict())
        own = (people.fold == fold).nonzero().squeeze(1)
        rest = (people.fold != fold).nonzero().squeeze(1)
        reports.append(
            distill(
                member,
                embedding[rest],
                people.rows(rest),
                propagated[fold].teacher,
                unet,
                bank,
                settings.distill,
                settings.reconstruction,
                blend=blend,
                teacher_share=settings.propagate.teacher_share,
                seed=seed,
            )
        )
        with torch.no_grad():
            logit[own] = member.head(member.surrogate(embedding[own]))
    mirage.eval()
    return Learned(embedding, logit, propagated, reports, blend, losses)


def _propagate(
    mirage: Mirage, people: TrainingPeople, graph: ConceptGraph, seed: int
) -> Propagated:
    """Stage 1 with the paper's loss alone, on people who all show their z."""
    torch.manual_seed(seed)
    config, latent = mirage.profile.propagate, people.latent
    encoder = GraphEncoder(mirage.profile.graph, graph, latent.shape[1])
    optimiser = torch.optim.AdamW(
        encoder.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    nobody = torch.zeros(len(people), dtype=torch.bool)
    losses: dict[str, float] = {}
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        embedding = encoder(graph, people.findings, latent, nobody)
        loss: Float[Tensor, ""] = (embedding - latent).square().mean()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        losses = {"latent": float(loss.detach())}
    encoder.eval()
    with torch.no_grad():
        states = encoder.concept_states(graph, people.findings, latent)
        encoder.reader.states.copy_(states)
    return Propagated(encoder.reader, teacher_of(people), losses)
