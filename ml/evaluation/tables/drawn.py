"""Cells of the generative baselines: each draws volumes from records, and the CNN reads them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ml.data.mri import grid
from ml.evaluation.baselines.diffusion import noise_of
from ml.evaluation.baselines.ehr_to_latent import fit_ehr_to_latent
from ml.evaluation.baselines.ehr_to_mri import fit_ehr_to_mri
from ml.evaluation.baselines.latent_diffusion import fit_latent_diffusion
from ml.evaluation.baselines.multimodal_vae import fit_multimodal_vae
from ml.evaluation.baselines.soft_alignment import fit_soft_alignment
from ml.evaluation.baselines.voxel_diffusion import fit_voxel_diffusion
from ml.evaluation.tables.cells import Bench, Made
from ml.evaluation.tables.people import Dealt, Part, people_of
from ml.evaluation.tables.stages import (
    autoencoder_of,
    graph_of,
    in_batches,
    judge_of,
    likeness,
    scored,
)
from ml.mirage import PseudoMRIDecoder
from ml.training.learn import skip_bank

Rows = Int[Tensor, " people"]
Draw = Callable[[Part, Rows], Float[Tensor, "people ..."]]
"""Volumes, or latents, of some people of a part."""
TEST_ROWS_FROM = 1_000_000
"""Numbers of the test people's noise, far from those of the training people."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A generator that was trained without one fold.

    Attributes:
        draw: volumes or latents of people it has not seen.
        losses: of each step of its training; empty for a closed form.
    """

    draw: Draw
    losses: list[float]


def _ehr_to_mri(bench: Bench, dealt: Dealt, rest: Rows, z: Tensor, seed: int) -> Fitted:
    del z
    here, train = grid(bench.settings.model.spacing_mm), dealt.train
    network, losses = fit_ehr_to_mri(
        train.table[rest], train.volumes[rest], here, bench.settings.ehr_to_mri, seed=seed
    )
    return Fitted(lambda part, rows: network(part.table[rows])[:, 0], losses)


def _voxel_diffusion(bench: Bench, dealt: Dealt, rest: Rows, z: Tensor, seed: int) -> Fitted:
    del z
    here, train = grid(bench.settings.model.spacing_mm), dealt.train
    config = bench.settings.voxel_diffusion
    network, losses = fit_voxel_diffusion(
        train.table[rest], train.volumes[rest], here, config, seed=seed
    )

    def draw(part: Part, rows: Rows) -> Tensor:
        noise = noise_of(_numbers(dealt, part, rows), (1, *network.padded), seed)
        return network.draw(part.table[rows], noise, config)

    return Fitted(draw, losses)


def _latent_regression(bench: Bench, dealt: Dealt, rest: Rows, z: Tensor, seed: int) -> Fitted:
    del bench, seed
    predict = fit_ehr_to_latent(dealt.train.table[rest], z[rest])
    return Fitted(lambda part, rows: predict(part.table[rows]), [])


def _multimodal_vae(bench: Bench, dealt: Dealt, rest: Rows, z: Tensor, seed: int) -> Fitted:
    network, losses = fit_multimodal_vae(
        dealt.train.table[rest], z[rest], bench.settings.fast, seed=seed
    )
    return Fitted(lambda part, rows: network(part.table[rows]), losses)


def _latent_diffusion(bench: Bench, dealt: Dealt, rest: Rows, z: Tensor, seed: int) -> Fitted:
    config = bench.settings.latent_diffusion
    network, losses = fit_latent_diffusion(dealt.train.table[rest], z[rest], config, seed=seed)

    def draw(part: Part, rows: Rows) -> Tensor:
        noise = noise_of(_numbers(dealt, part, rows), (z.shape[1],), seed)
        return network.draw(part.table[rows], noise, config)

    return Fitted(draw, losses)


def _numbers(dealt: Dealt, part: Part, rows: Rows) -> Rows:
    return rows if part is dealt.train else rows + TEST_ROWS_FROM


VOXELS = {
    "ehr-to-mri": ("members", "ehr_to_mri"),
    "voxel-diffusion": ("members", "voxel_diffusion"),
}
"""Generators that draw voxels, and the settings that they use."""
LATENTS = {
    "ehr-to-latent": (),
    "mvae": ("fast",),
    "latent-diffusion": ("latent_diffusion",),
}
"""The same of those that draw a latent."""
_FITS = {
    "ehr-to-mri": _ehr_to_mri,
    "voxel-diffusion": _voxel_diffusion,
    "ehr-to-latent": _latent_regression,
    "mvae": _multimodal_vae,
    "latent-diffusion": _latent_diffusion,
}


def make_drawn(bench: Bench, seed: int, *, generator: str) -> Made:
    """Cells `drawn/...`: volumes of people whom the generator has not seen, read by the CNN.

    The generator is trained once without each of some folds (all of them if it is fast), so that
    the threshold comes from training people it had not seen; test people get the mean logit.
    """
    dealt, settings = people_of(bench, seed), bench.settings
    unet, z = autoencoder_of(bench, seed, "default")
    judge = judge_of(bench, seed, dealt)
    people = dealt.training_people(z["train"])
    drawer = PseudoMRIDecoder(unet.decoder, skip_bank(unet, people, settings.model, seed))
    slow = generator in VOXELS
    fit = _FITS[generator]
    members = settings.members if slow else settings.model.distill.folds
    train = torch.full((len(dealt.train),), torch.nan)
    test, losses = [], []
    like: dict[str, float] = {}
    for fold in range(members):
        own = (dealt.fold == fold).nonzero().squeeze(1)
        rest = (dealt.fold != fold).nonzero().squeeze(1)
        fitted = fit(bench, dealt, rest, z["train"], seed * 100 + fold)

        @torch.no_grad()
        def draw(part: Part, rows: Rows, fitted: Fitted = fitted) -> Tensor:
            drawn = fitted.draw(part, rows)
            if slow:
                return drawn
            exclude = [part.persons[row] for row in rows.tolist()]
            volumes: Tensor = drawer(drawn, exclude)
            return volumes[:, 0]

        held = in_batches(own, lambda rows, draw=draw: draw(dealt.train, rows))  # type: ignore[misc]
        train[own] = judge.train(held, own)
        judged = in_batches(
            torch.arange(len(dealt.test)),
            lambda rows, draw=draw: draw(dealt.test, rows),  # type: ignore[misc]
        )
        test.append(judge.test(judged))
        losses.append(fitted.losses[-1] if fitted.losses else None)
        like = like or likeness(bench, dealt, judged)
    both = train, torch.stack(test).mean(0)
    return Made(scored({"cnn": both}, losses=losses, likeness=like))


def make_alignment(bench: Bench, seed: int) -> Made:
    """Cell `alignment`: soft alignment of records and latents, and its head on the record."""
    dealt, settings = people_of(bench, seed), bench.settings
    _, z = autoencoder_of(bench, seed, "default")
    graph = graph_of(bench, seed, "real")
    text = graph.text[graph.column_node]
    train, test = torch.full((len(dealt.train),), torch.nan), []
    for fold in range(settings.model.distill.folds):
        own = (dealt.fold == fold).nonzero().squeeze(1)
        rest = (dealt.fold != fold).nonzero().squeeze(1)
        part = dealt.train
        network, _ = fit_soft_alignment(
            part.table[rest],
            z["train"][rest],
            part.label[rest],
            text,
            settings.fast,
            seed=seed * 100 + fold,
        )
        with torch.no_grad():
            train[own] = network(part.table[own])
            test.append(network(dealt.test.table))
    return Made(scored({"record": (train, torch.stack(test).mean(0))}))
