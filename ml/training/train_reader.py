"""The paper's second way: CNNs on real scans, read on pseudo-MRIs, and fused with the others."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from ml.config import ClassifierConfig, Profile
from ml.data.regions import REGION_NAMES
from ml.evaluation.baselines.logistic_regression import INVERSE_PENALTIES
from ml.mirage import Member, Mirage, PseudoMRIDecoder
from ml.pseudo_mri_reader import PARTS, PseudoMRIReader
from ml.skip_bank import choose_donors
from ml.training.checkpoint import tensors_of
from ml.training.course import Course, Part
from ml.training.learn import Learned
from ml.training.people import TrainingPeople, soft_target
from ml.volume_classifier import VolumeClassifier

DRAWN_AT_ONCE = 8
FUSION_PENALTY = 0.1
"""Inverse penalty of the fusion's weights."""


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """What was seen out of fold on training people, for the card.

    Attributes:
        real_auc, pseudo_auc: of the CNNs on scans, and on pseudo-MRIs from out-of-fold surrogates.
        fused_auc: of the fusion, whose weights were fitted on these same people.
        fusion: weight of each of `PARTS`.
    """

    real_auc: float
    pseudo_auc: float
    fused_auc: float
    fusion: dict[str, float]


def train_reader(
    mirage: Mirage,
    learned: Learned,
    people: TrainingPeople,
    drawer: PseudoMRIDecoder,
    seed: int,
    course: Course | None = None,
) -> tuple[PseudoMRIReader, ReaderReport]:
    """Train a CNN for each part of the training people, without it, and fuse all readers.

    Nothing that a person is read by has seen that person: the CNN is trained on the other parts,
    the pseudo-MRI decoded from the surrogate of the member that had not seen the person and from
    donors other than the person. Calibration and fusion are fitted on these readings, also those
    of people who have a record and no scan.

    Args:
        mirage: the fitted model.
        learned: its out-of-fold embeddings, logits and teachers.
        people: training people.
        drawer: the decoder with the donors' skips.
        seed: of everything random.
        course: of the training; silent by default.
    """
    settings, course = mirage.profile, course or Course()
    reader = PseudoMRIReader(
        settings.classifier,
        settings.spacing_mm,
        members=len(mirage.members),
        columns=len(mirage.scaler.columns),
        regions=people.regions_ml.shape[1],
    )
    surrogate = _out_of_fold_surrogates(mirage, learned, people)
    real, pseudo = _train_members(
        reader, settings, learned, surrogate, people, drawer, seed, course
    )
    known = ~people.label.isnan()
    ad, scanned = people.label[known] == 1, people.scanned[known]
    reader.calibration.fit(pseudo[known], ad, settings.diagnosis.coverage)
    record = _fit_record(reader, people, known)
    parts = torch.stack([learned.logit, pseudo, record], dim=1)[known].double().numpy()
    fused = _fit_fusion(reader, parts, ad.numpy())
    found = ReaderReport(
        float(roc_auc_score(ad[scanned], real[known][scanned])),
        float(roc_auc_score(ad, pseudo[known])),
        float(roc_auc_score(ad, fused)),
        dict(zip(PARTS, reader.fusion_weight.tolist(), strict=True)),
    )
    course.tell(
        "metric",
        values={
            "AUC of the CNN on scans, out of fold": found.real_auc,
            "AUC of the CNN on pseudo-MRIs, out of fold": found.pseudo_auc,
            "AUC of the fusion, out of fold": found.fused_auc,
        },
    )
    return reader.eval(), found


def _train_members(
    reader: PseudoMRIReader,
    settings: Profile,
    learned: Learned,
    surrogate: Float[Tensor, "patients width"],
    people: TrainingPeople,
    drawer: PseudoMRIDecoder,
    seed: int,
    course: Course,
) -> tuple[Float[Tensor, " patients"], Float[Tensor, " patients"]]:
    """A CNN without each part of the people; its logits on their scans and on their pseudo-MRIs."""
    config, folds = settings.classifier, len(reader.members)
    look = cast("VolumeClassifier", reader.members[0]).coarse
    scans = torch.cat([look(part).half() for part in torch.split(people.volumes, 32)])
    half = settings.pretrain.bfloat16
    course.stage("pseudo-MRIs")
    drawn = _draw(drawer, surrogate, people, look, course, "pseudo-MRIs", bfloat16=half)
    redrawn = scans
    if config.drawn_share:
        latent = people.latent.nan_to_num()
        redrawn = _draw(drawer, latent, people, look, course, "scans redrawn", bfloat16=half)
    course.stage("readers")
    real, pseudo = torch.empty(len(people)), torch.empty(len(people))
    for fold in range(folds):
        others, own = people.fold != fold, people.fold == fold
        rest = others & people.scanned
        soft = learned.propagated[fold].teacher.soft[people.scanned[others]]
        member = train_classifier(
            scans[rest],
            redrawn[rest],
            soft_target(people.label[rest], soft, config.teacher_share),
            people.regions_ml[rest],
            config,
            settings.spacing_mm,
            seed=seed + fold,
            part=course.part(fold, folds),
        )
        reader.members[fold] = member
        with torch.no_grad():
            real[own] = member(scans[own].float()).logit
            pseudo[own] = member(drawn[own].float()).logit
    return real, pseudo


def donor_labels(people: TrainingPeople, settings: Profile, seed: int) -> Float[Tensor, " donors"]:
    """Diagnoses of the skip bank's donors, in its order; for controls, no bundle keeps them."""
    seen = people.with_scan()
    rows = choose_donors(seen.persons, settings.skip_bank.max_donors, seed)
    return seen.label[torch.tensor(rows)]


def train_classifier(
    scans: Float16[Tensor, "patients i j k"],
    redrawn: Float16[Tensor, "patients i j k"],
    target: Float[Tensor, " patients"],
    regions_ml: Float[Tensor, "patients regions"],
    config: ClassifierConfig,
    spacing_mm: float,
    *,
    seed: int,
    part: Part | None = None,
) -> VolumeClassifier:
    r"""Train one CNN on coarse scans.

    $$L = \mathrm{CE}(c(x_i), t_i) + \lambda \lVert r(x_i) - v_i \rVert^2$$

    with the target $t_i$ of label and teacher and the standardised regional volumes $v_i$. A scan
    is mirrored at random and shaded, and some are shown as the decoder draws them.

    Paper: none; the training of its CNN is not described.

    Args:
        scans: averaged by `VolumeClassifier.coarse`.
        redrawn: the same as the decoder draws them, for `config.drawn_share`.
        target: what to say of each, 0 to 1.
        regions_ml: in the order of `REGION_NAMES`.
        spacing_mm: voxel edge of the scans before they were averaged.
        seed: of weights and of what is drawn.
        part: of the course of a training: who is told, and where the steps are saved.
    """
    part = part or Course().part(name="readers")
    device = part.course.device
    torch.manual_seed(seed)
    network = VolumeClassifier(config, spacing_mm, regions_ml.shape[1]).train()
    state = part.kept()
    if state is not None:
        network.load_state_dict(state.of_module("network"))
        return network.eval()
    with torch.no_grad():
        network.mean_brain.copy_(scans.float().mean(0))
    regions = (regions_ml - regions_ml.mean(0)) / regions_ml.std(0).clamp_min(1e-6)
    network.to(device)
    mirrored = [REGION_NAMES.index(_other_side(name)) for name in REGION_NAMES]
    steps = max(1, config.epochs * len(scans) // config.batch_size)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=steps + 1, pct_start=0.2
    )
    loop = part.loop(steps, {"network": network}, optimiser, schedule)
    for step in loop.steps():
        rows = loop.notes.get("rows", [])
        if len(rows) < config.batch_size:
            rows = rows + torch.randperm(len(scans)).tolist()
        batch = rows[: config.batch_size]
        loop.notes["rows"] = rows[config.batch_size :]
        shown = scans[batch].float()
        swapped = torch.rand(len(batch)) < config.drawn_share
        shown = torch.where(swapped[:, None, None, None], redrawn[batch].float(), shown)
        shape, volumes = (len(batch), 1, 1, 1), regions[batch]
        if torch.rand(()) < 0.5:
            shown, volumes = shown.flip(1), volumes[:, mirrored]
        shown = shown * (1 + config.shading * torch.randn(shape))
        shown = shown + config.shading * torch.randn(shape)
        sight = network(shown.to(device))
        terms = {
            "diagnosis": nn.functional.binary_cross_entropy_with_logits(
                sight.logit, target[batch].to(device)
            ),
            "regions": (sight.regions - volumes.to(device)).square().mean(),
        }
        loss = terms["diagnosis"] + config.regions_weight * terms["regions"]
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        values = {name: float(term.detach()) for name, term in terms.items()}
        loop.done(step, {"loss": float(loss.detach()), **values}, batch)
    part.keep(tensors_of(network=network.cpu()), {})
    return network.eval()


def _other_side(region: str) -> str:
    for side, other in (("left_", "right_"), ("right_", "left_")):
        if region.startswith(side):
            return other + region.removeprefix(side)
    return region


@torch.no_grad()
def _out_of_fold_surrogates(
    mirage: Mirage, learned: Learned, people: TrainingPeople
) -> Float[Tensor, "patients width"]:
    """z^ of everybody, from the member that had not seen them."""
    surrogate = torch.empty_like(people.latent)
    for fold, member in enumerate(mirage.members):
        rows = (people.fold == fold).nonzero().squeeze(1)
        surrogate[rows] = cast("Member", member).surrogate(learned.embedding[rows])
    return surrogate


def _draw(
    drawer: PseudoMRIDecoder,
    z: Float[Tensor, "patients width"],
    people: TrainingPeople,
    look: Callable[[Tensor], Tensor],
    course: Course,
    name: str,
    *,
    bfloat16: bool,
) -> Float16[Tensor, "patients i j k"]:
    """What the decoder draws for each person, never with the person's own skips, made coarse.

    What was drawn since the last piece is kept as a piece, named by the row that it begins with.
    """
    pieces: list[Tensor] = []
    begin = 0
    while begin < len(people) and (state := course.part(name=f"{name} {begin}").kept()):
        pieces.append(state.tensors["drawn"])
        begin += len(pieces[-1])
    if begin == len(people):
        return torch.cat(pieces)
    device, since = course.device, list[Tensor]()
    drawer.to(device)
    for rows in torch.split(torch.arange(begin, len(people)), DRAWN_AT_ONCE):
        persons = [people.persons[row] for row in rows.tolist()]
        half = bfloat16 or device.type == "cuda"
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            volumes = drawer(z[rows].to(device), persons)[:, 0]
        since.append(look(volumes.cpu()).half())
        done = int(rows[-1]) + 1
        course.tell("step", step=done, steps=len(people))
        stop = course.stop_asked()
        if stop or course.due() or done == len(people):
            pieces.append(torch.cat(since))
            course.part(name=f"{name} {begin}").keep({"drawn": pieces[-1]}, {})
            begin, since = done, []
        if stop:
            raise course.stopped()
    drawer.cpu()
    return torch.cat(pieces)


def _fit_record(
    reader: PseudoMRIReader, people: TrainingPeople, known: Bool[Tensor, " patients"]
) -> Float[Tensor, " patients"]:
    """Logistic regression on the record for each part without it: their mean, and the logits.

    The penalty is the one with the least log loss out of fold.
    """
    table = people.findings.dense(len(reader.record_weight)).double().numpy()
    label, fold = people.label.numpy(), people.fold.numpy()
    labelled, chosen, best, least = known.numpy(), [], np.empty(len(label)), math.inf
    with threadpool_limits(1):
        for penalty in INVERSE_PENALTIES:
            logit, models = np.empty(len(label)), []
            for part in range(int(fold.max()) + 1):
                rest = labelled & (fold != part)
                model = LogisticRegression(C=penalty, max_iter=500).fit(table[rest], label[rest])
                logit[fold == part] = model.decision_function(table[fold == part])
                models.append(model)
            loss = log_loss(label[labelled], expit(logit[labelled]))
            if loss < least:
                least, chosen, best = loss, models, logit
    for model in chosen:
        reader.record_weight += torch.from_numpy(model.coef_[0]).float() / len(chosen)
        reader.record_bias += float(model.intercept_[0]) / len(chosen)
    return torch.from_numpy(best).float()


def _fit_fusion(
    reader: PseudoMRIReader,
    parts: Float[np.ndarray, "patients parts"],
    ad: Bool[np.ndarray, " patients"],
) -> Float[np.ndarray, " patients"]:
    """Weights of the readers by logistic regression on out-of-fold logits; the fused logits.

    What a CNN reads off a pseudo-MRI is nearly what the surrogate says. A penalty on equal scales
    lets such readers share their weight, where without one they would be set against each other.
    """
    spread = parts.std(0)
    model = LogisticRegression(C=FUSION_PENALTY, max_iter=1000).fit(parts / spread, ad)
    reader.fusion_weight.copy_(torch.from_numpy(model.coef_[0] / spread))
    reader.fusion_bias.fill_(float(model.intercept_[0]))
    fused: Float[np.ndarray, " patients"] = model.decision_function(parts / spread)
    return fused
