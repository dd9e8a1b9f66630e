# ruff: noqa: INP001 - a script, run once
"""Draw static/img/sign-in.png: a brain that a health record, dot by dot, turns into.

The MNI152 template at its hippocampus, left half as dots, right half as it is. Run from the
repository's root: `python docs/pictures/sign_in.py`.
"""

from pathlib import Path

import numpy as np
from nilearn.datasets import load_mni152_template
from PIL import Image, ImageDraw

OUT = Path("static/img/sign-in.png")
SLICE_Y_MM = -18
SIDE = 1200  # pixels, drawn twice as large as shown
STEP = 24  # pixels between dots
FADE = 0.16  # of the width, over which dots become picture


def main() -> None:
    image = load_mni152_template(resolution=1)
    column = round((SLICE_Y_MM - image.affine[1, 3]) / image.affine[1, 1])
    slice_ = np.asarray(image.dataobj)[:, column, :].T[::-1]
    rows, columns = np.nonzero(slice_ > 0.05)
    slice_ = slice_[rows.min() - 4 : rows.max() + 5, columns.min() - 4 : columns.max() + 5]
    grey = Image.fromarray((255 * np.clip(slice_, 0, 1)).astype(np.uint8))
    grey = grey.resize((SIDE, round(SIDE * grey.height / grey.width)), Image.Resampling.BICUBIC)
    dots = Image.new("L", grey.size)
    pen = ImageDraw.Draw(dots)
    small = np.asarray(grey, dtype=float) / 255
    for y in range(STEP // 2, grey.height, STEP):
        for x in range(STEP // 2, grey.width, STEP):
            radius = 0.5 * STEP * 0.92 * small[y, x]
            if radius > 1:
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=225)
    place = np.linspace(0, 1, grey.width)
    weight = np.clip((place - (0.5 - FADE / 2)) / FADE, 0, 1)[None, :]
    mixed = weight * np.asarray(grey, float) * 0.92 + (1 - weight) * np.asarray(dots, float)
    picture = Image.fromarray(mixed.astype(np.uint8)).quantize(128)
    picture.save(OUT, optimize=True)


if __name__ == "__main__":
    main()
