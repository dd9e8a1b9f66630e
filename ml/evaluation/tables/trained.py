"""Cells of MIRAGE itself and of its ablations: trained, its surrogates decoded, and read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ml.config import Profile
from ml.data.mri import brain_mask, grid
from ml.evaluation.heads import neighbour_figures
from ml.evaluation.tables.cells import Bench, Made
from ml.evaluation.tables.people import Dealt, people_of
from ml.evaluation.tables.stages import (
    autoencoder_of,
    graph_of,
    in_batches,
    judge_of,
    likeness,
    profile_with,
    scored,
)
from ml.evaluation.tables.unmasked import learn_unmasked
from ml.mirage import Member, Mirage, PseudoMRIDecoder
from ml.skip_bank import neighbour_weights
from ml.training.learn import Learned, learn_surrogate, one_thread, skip_bank, surrogate_figures
from ml.training.train_reader import donor_labels

NEIGHBOURS = (1, 2, 3, 5, 10, 20)
DONORS = 32
VOTERS = 5
CONTROLLED = 120
COARSE_MM = 16.0


@dataclass(frozen=True, slots=True)
class Variant:
    """MIRAGE with something changed.

    Attributes:
        changes: settings of the profile, as `graph.layers`, and what they become.
        autoencoder, graph: which cells of that kind it learns from.
        masked: whether training hides patients; without, each shows the z that it has to guess.
        coarse: voxels of 16 mm in the place of the autoencoder's latent.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    autoencoder: str = "default"
    graph: str = "real"
    masked: bool = True
    coarse: bool = False

    def profile(self, settings: Profile) -> Profile:
        """The profile with the changes."""
        changed = profile_with(settings, self.autoencoder)
        for path, value in self.changes.items():
            changed = _changed(changed, path, value)
        return changed


def _changed(settings: Any, path: str, value: Any) -> Any:
    """A copy of nested settings in which one has another value.

    Raises:
        ValueError: there is no such setting.
    """
    name, _, rest = path.partition(".")
    if not is_dataclass(settings) or name not in {each.name for each in fields(settings)}:
        raise ValueError(f"There is no setting `{name}` in {type(settings).__name__}.")
    inner = _changed(getattr(settings, name), rest, value) if rest else value
    return replace(cast("Any", settings), **{name: inner})


def make_mirage(bench: Bench, seed: int, *, variant: Variant) -> Made:
    """Cells `mirage/...`: surrogates and logits of everybody, and what the CNN reads of both.

    Training people out of fold, from the member that had not seen them (the CNN reads those of the
    unchanged model alone); test people from the mean of the members. `served` is what the finished
    model says of its own training people.
    """
    dealt, settings = people_of(bench, seed), variant.profile(bench.settings.model)
    unet, z = autoencoder_of(bench, seed, variant.autoencoder)
    bank_people = dealt.training_people(z["train"])
    bank = skip_bank(unet, bank_people, settings, seed)
    drawer = PseudoMRIDecoder(unet.decoder, bank)
    people, voxels = bank_people, None
    if variant.coarse:
        voxels = CoarseVoxels.of(dealt.train.volumes, settings.spacing_mm)
        people = dealt.training_people(voxels.encode(dealt.train.volumes))
        settings = _without_decoding(settings, people.latent.shape[1])
    graph = graph_of(bench, seed, variant.graph)
    mirage = Mirage(dealt.scaler, settings)
    if variant.masked:
        learned = learn_surrogate(mirage, people, graph, unet, bank, seed)
    else:
        with one_thread():
            learned = learn_unmasked(mirage, people, graph, unet, bank, seed)
    reading = mirage.read(dealt.test.findings)
    own = _out_of_fold(mirage, learned, dealt)
    judge = judge_of(bench, seed, dealt)

    def draw(surrogate: Tensor, persons: tuple[str, ...], rows: Tensor) -> Tensor:
        if voxels is not None:
            return voxels.decode(surrogate[rows])
        exclude = [persons[row] for row in rows.tolist()]
        volumes: Tensor = drawer(surrogate[rows], exclude)
        return volumes[:, 0]

    train = dealt.train
    read = torch.full((len(own),), torch.nan)
    if variant == Variant():  # fusions need it; of an ablation nobody asks for a threshold
        rows = torch.arange(len(own))
        read = judge.train(in_batches(rows, lambda some: draw(own, train.persons, some)))
    judged = in_batches(
        torch.arange(len(dealt.test)),
        lambda rows: draw(reading.surrogate, dealt.test.persons, rows),
    )
    scores = {
        "surrogate": (learned.logit, reading.logits.mean(0)),
        "cnn": (read, judge.test(judged)),
    }
    figures = scored(
        scores,
        blend=learned.blend,
        surrogate=surrogate_figures(learned.embedding, people),
        likeness=likeness(bench, dealt, judged),
    )
    served = mirage.read(train.findings)
    tensors = {
        "train_surrogate": own,
        "test_surrogate": reading.surrogate,
        "test_logit": reading.logits.mean(0),
        "served": served.surrogate,
        "served_logit": served.logits.mean(0),
    }
    return Made(figures, tensors)


def _without_decoding(settings: Profile, width: int) -> Profile:
    """The same for a z that no decoder reads."""
    return replace(
        settings,
        unet=replace(settings.unet, width=width),
        propagate=replace(settings.propagate, decode_steps=0),
        distill=replace(settings.distill, decode_every=settings.distill.steps + 1),
    )


@torch.no_grad()
def _out_of_fold(mirage: Mirage, learned: Learned, dealt: Dealt) -> Float[Tensor, "patients width"]:
    surrogate = torch.empty_like(learned.embedding)
    for fold, member in enumerate(mirage.members):
        rows = (dealt.fold == fold).nonzero().squeeze(1)
        surrogate[rows] = cast("Member", member).surrogate(learned.embedding[rows])
    return surrogate


@dataclass(frozen=True, slots=True)
class CoarseVoxels:
    """Averages over cubes of 16 mm inside the brain, standardised: a scan without an autoencoder.

    Attributes:
        mean: of all cubes over the training people.
        spread: of the cubes inside.
        inside: which cubes hold brain.
        cube: edge in voxels.
        shape: of the volumes.
    """

    mean: Float[Tensor, "i j k"]
    spread: Float[Tensor, " cubes"]
    inside: Bool[Tensor, "i j k"]
    cube: int
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, volumes: Float[Tensor, "patients x y z"], spacing_mm: float) -> "CoarseVoxels":
        """Fit to the training people's scans."""
        here, cube = grid(spacing_mm), max(1, round(COARSE_MM / spacing_mm))
        mask = torch.tensor(brain_mask(here)).float()[None]
        inside = cls._averaged(mask, cube)[0] > 0.5
        cubes = cls._averaged(volumes, cube)
        spread = cubes[:, inside].std(0).clamp_min(1e-3)
        return cls(cubes.mean(0), spread, inside, cube, here.shape)

    def encode(self, volumes: Float[Tensor, "patients x y z"]) -> Float[Tensor, "patients cubes"]:
        """Standardised averages."""
        cubes = self._averaged(volumes, self.cube) - self.mean
        return cubes[:, self.inside] / self.spread

    def decode(self, cubes: Float[Tensor, "patients cubes"]) -> Float[Tensor, "patients x y z"]:
        """Volumes in which everything is as blurred as the cubes are."""
        filled = self.mean.repeat(len(cubes), 1, 1, 1)
        filled[:, self.inside] += cubes * self.spread
        stretched = [edge * self.cube for edge in self.inside.shape]
        volumes = functional.interpolate(filled[:, None], size=stretched, mode="trilinear")
        x, y, z = self.shape
        return volumes[:, 0, :x, :y, :z]

    @staticmethod
    def _averaged(volumes: Tensor, cube: int) -> Tensor:
        parts = [
            functional.avg_pool3d(
                part.float()[:, None], cube, ceil_mode=True, count_include_pad=False
            )
            for part in torch.split(volumes, 64)
        ]
        return torch.cat(parts)[:, 0]


def make_neighbours(bench: Bench, seed: int) -> Made:
    """Cell `neighbours`: the surrogates of MIRAGE decoded with the skips of K donors, K = 1 to 20.

    Out of more donors than a bundle keeps, and without a largest weight.
    """
    dealt, settings = people_of(bench, seed), bench.settings.model
    unet, z = autoencoder_of(bench, seed, "default")
    people, judge = dealt.training_people(z["train"]), judge_of(bench, seed, dealt)
    surrogate = bench.tensors("mirage/ours", seed)["test_surrogate"]
    nobody = torch.full((len(dealt.train),), torch.nan)
    scores, like = {}, {}
    for k in NEIGHBOURS:
        donors = replace(settings.skip_bank, max_donors=DONORS, k=k, weight_cap=1.0)
        bank = skip_bank(unet, people, replace(settings, skip_bank=donors), seed)
        drawer = PseudoMRIDecoder(unet.decoder, bank)
        judged = in_batches(
            torch.arange(len(surrogate)),
            lambda rows, drawer=drawer: drawer(surrogate[rows])[:, 0],  # type: ignore[misc]
        )
        scores[f"k={k}"] = nobody, judge.test(judged)
        like[f"k={k}"] = likeness(bench, dealt, judged)
    return Made(scored(scores, likeness=like))


def make_controls(bench: Bench, seed: int) -> Made:
    """Cell `controls`: the controls of trap 7, the neighbours' vote, and the mean brain."""
    dealt, settings = people_of(bench, seed), bench.settings.model
    unet, z = autoencoder_of(bench, seed, "default")
    people, judge = dealt.training_people(z["train"]), judge_of(bench, seed, dealt)
    drawer = PseudoMRIDecoder(unet.decoder, skip_bank(unet, people, settings, seed))
    kept = bench.tensors("mirage/ours", seed)
    figures = neighbour_figures(
        drawer,
        judge.reader,
        kept["test_surrogate"][:CONTROLLED],
        dealt.test.labels[:CONTROLLED],
        donor_labels(people, settings, seed),
        seed=seed,
    )
    vote = (
        _vote(kept["train_surrogate"], z["train"], dealt, dealt.train.persons),
        _vote(kept["test_surrogate"], z["train"], dealt, dealt.test.persons),
    )
    mean = dealt.train.volumes.float().mean(0)[None]
    still = judge.train(mean.expand(len(dealt.train), -1, -1, -1))
    everywhere = still, judge.test(mean).expand(len(dealt.test))
    return Made(scored({"vote": vote, "mean-brain": everywhere}, trap7=figures))


def _vote(
    surrogate: Float[Tensor, "patients width"],
    latent: Float[Tensor, "train width"],
    dealt: Dealt,
    persons: tuple[str, ...],
) -> Float[Tensor, " patients"]:
    """Share of AD among the training people whose scans the surrogate is most like, as a logit."""
    number = {person: place for place, person in enumerate(dict.fromkeys(dealt.train.persons))}
    trained = torch.tensor([number[each] for each in dealt.train.persons])
    asked = torch.tensor([number.get(each, -1) for each in persons])
    allowed = asked[:, None] != trained[None, :]
    weights = neighbour_weights(surrogate, latent, allowed, k=VOTERS, cap=1.0)
    share: Tensor = weights @ dealt.train.label
    return share.clamp(0.01, 0.99).logit()
