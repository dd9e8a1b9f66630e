"""Phase 3: align the graph's guesses with real latents, and learn decoder input and diagnosis."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import log_loss
from torch import Tensor, nn

from ml.config import DistillConfig, ReconstructionConfig
from ml.data.mri import brain_mask, intensity_range
from ml.losses import reconstruction_loss
from ml.mirage import Member
from ml.skip_bank import SkipBank
from ml.training.course import Course, Part
from ml.training.people import TrainingPeople, soft_target
from ml.training.teacher import Teacher, fit_teacher
from ml.unet import UNet3D
from ml.whitening import WhiteningColoring


@dataclass(frozen=True, slots=True)
class Distilled:
    """What phase 3 leaves of one fold.

    Attributes:
        losses: classification, latent and reconstruction at the last step of each.
        alignment: shrinkages and effective ranks of the whitening-colouring.
    """

    losses: dict[str, float]
    alignment: dict[str, float]


def choose_blend(
    embedding: Float[Tensor, "patients width"],
    people: TrainingPeople,
    blends: Sequence[float],
) -> tuple[float, dict[str, float]]:
    """The share of the whitening-colouring whose embeddings tell the diagnosis best, out of fold.

    Args:
        embedding: out-of-fold z~.
        people: the same people.
        blends: shares to choose from; of equals the largest, which is nearest to the paper, wins.

    Returns:
        The choice, and the out-of-fold log loss of each blend.
    """
    embedding, people = embedding[people.scanned], people.with_scan()
    known = ~people.label.isnan().numpy()
    losses = {}
    for blend in sorted(blends, reverse=True):
        moved = torch.empty_like(embedding)
        for fold in range(int(people.fold.max()) + 1):
            rest = people.fold != fold
            alignment = WhiteningColoring.fit(
                source=embedding[rest], target=people.latent[rest], blend=blend
            )
            moved[~rest] = alignment(embedding[~rest])
        soft = fit_teacher(moved, people.label, people.fold, people.regions_ml).soft.numpy()
        losses[f"{blend:g}"] = float(log_loss(people.label.numpy()[known], soft[known]))
    best = min(losses, key=lambda blend: round(losses[blend], 3))
    return float(best), losses


def distill(
    member: Member,
    embedding: Float[Tensor, "patients width"],
    people: TrainingPeople,
    teacher: Teacher,
    unet: UNet3D,
    skip_bank: SkipBank,
    config: DistillConfig,
    reconstruction: ReconstructionConfig,
    *,
    blend: float,
    teacher_share: float,
    seed: int,
    part: Part | None = None,
) -> Distilled:
    r"""Fit alignment, adapter and head of one member on embeddings that nobody's own scan entered.

    $$L = L_{rec} + \lambda_{cls}\,\mathrm{CE}(h(\hat z_i), y_i), \qquad
      L_{rec} = \lambda_1 \lVert x_i - \hat x_i \rVert_1 + \lambda_2 (1 - \mathrm{SSIM})
      + \lambda_3\,\mathrm{TV}$$

    Paper: Eq. 5 to 7, decoder frozen. Ours: the inputs are out-of-fold embeddings (method.md trap
    10), the skips never come from the patient (trap 3), the label is mixed with the teacher's, the
    steps that do not decode pull z^ towards the patient's latent, and the head is penalised. People
    without a scan take part in the classification alone.

    Args:
        member: gets alignment, adapter and head; its reader is left alone.
        embedding: out-of-fold z~ of `people`.
        people: training people of this fold.
        teacher: head on their real latents, where the diagnosis head starts.
        unet, skip_bank: of phase 1, decoder frozen.
        blend: share of the whitening-colouring.
        part: of the course of a training: who is told, and where the steps are saved.
    """
    torch.manual_seed(seed)
    scanned = people.scanned.nonzero().squeeze(1)
    latent = people.latent[scanned]
    alignment = WhiteningColoring.fit(source=embedding[scanned], target=latent, blend=blend)
    member.alignment.load_state_dict(alignment.state_dict())
    with torch.no_grad():
        member.head.linear.weight.copy_(teacher.weight[None])
        member.head.linear.bias.fill_(teacher.bias)
    target = soft_target(people.label, teacher.soft, teacher_share)
    learned = [*member.adapter.parameters(), *member.head.parameters()]
    optimiser = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=0.0)
    part = part or Course().part(name="distillation")
    learning = {"adapter": member.adapter, "head": member.head}
    loop = part.loop(config.steps, learning, optimiser)
    losses: dict[str, float] = loop.notes
    for step in loop.steps():
        surrogate = member.surrogate(embedding)
        logit = member.head(surrogate)
        terms = {
            "classification": nn.functional.binary_cross_entropy_with_logits(logit, target),
            "latent": (surrogate[scanned] - latent).square().mean(),
        }
        penalty = member.head.linear.weight.square().sum()
        loss = config.classification * terms["classification"] + config.latent * terms["latent"]
        loss = loss + config.weight_decay * penalty
        if step % config.decode_every == config.decode_every - 1:
            rows = scanned[torch.randperm(len(scanned))[: config.decode_batch]]
            terms["reconstruction"] = _reconstruction(
                surrogate[rows], people, rows, unet, skip_bank, reconstruction
            )
            loss = loss + terms["reconstruction"]
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        losses |= {name: float(term.detach()) for name, term in terms.items()}
        loop.done(step, {"loss": float(loss.detach()), **losses})
    report = alignment.report
    return Distilled(
        losses,
        {
            "graph_shrinkage": report.source_shrinkage if report else np.nan,
            "mri_shrinkage": report.target_shrinkage if report else np.nan,
            "graph_effective_rank": report.source_rank if report else np.nan,
            "mri_effective_rank": report.target_rank if report else np.nan,
        },
    )


def _reconstruction(
    surrogate: Float[Tensor, "some width"],
    people: TrainingPeople,
    rows: Tensor,
    unet: UNet3D,
    skip_bank: SkipBank,
    weights: ReconstructionConfig,
) -> Float[Tensor, ""]:
    persons = [people.persons[row] for row in rows.tolist()]
    with torch.no_grad():
        skips, _ = skip_bank.aggregate(surrogate, exclude=persons)
    mask = torch.from_numpy(brain_mask(unet.grid).copy())
    scans = people.volumes[rows].float()[:, None]
    return reconstruction_loss(
        unet.decoder(surrogate, skips),
        scans,
        mask,
        weights,
        data_range=intensity_range(unet.grid),
    )
