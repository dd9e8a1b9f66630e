"""The autoencoder on OASIS-1: does z of real people hold their anatomy, and does D listen to it?

Trained on three persons in four; every figure is of the others, one scan each.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import norm
from sklearn.linear_model import RidgeCV
from torch import Tensor

from ml.config import PROFILES, Profile
from ml.data.cohort import Cohort, split_by_person
from ml.data.mri import grid
from ml.data.oasis import read_oasis
from ml.data.regions import REGION_NAMES, regional_volumes_ml, ventricle_ml
from ml.data.structures import STRUCTURES, structure_volumes_ml
from ml.evaluation.metrics import Estimate
from ml.evaluation.oasis import Scanned
from ml.evaluation.swap import reconstruction
from ml.evaluation.tables import shown
from ml.skip_bank import SkipBank, choose_donors
from ml.training.course import Course, Reporting
from ml.training.learn import one_thread
from ml.training.pretrain_unet import encode, encode_with_skips, pretrain_unet
from ml.training.teacher import RIDGES
from ml.unet import UNet3D

Progress = Callable[[str, int, int], None]
FRACTIONS = {"train": 0.75, "held_out": 0.25}
YOUNG_TO_YEARS, OLD_FROM_YEARS = 40, 60
DRAWS = 2_000
AT_ONCE = 16
HORNS = ("left_temporal_horn_csf", "right_temporal_horn_csf")


def autoencoder_on_oasis(
    folder: Path,
    *,
    seed: int = 1,
    profile: str | Profile = "4mm",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train phase 1 as the profile says, and measure it on people it has not seen.

    Args:
        folder: OASIS-1, see `ml.data.oasis`.
        seed: of the split and of the training.
        profile: voxel size and sizes of the model.
        progress: called with what is being done, steps done and steps in all.

    Returns:
        JSON: correlations of volumes read from z with the scans' own, SSIM, swap ratios.

    Raises:
        CohortError: the folder is not OASIS-1, or holds too few people.
        VolumeError: a scan cannot be used.
    """
    report = progress or _silent
    settings = PROFILES[profile] if isinstance(profile, str) else profile
    cohort = read_oasis(folder).cohort
    people = Scanned.read(cohort, settings.spacing_mm, report)
    rows = _split(people, seed)
    course = Course(Reporting(report))
    course.stage("autoencoder")
    unet, pretrained = pretrain_unet(
        people.volumes[rows["train"]],
        settings.unet,
        settings.pretrain,
        seed=seed,
        part=course.part(),
    )
    course.stage("measuring")
    with one_thread():
        measured = _measured(unet, cohort, people, rows, settings, seed)
    course.end()
    return {
        "spacing_mm": settings.spacing_mm,
        "seed": seed,
        "trained_on_scans": len(rows["train"]),
        "held_out_people": len(rows["held_out"]),
        "losses": pretrained.losses,
        "components_share": pretrained.components_share,
        **measured,
        "seconds": course.laps,
    }


def _measured(
    unet: UNet3D,
    cohort: Cohort,
    people: Scanned,
    rows: Mapping[str, Tensor],
    settings: Profile,
    seed: int,
) -> dict[str, Any]:
    persons = [people.persons[row] for row in rows["train"]]
    donors = torch.tensor(choose_donors(persons, settings.skip_bank.max_donors, seed))
    z, skips = encode_with_skips(unet, people.volumes[rows["train"]][donors])
    bank = SkipBank.build(z, skips, [persons[row] for row in donors], settings.skip_bank)
    held = people.volumes[rows["held_out"]]
    similar = reconstruction(unet, bank, held, [people.persons[row] for row in rows["held_out"]])
    return {
        "ssim": asdict(similar),
        "volumes_from_z": _volumes_from_z(unet, people, _own_volumes(cohort), rows),
        "swap": _swaps(unet, bank, people, rows["held_out"], seed),
    }


def _split(people: Scanned, seed: int) -> dict[str, Tensor]:
    """Rows of the two parts; of the held-out, the first scan of each person."""
    by_row = {str(row): person for row, person in enumerate(people.persons)}
    parts = split_by_person(by_row, seed=seed, fractions=FRACTIONS)
    first = {person: row for row, person in reversed(list(enumerate(people.persons)))}
    held = [int(row) for row in parts["held_out"] if first[by_row[row]] == int(row)]
    return {
        "train": torch.tensor([int(row) for row in parts["train"]]),
        "held_out": torch.tensor(held),
    }


def _own_volumes(cohort: Cohort) -> dict[str, Float[ndarray, " scans"]]:
    """Volumes of each scan in ml, read on the finest grid there is of it."""
    ids = cohort.ids_with_scan()
    here = cohort.scan_grid or grid(2.0)
    found = []
    for start in range(0, len(ids), AT_ONCE):
        scans = torch.from_numpy(cohort.normalised_volumes(ids[start : start + AT_ONCE], here))
        horns = regional_volumes_ml(scans, here)[:, [REGION_NAMES.index(each) for each in HORNS]]
        found.append(torch.cat([structure_volumes_ml(scans, here), horns.sum(1, True)], dim=1))
    names = (*STRUCTURES, "CSF beside the hippocampi")
    table = torch.cat(found).double().numpy()
    return {name: table[:, column] for column, name in enumerate(names)}


def _volumes_from_z(
    unet: UNet3D,
    people: Scanned,
    own_ml: Mapping[str, Float[ndarray, " scans"]],
    rows: Mapping[str, Tensor],
) -> dict[str, dict[str, float]]:
    """Correlation of volumes read from z by ridge regression with those read off the scan."""
    z = {name: encode(unet, people.volumes[each]).double().numpy() for name, each in rows.items()}
    found = {}
    for name, volume in own_ml.items():
        model = RidgeCV(RIDGES).fit(z["train"], volume[rows["train"]])
        read, own = model.predict(z["held_out"]), volume[rows["held_out"]]
        found[name] = asdict(correlation(read, own)) | {
            "mean_error_ml": float(np.abs(read - own).mean()),
            "spread_ml": float(own.std()),
        }
    return found


def correlation(first: Float[ndarray, " people"], second: Float[ndarray, " people"]) -> Estimate:
    """Pearson's r with Fisher's interval.

    Example:
        >>> r = correlation(np.arange(20.0), np.arange(20.0) + np.tile([2.0, -2.0], 10))
        >>> round(r.value, 2), round(r.low, 2), round(r.high, 2)
        (0.94, 0.86, 0.98)
    """
    r = float(np.corrcoef(first, second)[0, 1])
    reach = float(norm.ppf(0.975)) / math.sqrt(len(first) - 3)
    bounds = [math.tanh(math.atanh(min(r, 1 - 1e-12)) + side * reach) for side in (-1, 1)]
    return Estimate(value=r, low=bounds[0], high=bounds[1], n=len(first))


@torch.no_grad()
def _swaps(
    unet: UNet3D, bank: SkipBank, people: Scanned, held: Tensor, seed: int
) -> dict[str, dict[str, Any]]:
    """How much of a group difference in ventricles decoding shows with the same skips for all."""
    z = encode(unet, people.volumes[held])
    skips = [level.float().mean(0, keepdim=True) for level in bank.skips]
    decoded = torch.cat(
        [
            ventricle_ml(
                unet.decoder(part, [level.expand(len(part), -1, -1, -1, -1) for level in skips])[
                    :, 0
                ],
                unet.grid,
            )
            for part in torch.split(z, 8)
        ]
    ).numpy()
    own = torch.cat(
        [ventricle_ml(part, unet.grid) for part in torch.split(people.volumes[held], 8)]
    ).numpy()
    ages, label = people.ages[held], people.label[held].numpy()
    old, young = ages >= OLD_FROM_YEARS, ages < YOUNG_TO_YEARS
    return {
        f"CDR above 0 and CDR 0, from {OLD_FROM_YEARS} years": group_shift(
            decoded, own, label == 1, label == 0, seed
        ),
        f"from {OLD_FROM_YEARS} years and under {YOUNG_TO_YEARS}": group_shift(
            decoded, own, old, young, seed
        ),
    }


def group_shift(
    decoded_ml: Float[ndarray, " people"],
    own_ml: Float[ndarray, " people"],
    first: Bool[ndarray, " people"],
    second: Bool[ndarray, " people"],
    seed: int,
) -> dict[str, Any]:
    """Difference of two groups in decoded and in true volumes, and their ratio with its interval.

    People are drawn anew within each group. Where draws do not even agree on the sign of the true
    difference, a ratio to it says nothing and there is none.

    Args:
        decoded_ml, own_ml: ventricles as decoded and of the scan itself.
        first, second: who is in which group.
        seed: of the drawing.
    """
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(each) for each in (first, second)]
    if min(map(len, groups)) < 2:
        return {"people": [len(each) for each in groups], "ratio": None}

    def shift(volume: ndarray, rows: list[ndarray]) -> float:
        return float(volume[rows[0]].mean() - volume[rows[1]].mean())

    drawn = [[rng.choice(each, len(each)) for each in groups] for _ in range(DRAWS)]
    true = np.array([shift(own_ml, rows) for rows in drawn])
    found: dict[str, Any] = {
        "people": [len(each) for each in groups],
        "true_ml": shift(own_ml, groups),
        "true_ml_interval": np.percentile(true, [2.5, 97.5]).tolist(),
        "decoded_ml": shift(decoded_ml, groups),
        "ratio": None,
    }
    low, high = found["true_ml_interval"]
    if low * high > 0:
        ratios = np.array([shift(decoded_ml, rows) for rows in drawn]) / true
        low, high = np.percentile(ratios, [2.5, 97.5])
        value = found["decoded_ml"] / found["true_ml"]
        found["ratio"] = asdict(
            Estimate(value=value, low=float(low), high=float(high), n=sum(found["people"]))
        )
    return found


def readable(results: Mapping[str, Any]) -> str:
    """The figures as Markdown tables."""
    lines = ["| read from z | r with the scan's own | mean error, ml | spread, ml |"]
    lines.append("| --- " * 4 + "|")
    for name, each in results["volumes_from_z"].items():
        errors = f"{each['mean_error_ml']:.1f} | {each['spread_ml']:.1f}"
        lines.append(f"| {name} | {shown(each)} | {errors} |")
    lines += ["", "| SSIM inside the brain | |", "| --- | --- |"]
    lines += [f"| {name} | {value:.3f} |" for name, value in results["ssim"].items()]
    lines += ["", "| ventricles of | people | true, ml | decoded, ml | swap ratio |"]
    lines.append("| --- " * 5 + "|")
    for name, each in results["swap"].items():
        people = " and ".join(map(str, each["people"]))
        true, decoded = (f"{each.get(key, math.nan):.1f}" for key in ("true_ml", "decoded_ml"))
        ratio = shown(each["ratio"]) or "not told"
        lines.append(f"| {name} | {people} | {true} | {decoded} | {ratio} |")
    return "\n".join(lines)


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
