# ruff: noqa: INP001 - a script, run once
"""Draws docs/pictures/brains.png: phantoms and the pseudo-MRIs decoded from their records.

Run it as `python docs/pictures/brains.py COHORT`, with the 2 mm cohort of results.md.
"""

import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from ml.data.cohort import Cohort
from ml.data.mri import grid, read_volume
from ml.predictor import Predictor
from ml.training.split import split_people

ROOT = Path(__file__).resolve().parents[2]
EACH = 2  # people of each diagnosis, the first of the test part


def main(folder: Path) -> None:
    cohort = Cohort.load(folder)
    predictor = Predictor.load(ROOT / "bundles" / "demo")
    test = split_people(cohort, predictor.card.seed).test
    chosen = [
        each
        for label in (0, 1)
        for each in [one for one in test if cohort.labels[one] == label][:EACH]
    ]
    here = grid(predictor.card.spacing_mm)
    rows = []
    for each in chosen:
        scan = read_volume(cohort.scan_path(each), here)
        with tempfile.TemporaryDirectory() as out:
            path = Path(out) / "pseudo.nii"
            predictor.decode(cohort.records[each], path)
            pseudo = np.asarray(nib.load(path).dataobj, dtype=np.float32)
        rows.append(np.concatenate([_slices(scan), _slices(pseudo)], axis=1))
    picture = Image.fromarray((255 * np.concatenate(rows)).astype(np.uint8))
    picture.resize((picture.width * 2, picture.height * 2)).save(
        ROOT / "docs" / "pictures" / "brains.png", optimize=True
    )


def _slices(volume: np.ndarray) -> np.ndarray:
    """An axial, a coronal and a sagittal slice side by side, bright white matter at 1."""
    shown = np.clip(volume / np.percentile(volume, 99.5), 0, 1)
    slices = [np.rot90(each) for each in (shown[:, :, 42], shown[:, 60, :], shown[40, :, :])]
    tallest = max(each.shape[0] for each in slices)
    return np.concatenate(
        [np.pad(each, ((0, tallest - each.shape[0]), (0, 0))) for each in slices], axis=1
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
