"""Pictures of what a training draws so far, for the person who watches it.

They show people of the training part, so only somebody who may see their scans may see them.
"""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from PIL import Image, ImageDraw
from torch import Tensor

from ml.data.mri import brain_mask, intensity_range
from ml.losses import ssim
from ml.training.course import MOST_OF_TIME, Course
from ml.unet import UNet3D

SHOWN = 2
LOOK_EVERY_S = 30.0
DARKEST, BRIGHTEST = -2.5, 2.5
"""Z-scores of a picture's black and white."""
LABEL_PIXELS = 16


class Examples:
    """Looks at the first scans of the training part while the autoencoder learns.

    Looking draws no random number and changes no weight. It waits half a minute, or longer if it
    would take more than 2 % of the time; without a folder for pictures nothing is looked at.

    Args:
        course: of the training.
        unet: the autoencoder.
        volumes: normalised scans of training people.
    """

    def __init__(self, course: Course, unet: UNet3D, volumes: Float[Tensor, "patients x y z"]):
        self._course, self._unet = course, unet
        self._scans = volumes[:SHOWN].float()[:, None]
        self._next = monotonic() + LOOK_EVERY_S

    @torch.no_grad()
    def look(self, step: int) -> None:
        """Show scans and reconstructions after a step, if it is time."""
        course = self._course
        if course.examples is None or not course.ranks.first or monotonic() < self._next:
            return
        began = monotonic()
        learning = self._unet.training
        self._unet.eval()
        decoded = self._unet(self._scans.to(course.device)).cpu()
        self._unet.train(learning)
        similar = ssim(
            decoded,
            self._scans,
            torch.from_numpy(brain_mask(self._unet.grid).copy()),
            data_range=intensity_range(self._unet.grid),
        )
        name = f"SSIM of {len(self._scans)} training scans with their own skips"
        course.tell("metric", step=step, values={name: float(similar.mean())})
        show(course, f"autoencoder-{step:06d}", ("scan", "reconstruction"), (self._scans, decoded))
        self._next = monotonic() + max(LOOK_EVERY_S, (monotonic() - began) / MOST_OF_TIME)


def show(
    course: Course,
    name: str,
    kinds: Sequence[str],
    volumes: Sequence[Float[Tensor, "patients 1 x y z"]],
) -> None:
    """Write one picture: a row for each kind of volume, three planes for each person.

    Args:
        course: of the training, which knows the folder and is told.
        name: of the file, without suffix.
        kinds: what the rows are; all but "scan" are marked as synthetic in the picture itself.
        volumes: normalised, one of each kind, of the same people.
    """
    if course.examples is None or not course.ranks.first:
        return
    rows = [
        _labelled(
            np.concatenate([_planes(each.numpy()) for each in of_kind[:SHOWN, 0].float()], axis=1),
            "scan" if kind == "scan" else f"SYNTHETIC {kind}",
        )
        for kind, of_kind in zip(kinds, volumes, strict=True)
    ]
    course.examples.mkdir(parents=True, exist_ok=True)
    path = course.examples / f"{name}.png"
    unfinished = path.with_name(f"{name}.part.png")
    Image.fromarray(np.concatenate(rows)).save(unfinished)
    unfinished.replace(path)  # a page that looks now never sees half a picture
    people = min(SHOWN, len(volumes[0]))
    course.tell(
        "example",
        file=str(Path(course.examples.name) / path.name),
        text=f"Rows: {', '.join(kinds)}. {people} training people, three planes each.",
    )


def _labelled(row: ndarray, label: str) -> ndarray:
    """A row with its name above it, in the picture's own pixels, so that no copy loses it."""
    picture = Image.new("L", (row.shape[1], len(row) + LABEL_PIXELS))
    picture.paste(Image.fromarray(row), (0, LABEL_PIXELS))
    ImageDraw.Draw(picture).text((4, 2), label, fill=255)
    return np.asarray(picture)


def _planes(volume: Float[ndarray, "x y z"]) -> ndarray:
    """Axial, coronal and sagittal plane through the middle side by side, as bytes."""
    x, y, z = (edge // 2 for edge in volume.shape)
    planes = [np.rot90(each) for each in (volume[:, :, z], volume[:, y, :], volume[x, :, :])]
    tallest = max(len(each) for each in planes)
    padded = [
        np.pad(each, ((0, tallest - len(each)), (0, 0)), constant_values=DARKEST) for each in planes
    ]
    grey = (np.concatenate(padded, axis=1) - DARKEST) / (BRIGHTEST - DARKEST)
    scale = max(1, round(128 / tallest))
    picture: ndarray = (np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return picture.repeat(scale, 0).repeat(scale, 1)
