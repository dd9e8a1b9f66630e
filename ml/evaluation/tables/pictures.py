"""Cell `pictures`: what pseudo-MRIs give away, how real they are, and where the CNN looks."""

import torch
from jaxtyping import Float
from torch import Tensor

from ml.data.mri import brain_mask, grid
from ml.evaluation.grad_cam import faithfulness
from ml.evaluation.membership import frechet_distance, membership, nearest_donor
from ml.evaluation.tables.cells import Bench, Made
from ml.evaluation.tables.people import people_of
from ml.evaluation.tables.stages import autoencoder_of, coarse_for, in_batches, judge_of
from ml.mirage import PseudoMRIDecoder
from ml.skip_bank import choose_donors
from ml.training.learn import skip_bank
from ml.training.pretrain_unet import encode

EXPLAINED = 60
"""Test people whose maps are made."""


def make_pictures(bench: Bench, seed: int) -> Made:
    """Attacks on membership, nearness to donors, Fréchet distances, and Grad-CAM's faithfulness."""
    dealt, settings = people_of(bench, seed), bench.settings.model
    unet, z = autoencoder_of(bench, seed, "default")
    judge, kept = judge_of(bench, seed, dealt), bench.tensors("mirage/ours", seed)
    people = dealt.training_people(z["train"])
    drawer = PseudoMRIDecoder(unet.decoder, skip_bank(unet, people, settings, seed))
    surrogate = kept["test_surrogate"]
    drawn = in_batches(torch.arange(len(surrogate)), lambda rows: drawer(surrogate[rows])[:, 0])
    mask = torch.tensor(brain_mask(grid(settings.spacing_mm)))
    donors = list(choose_donors(dealt.train.persons, settings.skip_bank.max_donors, seed))
    half = len(z["train"]) // 2
    still = drawn.float().mean(0, keepdim=True).expand(len(drawn), -1, -1, -1)
    maps = {}
    for name, volumes in (("scans", dealt.test.volumes), ("pseudo-MRIs", drawn)):
        coarse = coarse_for(judge.reader, volumes[:EXPLAINED]).float()
        inside = coarse_for(judge.reader, mask[None].half())[0] > 0.5
        for kind, elementwise in (("Grad-CAM", False), ("HiResCAM", True)):
            network = judge.member(0)
            found = faithfulness(network, coarse, inside, elementwise=elementwise, seed=seed)
            maps[f"{kind} on {name}"] = found.entries()
    return Made(
        {
            "membership": membership(
                (kept["served"], surrogate),
                (z["train"], z["test"]),
                (kept["served_logit"], kept["test_logit"]),
                (dealt.train.label, dealt.test.label),
            ),
            "donors": nearest_donor(_inside(drawn, mask), _inside(people.volumes[donors], mask)),
            "frechet": {
                "pseudo-MRIs to test scans": frechet_distance(encode(unet, drawn), z["test"]),
                "mean brain to test scans": frechet_distance(encode(unet, still), z["test"]),
                "training scans to test scans": frechet_distance(z["train"], z["test"]),
                "training scans, one half to the other": frechet_distance(
                    z["train"][:half], z["train"][half:]
                ),
            },
            "grad_cam": maps,
        }
    )


def _inside(
    volumes: Float[Tensor, "patients x y z"], mask: Tensor
) -> Float[Tensor, "patients voxels"]:
    return volumes[:, mask].float()
