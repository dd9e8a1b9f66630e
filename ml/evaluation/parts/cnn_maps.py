"""Grad-CAM on the bundle's CNN, and whether its maps show what the CNN used."""

import warnings
from typing import cast

import torch

from ml.data.mri import brain_mask, grid
from ml.evaluation.grad_cam import faithfulness
from ml.evaluation.metrics import Estimate
from ml.evaluation.parts.drawn_people import DrawnPeople
from ml.evaluation.parts.trial import LEAST, Figures, NotToldError, Progress, Trial
from ml.volume_classifier import VolumeClassifier

PEOPLE = 24
KINDS = {"Grad-CAM": False, "HiResCAM": True}
NEEDED = 0.9


def map_figures(trial: Trial, drawn: DrawnPeople, progress: Progress) -> Figures:
    """Faithfulness of both maps on pseudo-MRIs and on scans, of the first CNN of the bundle.

    Raises:
        NotToldError: the bundle holds no CNN, or fewer than five people were drawn.
    """
    network = cast("VolumeClassifier", trial.cnn().members[0])
    if len(drawn) < LEAST:
        raise NotToldError(f"too few: {len(drawn)} people were drawn, {LEAST} are needed")
    here = grid(trial.card.spacing_mm)
    mask = torch.from_numpy(brain_mask(here).copy()).float()
    inside = network.coarse(mask[None])[0] > 0.5
    pictures = {"pseudo-MRIs": drawn.pseudo}
    if drawn.scans is not None:
        pictures["scans"] = drawn.scans
    found: Figures = {}
    for name, guesses in pictures.items():
        for kind, elementwise in KINDS.items():
            with warnings.catch_warnings():
                # A map of shuffled weights may be the same everywhere; it then correlates with
                # nothing, which `faithfulness` counts as 0.
                warnings.simplefilter("ignore")
                one = faithfulness(
                    network,
                    guesses.coarse[:PEOPLE],
                    inside,
                    elementwise=elementwise,
                    seed=trial.seed,
                )
            found[f"{kind} on {name}"] = {**one.entries(), "passed": passed(one.better)}
            progress("maps of the CNN", len(found), len(pictures) * len(KINDS))
    return {"people": min(PEOPLE, len(drawn)), "needed": NEEDED, "maps": found}


def passed(better: Estimate) -> bool:
    """Whether a map may be offered: it beats random voxels in nine of ten people."""
    return better.value >= NEEDED
