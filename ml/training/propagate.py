"""Phase 2: learn on the patient graph to guess the MRI latent of patients whose MRI is hidden."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ml.config import GraphConfig, PropagateConfig
from ml.data.mri import brain_mask, intensity_range
from ml.graph_encoder import GraphEncoder, SizedGraph
from ml.losses import LOSS_STRIDE, ssim
from ml.patient_graph import Findings
from ml.surrogate import SurrogateReader
from ml.training.course import Course, Part
from ml.training.people import TrainingPeople, soft_target
from ml.training.teacher import Teacher, teacher_of
from ml.unet import UNet3D

STEPS_APART = 1_000_003
"""Seeds of two trainings draw different parts of a large graph at every step."""


@dataclass(frozen=True, slots=True)
class Propagated:
    """What phase 2 leaves of one fold.

    Attributes:
        reader: the trained encoder's serving part, with the concept states of its training people.
        teacher: head on the real latents of its training people.
        losses: L_reg, diagnosis and L_dec at the last step of each.
    """

    reader: SurrogateReader
    teacher: Teacher
    losses: dict[str, float]


class _Reading(nn.Module):
    """The diagnosis that the teacher's axis shows in z~, up to a learned scale and shift.

    An EHR explains a part of the scan only, so the guess moves less along the axis than scans do.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, embedding: Tensor) -> Tensor:
        logit = embedding @ self.teacher.weight + self.teacher.bias
        return self.log_scale.exp() * logit + self.shift


def propagate(
    people: TrainingPeople,
    graph: SizedGraph,
    unet: UNet3D,
    graph_config: GraphConfig,
    config: PropagateConfig,
    *,
    seed: int,
    column_group: Int[Tensor, " columns"] | None = None,
    part: Part | None = None,
) -> Propagated:
    r"""Train the graph encoder on some people, in two stages.

    $$L_{reg} = \lVert \tilde z_i - z_i \rVert^2, \qquad
      L_{dec} = 1 - \mathrm{SSIM}(x_i, D(\tilde z_i, \{s_i^l\}))$$

    Paper: Eq. 3 (stage 1) and Eq. 4 (stage 2). Ours: every step hides a random half of the people
    and takes the loss from them alone, because a patient that shows its own z has nothing to guess
    (method.md trap 1); and the diagnosis that the teacher reads from z~ is part of the loss. People
    without a scan are hidden in every step: the diagnosis alone is learned from them.

    Args:
        people: training people of this fold; nobody else enters the graph.
        graph: the knowledge graph as tensors, or what draws a part of it for each step.
        unet: the frozen autoencoder; its decoder is run in stage 2.
        seed: of weights, hiding and dropping.
        column_group: group of each column of the findings, for `config.group_masking`.
        part: of the course of a training: who is told, and where the steps are saved.
    """
    torch.manual_seed(seed)
    encoder = GraphEncoder(graph_config, graph, people.latent.shape[1])
    teacher = teacher_of(people)
    scanned, latent = people.scanned, people.latent.nan_to_num()
    reading = _Reading(teacher)
    target = soft_target(people.label, teacher.soft, config.teacher_share)
    parameters = [*encoder.parameters(), *reading.parameters()]
    optimiser = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    total = config.steps + config.decode_steps
    part = part or Course().part(name="graph")
    loop = part.loop(total, {"encoder": encoder, "reading": reading}, optimiser)
    losses: dict[str, float] = loop.notes
    for step in loop.steps():
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))
        hidden = _hide(scanned, config.hidden_share)
        guessed = hidden & scanned
        findings = _drop(people.findings, config.column_dropout)
        if config.group_masking and column_group is not None:
            findings = findings.without_a_group(column_group, config.group_masking)
        seen = graph.drawn(seed * STEPS_APART + step)
        embedding = encoder(seen, findings, latent, hidden)
        terms = {
            "latent": (embedding - latent)[guessed].square().mean(),
            "diagnosis": nn.functional.binary_cross_entropy_with_logits(
                reading(embedding)[hidden], target[hidden]
            ),
        }
        loss = terms["latent"] + config.diagnosis_weight * terms["diagnosis"]
        if step >= config.steps:
            rows = guessed.nonzero().squeeze(1)[: config.decode_batch]
            terms["decode"] = 1 - _decoded_similarity(unet, people, embedding, rows)
            loss = loss + terms["decode"]
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        losses |= {name: float(term.detach()) for name, term in terms.items()}
        loop.done(step, {"loss": float(loss.detach()), **losses})
    encoder.eval()
    with torch.no_grad():
        seen = graph.drawn(seed * STEPS_APART + total)
        senders = scanned.nonzero().squeeze(1)
        states = encoder.concept_states(seen, people.findings.rows(senders), latent[senders])
        encoder.reader.states.copy_(states)
    return Propagated(encoder.reader, teacher, losses)


def _hide(scanned: Bool[Tensor, " patients"], share: float) -> Bool[Tensor, " patients"]:
    """All without a scan and a random share of the others: at least one, and not the last."""
    rows = scanned.nonzero().squeeze(1)
    count = min(max(1, round(share * len(rows))), len(rows) - 1)
    hidden = ~scanned
    hidden[rows[torch.randperm(len(rows))[:count]]] = True
    return hidden


def _drop(findings: Findings, mean_share: float) -> Findings:
    """Hide findings at random; each person loses a share of its own, on average `mean_share`."""
    share = torch.rand(len(findings), 1) * 2 * mean_share
    return findings.without(torch.rand(findings.observed.shape) < share)


def _decoded_similarity(
    unet: UNet3D, people: TrainingPeople, embedding: Tensor, rows: Tensor
) -> Float[Tensor, ""]:
    scans = people.volumes[rows].float()[:, None]
    with torch.no_grad():
        _, skips = unet.encoder(scans)
    decoded = unet.decoder(embedding[rows], skips)
    mask = torch.from_numpy(brain_mask(unet.grid).copy())
    span = intensity_range(unet.grid)
    return ssim(decoded, scans, mask, data_range=span, stride=LOSS_STRIDE).mean()
