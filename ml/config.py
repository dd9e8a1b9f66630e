"""Every number that can be chosen, one frozen dataclass per module, and the named profiles.

A profile is the whole model at one voxel size: `tiny` (8 mm, seconds, for tests), `4mm` (minutes),
`2mm` (what is shipped) and `1mm` (for a GPU; nobody has trained it yet). What is not in here is
either derived from it or fixed by the paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetConfig:
    """Autoencoder of phase 1 (`ml.unet`).

    Attributes:
        spacing_mm: voxel edge of the MNI152 grid it works on: 8, 4, 2 or 1 mm.
        channels: feature maps at strides s, 2 s, 4 s ... voxels with s = `stem_stride`, finest
            first. The last level is the bottleneck, which must be small enough to flatten.
        skip_channels: feature maps handed from encoder to decoder at each level of `channels`; 0
            means no skip there. Fine levels have none: a fine skip lets the decoder copy the scan
            and forget z (method.md trap 4), and it would make a donor in the skip bank ten times
            as large.
        bottleneck_channels: feature maps that are flattened into z and out of it.
        width: length of z, unitless.
        warp_mm: largest displacement per axis, in mm, by which z may move the mean brain; 0 gives
            a plain residual decoder.
        warp_channels: feature maps of the small decoder from z to that displacement, coarsest
            first.
        stem_stride: edge in voxels of the cubes that become one voxel with many maps before the
            first convolution.
        principal: whether z starts as principal components of the training scans at half the
            stem's edge, and D as their sum; without it both start from nothing.
    """

    spacing_mm: float
    channels: tuple[int, ...]
    skip_channels: tuple[int, ...]
    bottleneck_channels: int = 16
    width: int = 256
    warp_mm: float = 12.0
    warp_channels: tuple[int, ...] = (32, 24, 16)
    stem_stride: int = 2
    principal: bool = False

    @property
    def stride(self) -> int:
        """Edge in voxels of what one place of the bottleneck covers."""
        return self.stem_stride << (len(self.channels) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionConfig:
    """Weights of L_rec: lambda_1 L1 + lambda_2 (1 - SSIM) + lambda_3 TV (`ml.losses`)."""

    l1: float = 1.0
    ssim: float = 0.5
    tv: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """Training of the autoencoder (`ml.training.pretrain_unet`).

    Attributes:
        epochs: passes over the scans.
        max_scans: learn from the first so many scans and only encode the others; bounds the time
            of the slowest stage on a CPU. None takes all.
        batch_size: scans a step; z's batch norm and the in-batch donors want at least 8.
        learning_rate: peak of the one-cycle schedule of AdamW.
        weight_decay: of AdamW.
        mean_skip_share: first share of the steps in which every scan gets the mean skips of the
            batch, so that z learns first; 0 to 1.
        neighbour_skip_share: afterwards, share of steps with skips of in-batch donors (never the
            scan's own); the rest of the steps uses its own.
        guess_share: share of steps that decode a guess of z in place of z, so that the decoder
            knows what to draw where little is known, as from a record.
        neighbours: in-batch donors that are averaged, as many as the skip bank's k.
        ssim_weight: weight of 1 - SSIM beside the paper's mean squared error.
        warp_smoothness: weight of the displacement's squared gradient (unitless, mm per mm).
        bfloat16: convolve in bfloat16, twice as fast on processors that know it; a GPU always does.
        accumulate: pieces of a batch whose gradients are added before a step, for scans that do not
            fit in memory together; donors come from the same piece.
        patience: stop after so many epochs without a lower loss of `held_out` scans; 0, the
            default, goes through all epochs and keeps no scan out.
        held_out: the last so many scans, which then only judge.
    """

    epochs: int
    max_scans: int | None = None
    batch_size: int = 12
    learning_rate: float = 8e-4
    weight_decay: float = 1e-3
    mean_skip_share: float = 0.4
    neighbour_skip_share: float = 0.6
    guess_share: float = 0.0
    neighbours: int = 5
    ssim_weight: float = 0.5
    warp_smoothness: float = 0.05
    bfloat16: bool = False
    accumulate: int = 1
    patience: int = 0
    held_out: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipBankConfig:
    """Cohort-aggregated skip features, Eq. 5 (`ml.skip_bank`).

    Attributes:
        max_donors: training patients whose skips are stored in the bundle.
        k: neighbours that are averaged for one patient.
        weight_cap: largest share of one neighbour, so that no pseudo-MRI shows one donor's brain.
    """

    max_donors: int = 16
    k: int = 5
    weight_cap: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphConfig:
    """Knowledge graph and its encoder (`ml.patient_graph`, `ml.graph_encoder`).

    Attributes:
        diagnoses: whether ICD-10-CM's diagnoses stand in the default graph beside HPO's phenotypes.
        children: steps down from a linked phenotype to its subtypes that are kept.
        hops: of a graph that is no ontology (iBKH), edges from a linked node that are kept.
        width: length of a node's state, unitless.
        heads: attention heads, which share the width.
        layers: GATv2 layers (the paper: three).
        dropout: of what a layer adds to a node, 0 to 1.
        edge_dropout: share of the edges between concepts that a training step leaves out, 0 to 1.
        fanouts: for graphs too large to pass through whole, neighbours drawn at each step outwards
            from a finding's concept (`ml.neighbour_sampler`); `layers` - 1 steps are looked at.
            With none, the default, every step passes through the whole graph.
        attention: whether messages are weighted by attention; without it they are averaged.
        patients_send: whether training patients send their latents to the concepts they are tied
            to, from where other patients read them.
    """

    diagnoses: bool = False
    children: int = 1
    hops: int = 1
    width: int = 64
    heads: int = 4
    layers: int = 3
    dropout: float = 0.1
    edge_dropout: float = 0.0
    fanouts: tuple[int, ...] = ()
    attention: bool = True
    patients_send: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagateConfig:
    """Stages 1 and 2 of the graph (`ml.training.propagate`).

    Attributes:
        steps: optimiser steps of stage 1.
        learning_rate, weight_decay: of AdamW; the rate falls to 0 along a cosine.
        hidden_share: share of training patients that a step hides; only they are learned from.
        column_dropout: mean share of a patient's findings that a step hides.
        group_masking: probability that a step hides one whole group of a patient's findings, as
            MDR-Dx does at .5.
        diagnosis_weight: weight of the diagnosis that the teacher's head reads from z~, beside
            the latent itself.
        teacher_share: share of the teacher's soft label in that diagnosis; the rest is the
            recorded label.
        decode_steps: optimiser steps of stage 2, which decode.
        decode_batch: hidden patients decoded in each of them.
    """

    steps: int = 80
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    hidden_share: float = 0.5
    column_dropout: float = 0.2
    group_masking: float = 0.0
    diagnosis_weight: float = 1.0
    teacher_share: float = 0.5
    decode_steps: int = 6
    decode_batch: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """Alignment, adapter and the joint objective (`ml.training.distill`).

    Attributes:
        folds: parts of the training people, at least 3; each has a member that never saw it.
        blends: shares of the whitening-colouring to choose from, out of fold.
        adapter_width: hidden units of the adapter; 0 leaves it out.
        steps: optimiser steps.
        learning_rate: of AdamW; ten times as much and adapter and head learn the training people
            by heart (out-of-fold AUC .72 for .79 on 300 phantoms).
        weight_decay: penalty of the head's squared weights.
        classification: lambda_cls of Eq. 6.
        latent: weight of the distance to the patient's own latent, beside the paper's terms.
        decode_every: one step in so many decodes a batch for L_rec; the others see latents only.
        decode_batch: patients decoded in such a step.
    """

    folds: int = 5
    blends: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
    adapter_width: int = 32
    steps: int = 150
    learning_rate: float = 1e-4
    weight_decay: float = 1e-1
    classification: float = 1.0
    latent: float = 0.1
    decode_every: int = 25
    decode_batch: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisConfig:
    """From a logit to an answer (`ml.diagnosis`).

    Attributes:
        coverage: share of each class that its conformal set must hold.
        min_inputs: fewer observed inputs than this are answered TOO_FEW.
        range_margin: a value further than this many standard deviations beyond the training
            range is answered OUTSIDE.
    """

    coverage: float = 0.9
    min_inputs: int = 20
    range_margin: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """The 3D CNN that reads scans and pseudo-MRIs (`ml.volume_classifier`) and its training.

    Attributes:
        spacing_mm: voxel edge of what it looks at; finer volumes are averaged over cubes first.
        channels: feature maps of its levels, finest first; each level halves the resolution.
        epochs: passes over the scans.
        batch_size: scans a step.
        learning_rate: peak of the one-cycle schedule of AdamW.
        weight_decay: of AdamW.
        shading: standard deviation of random scale and offset of a whole scan, in z-scores.
        teacher_share: share of the teacher's soft label in what it learns; the rest is the
            recorded label.
        regions_weight: weight of the regional volumes that it learns beside the diagnosis.
        drawn_share: share of the scans of a step that are shown as the decoder draws them from
            their own z with donors' skips. It earned nothing (AUC on held-out pseudo-MRIs .817
            with .3 and with 0), so it is off.
    """

    spacing_mm: float = 4.0
    channels: tuple[int, ...] = (12, 24)
    epochs: int = 8
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    shading: float = 0.05
    teacher_share: float = 0.5
    regions_weight: float = 1.0
    drawn_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The whole model at one size."""

    spacing_mm: float
    unet: UNetConfig
    pretrain: PretrainConfig
    skip_bank: SkipBankConfig = field(default_factory=SkipBankConfig)
    reconstruction: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)
    propagate: PropagateConfig = field(default_factory=PropagateConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    diagnosis: DiagnosisConfig = field(default_factory=DiagnosisConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "tiny": Profile(
            spacing_mm=8.0,
            unet=UNetConfig(
                spacing_mm=8.0,
                channels=(16, 24),
                skip_channels=(0, 8),
                bottleneck_channels=8,
                width=32,
                warp_channels=(16, 8),
                principal=True,
            ),
            pretrain=PretrainConfig(epochs=12, batch_size=8),
            skip_bank=SkipBankConfig(max_donors=8),
            graph=GraphConfig(children=0, width=32),
            propagate=PropagateConfig(steps=40, decode_steps=3),
            distill=DistillConfig(folds=3, steps=40),
        ),
        "4mm": Profile(
            spacing_mm=4.0,
            unet=UNetConfig(
                spacing_mm=4.0,
                channels=(24, 32, 64),
                skip_channels=(16, 32, 0),
                width=128,
                principal=True,
            ),
            pretrain=PretrainConfig(
                epochs=4, mean_skip_share=0.1, neighbour_skip_share=0.5, guess_share=0.25
            ),
        ),
        "2mm": Profile(
            spacing_mm=2.0,
            unet=UNetConfig(
                spacing_mm=2.0,
                channels=(32, 48, 64),
                skip_channels=(16, 32, 0),
                width=128,
                stem_stride=4,
                principal=True,
            ),
            skip_bank=SkipBankConfig(max_donors=12),  # keeps a bundle below 30 MB
            pretrain=PretrainConfig(
                epochs=4,
                batch_size=8,
                mean_skip_share=0.1,
                neighbour_skip_share=0.5,
                guess_share=0.25,
                bfloat16=True,
            ),
        ),
        # Never trained. Twice 2mm's stem keeps the networks as large as there. The atlas alone has
        # 14 of the 40 MB that a bundle may have, so z is narrower and donors are fewer.
        "1mm": Profile(
            spacing_mm=1.0,
            unet=UNetConfig(
                spacing_mm=1.0,
                channels=(32, 48, 64),
                skip_channels=(16, 32, 0),
                width=96,
                stem_stride=8,
                principal=True,
            ),
            skip_bank=SkipBankConfig(max_donors=10),
            pretrain=PretrainConfig(
                epochs=4,
                batch_size=8,
                mean_skip_share=0.1,
                neighbour_skip_share=0.5,
                bfloat16=True,
            ),
        ),
    }
)


def components_only(profile: Profile) -> Profile:
    """A profile without what only pictures need: z is the principal components of the scans.

    No step of the autoencoder is trained and none of the later stages decodes, which takes minutes
    where the whole takes hours. For evaluations of a diagnosis that look at many trainings.
    """
    return replace(
        profile,
        pretrain=replace(profile.pretrain, epochs=0),
        propagate=replace(profile.propagate, decode_steps=0),
        distill=replace(profile.distill, decode_every=profile.distill.steps + 1),
    )
