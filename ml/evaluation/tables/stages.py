"""What several rows share: autoencoders with their latents, knowledge graphs, and the CNN."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import cast

import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor

from ml.bundle import round_decoder
from ml.config import Profile
from ml.data.mri import brain_mask, grid, intensity_range
from ml.data.regions import REGION_NAMES
from ml.evaluation.graph_controls import random_text, rewired
from ml.evaluation.swap import reconstruction, swap_test
from ml.evaluation.tables.cells import Bench, Made
from ml.evaluation.tables.people import Dealt, people_of
from ml.graph_encoder import ConceptGraph
from ml.knowledge_sources.default import read_default
from ml.knowledge_sources.hpo import read_hpo
from ml.losses import ssim
from ml.patient_graph import FindingScaler, graph_with_dictionary
from ml.pseudo_mri_reader import PseudoMRIReader
from ml.text_encoder import TextEncoder
from ml.training.learn import skip_bank
from ml.training.people import soft_target
from ml.training.pretrain_unet import encode, pretrain_unet
from ml.training.teacher import teacher_of
from ml.training.train_reader import train_classifier
from ml.unet import UNet3D
from ml.user_cache import USER_CACHE
from ml.volume_classifier import VolumeClassifier

AT_ONCE = 8


def profile_with(settings: Profile, autoencoder: str) -> Profile:
    """The profile with one of the autoencoders.

    `default`; `components`, principal components of the scans of which no step is trained; `plain`,
    the paper's recipe as far as it is told: a U-Net with skips at every level, always the scan's
    own, and the squared error alone.
    """
    if autoencoder == "default":
        return settings
    if autoencoder == "components":
        return replace(settings, pretrain=replace(settings.pretrain, epochs=0))
    unet = replace(
        settings.unet,
        warp_mm=0.0,
        principal=False,
        skip_channels=tuple(max(8, maps // 2) for maps in settings.unet.channels),
    )
    pretrain = replace(
        settings.pretrain,
        mean_skip_share=0.0,
        neighbour_skip_share=0.0,
        guess_share=0.0,
        ssim_weight=0.0,
    )
    return replace(settings, unet=unet, pretrain=pretrain)


def make_autoencoder(bench: Bench, seed: int, *, autoencoder: str) -> Made:
    """Cells `autoencoder/...`: the weights, and z of everybody."""
    dealt = people_of(bench, seed)
    settings = profile_with(bench.settings.model, autoencoder)
    unet, report = pretrain_unet(dealt.train.volumes, settings.unet, settings.pretrain, seed=seed)
    round_decoder(unet.decoder)
    latents = {
        "train_z": encode(unet, dealt.train.volumes),
        "test_z": encode(unet, dealt.test.volumes),
    }
    shown = slice(0, bench.settings.judged_images)
    people = dealt.training_people(latents["train_z"])
    bank = skip_bank(unet, people, settings, seed)
    volumes = dealt.test.volumes[shown]
    fixed = [level.float().mean(0, keepdim=True) for level in bank.skips]
    swap = swap_test(
        unet.decoder,
        latents["test_z"][shown],
        dealt.test.label[shown].long(),
        fixed,
        volumes.float()[:, None],
        unet.grid,
    )
    persons = dealt.test.persons[shown]
    figures = {
        "training": asdict(report),
        "swap_ratio": swap.ratio,
        "ssim": asdict(reconstruction(unet, bank, volumes, persons)),
    }
    weights = {f"unet.{name}": value for name, value in unet.state_dict().items()}
    return Made(figures, weights | latents)


def autoencoder_of(
    bench: Bench, seed: int, autoencoder: str
) -> tuple[UNet3D, dict[str, Float[Tensor, "patients width"]]]:
    """The frozen autoencoder of a cell, and z of the training and the test people."""
    kept = bench.tensors(f"autoencoder/{autoencoder}", seed)
    unet = UNet3D(profile_with(bench.settings.model, autoencoder).unet)
    prefix = "unet."
    unet.load_state_dict(
        {name.removeprefix(prefix): v for name, v in kept.items() if name.startswith(prefix)}
    )
    unet.decoder.freeze()
    return unet.eval(), {"train": kept["train_z"], "test": kept["test_z"]}


def make_graph(bench: Bench, seed: int, *, graph: str) -> Made:
    """Cells `graph/...`: the knowledge graph under the model's inputs, as tensors.

    `real`; `rewired`, every node with as many edges of each relation as before and other
    neighbours; `no-edges`, the concepts alone; `random-text`, random directions in the place of
    the names.
    """
    scaler = people_of(bench, seed).scaler
    settings, embed = bench.settings.model.graph, TextEncoder(cache=USER_CACHE)
    source = read_default() if settings.diagnoses else read_hpo()
    whole, _ = graph_with_dictionary(source, scaler.concepts, embed, children=settings.children)
    if graph == "rewired":
        whole = rewired(whole, seed)
    text = embed([node.name for node in whole.nodes])
    if graph == "random-text":
        text = random_text(text, seed)
    built = ConceptGraph.build(whole, text, scaler)
    if graph == "no-edges":
        built = replace(built, edge=built.edge[:, :0], relation=built.relation[:0])
    tensors = {name: getattr(built, name) for name in ConceptGraph.__dataclass_fields__}
    return Made({"nodes": len(whole.nodes), "edges": built.edge.shape[1]}, tensors)


def graph_of(bench: Bench, seed: int, graph: str) -> ConceptGraph:
    """The graph of a cell."""
    return ConceptGraph(**bench.tensors(f"graph/{graph}", seed))


def make_cnn(bench: Bench, seed: int) -> Made:
    """Cell `cnn`: the paper's 3D CNN, one for each fold of the training people without it."""
    dealt, settings = people_of(bench, seed), bench.settings.model
    _, z = autoencoder_of(bench, seed, "default")
    people = dealt.training_people(z["train"])
    reader = _fresh_reader(bench, dealt.scaler)
    scans = coarse_for(reader, people.volumes)
    config = settings.classifier
    for fold in range(settings.distill.folds):
        rest = (people.fold != fold).nonzero().squeeze(1)
        others = people.rows(rest)
        reader.members[fold] = train_classifier(
            scans[rest],
            scans[rest],
            soft_target(others.label, teacher_of(others).soft, config.teacher_share),
            others.regions_ml,
            config,
            settings.spacing_mm,
            seed=seed + fold,
        )
    judge = Judge(reader.eval(), dealt)
    tensors = {f"reader.{name}": value for name, value in reader.state_dict().items()}
    tensors["train_logit"] = judge.train(dealt.train.volumes)
    tensors["test_logit"] = judge.test(dealt.test.volumes)
    return Made(scored({"cnn": (tensors["train_logit"], tensors["test_logit"])}), tensors)


def _fresh_reader(bench: Bench, scaler: FindingScaler) -> PseudoMRIReader:
    settings = bench.settings.model
    return PseudoMRIReader(
        settings.classifier,
        settings.spacing_mm,
        members=settings.distill.folds,
        columns=len(scaler.columns),
        regions=len(REGION_NAMES),
    )


def coarse_for(
    reader: PseudoMRIReader, volumes: Float16[Tensor, "patients x y z"]
) -> Float16[Tensor, "patients i j k"]:
    """Volumes as the CNN looks at them."""
    look = cast("VolumeClassifier", reader.members[0]).coarse
    return torch.cat([look(part).half() for part in torch.split(volumes, 32)])


def judge_of(bench: Bench, seed: int, dealt: Dealt) -> "Judge":
    """The CNNs of cell `cnn`."""
    kept, reader = bench.tensors("cnn", seed), _fresh_reader(bench, dealt.scaler)
    prefix = "reader."
    reader.load_state_dict(
        {name.removeprefix(prefix): v for name, v in kept.items() if name.startswith(prefix)}
    )
    return Judge(reader.eval(), dealt)


@dataclass(frozen=True, slots=True)
class Judge:
    """Reads the diagnosis off volumes, whoever drew them.

    Attributes:
        reader: one CNN for each fold.
        dealt: the people.
    """

    reader: PseudoMRIReader
    dealt: Dealt

    def member(self, fold: int) -> VolumeClassifier:
        """The CNN that was trained without a fold."""
        return cast("VolumeClassifier", self.reader.members[fold])

    def test(self, volumes: Float[Tensor, "patients x y z"]) -> Float[Tensor, " patients"]:
        """Mean logit of all CNNs, none of which has seen these people."""
        parts = torch.split(volumes, 32)
        return torch.cat([self.reader.cnn_logit(part) for part in parts])

    @torch.no_grad()
    def train(
        self,
        volumes: Float[Tensor, "patients x y z"],
        rows: Int[Tensor, " patients"] | None = None,
    ) -> Float[Tensor, " patients"]:
        """Logit of the CNN that had not seen the training person whom a volume stands for.

        Args:
            volumes: of some training people.
            rows: who they are; everybody by default.
        """
        fold = self.dealt.fold if rows is None else self.dealt.fold[rows]
        coarse = coarse_for(self.reader, volumes).float()
        logit = torch.empty(len(volumes))
        for number, member in enumerate(self.reader.members):
            own = fold == number
            if bool(own.any()):
                logit[own] = member(coarse[own]).logit
        return logit


def in_batches(
    rows: Int[Tensor, " patients"], draw: Callable[[Tensor], Float[Tensor, "some x y z"]]
) -> Float16[Tensor, "patients x y z"]:
    """Draw the volumes of some people a few at a time, in half precision."""
    return torch.cat([draw(part).half() for part in torch.split(rows, AT_ONCE)])


def likeness(
    bench: Bench, dealt: Dealt, volumes: Float[Tensor, "patients x y z"]
) -> dict[str, float]:
    """SSIM and distance inside the brain of drawn volumes and the test people's own scans."""
    count = min(bench.settings.judged_images, len(volumes))
    here = grid(bench.settings.model.spacing_mm)
    mask, span = torch.tensor(brain_mask(here)), intensity_range(here)
    similar, distance, trivial = [], [], []
    mean = dealt.train.volumes.float().mean(0)[None, None]
    for rows in torch.split(torch.arange(count), AT_ONCE):
        scans, drawn = dealt.test.volumes[rows].float(), volumes[rows].float()
        similar.append(ssim(drawn[:, None], scans[:, None], mask, data_range=span))
        still = mean.expand(len(rows), -1, -1, -1, -1)
        trivial.append(ssim(still, scans[:, None], mask, data_range=span))
        distance.append((drawn - scans).abs()[:, mask].mean(1))
    return {
        "ssim": float(torch.cat(similar).mean()),
        "ssim_mean_brain": float(torch.cat(trivial).mean()),
        "l1": float(torch.cat(distance).mean()),
    }


def scored(scores: dict[str, tuple[Tensor, Tensor]], **more: object) -> dict[str, object]:
    """Figures of a cell that gives scores: of training people out of fold, and of test people.

    A score is a logit; NaN stands for a training person nobody scored.
    """
    found = {
        name: {
            "train": [None if value != value else value for value in train.tolist()],
            "test": test.tolist(),
        }
        for name, (train, test) in scores.items()
    }
    return {"scores": found, **more}
