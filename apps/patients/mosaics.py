"""Slices of a volume as one PNG, for browsers that cannot draw the volume itself.

Standard library and Pillow, without numpy: a web process makes the picture, and stays small.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from apps.errors import MirageError

HEADER_BYTES = 348
# NIfTI datatype to the format of a memory view
FORMATS: dict[int, Literal["B", "h", "f", "H"]] = {2: "B", 4: "h", 16: "f", 512: "H"}
SLICES = (0.35, 0.45, 0.55, 0.65)  # of each axis: through the brain, not beside it
TILE = 220  # pixels
GAP = 4
MARK_HEIGHT = 26
INK, PAPER, SYNTHETIC = (170, 178, 185), (0, 0, 0), (243, 161, 226)  # tokens.css: the viewer's
NAMES = ("Sagittal", "Coronal", "Axial")
DARKEST, BRIGHTEST = 0.02, 0.98  # quantiles of the values that become black and white


class UnreadableVolumeError(MirageError):
    """The stored file is not a volume that can be drawn."""


@dataclass(frozen=True, slots=True)
class Volume:
    """Voxels in the order of the file: x fastest."""

    shape: tuple[int, int, int]
    voxels: "memoryview[int] | memoryview[float]"
    toward_left: bool  # whether x grows toward the left of the person


def render(path: Path, *, synthetic: bool) -> bytes:
    """Draw four slices of each orientation, R on the left; a generated volume under its mark."""
    volume = _read(path)
    low, high = _range(volume)
    width = len(SLICES) * TILE + (len(SLICES) + 1) * GAP
    height = MARK_HEIGHT + len(NAMES) * (TILE + GAP) + GAP
    picture = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    for row, axis in enumerate((2, 1, 0)):
        for column, place in enumerate(SLICES):
            corner = (GAP + column * (TILE + GAP), MARK_HEIGHT + GAP + row * (TILE + GAP))
            tile = _tile(volume, axis, int(place * volume.shape[axis]), low, high)
            room = ((TILE - tile.width) // 2, (TILE - tile.height) // 2)
            picture.paste(tile, (corner[0] + room[0], corner[1] + room[1]))
            if column == 0:
                pen.text(
                    (corner[0] + 4, corner[1] + 4), NAMES[axis], INK, ImageFont.load_default(13)
                )
            if axis != 0:
                pen.text(
                    (corner[0] + 4, corner[1] + TILE / 2), "R", INK, ImageFont.load_default(13)
                )
    if synthetic:
        _mark(pen, width)
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _read(path: Path) -> Volume:
    data = path.read_bytes()
    try:
        order = "<" if struct.unpack_from("<i", data)[0] == HEADER_BYTES else ">"
        shape = struct.unpack_from(f"{order}3h", data, 42)
        (datatype,) = struct.unpack_from(f"{order}h", data, 70)
        (offset,) = struct.unpack_from(f"{order}f", data, 108)
        (x_step,) = struct.unpack_from(f"{order}f", data, 280)  # srow_x[0]
        count = shape[0] * shape[1] * shape[2]
        code = FORMATS[datatype]
        voxels = memoryview(data)[int(offset) :][: count * struct.calcsize(code)].cast(code)
    except (struct.error, KeyError, TypeError, ValueError):
        voxels = memoryview(b"")
        count = -1
    if len(voxels) != count or order != "<":
        raise UnreadableVolumeError("The stored volume cannot be read. Have it made again.")
    return Volume(shape=shape, voxels=voxels, toward_left=x_step < 0)


def _range(volume: Volume) -> tuple[float, float]:
    """Grey range of the picture, from every 97th voxel (a prime: no slice is preferred)."""
    values = sorted(volume.voxels[::97])
    low, high = (values[int(part * (len(values) - 1))] for part in (DARKEST, BRIGHTEST))
    return low, high if high > low else low + 1


def _tile(volume: Volume, axis: int, index: int, low: float, high: float) -> Image.Image:
    """One slice as radiologists hang it: head or nose up, the right of the person on the left."""
    x, y, z = volume.shape
    voxels = volume.voxels
    values: Sequence[float]
    if axis == 2:
        values, size = voxels[index * x * y : (index + 1) * x * y].tolist(), (x, y)
    elif axis == 1:
        rows = (voxels[(k * y + index) * x : (k * y + index + 1) * x] for k in range(z))
        values, size = [value for row in rows for value in row], (x, z)
    else:
        values, size = voxels[index::x].tolist(), (y, z)
    scale = 255 / (high - low)
    greys = bytes(min(255, max(0, int((value - low) * scale))) for value in values)
    tile = Image.frombytes("L", size, greys).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    # x toward the left puts R at the first column already; y toward the front must be turned.
    if axis == 0 or not volume.toward_left:
        tile = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    factor = TILE / max(volume.shape)
    return tile.resize((round(size[0] * factor), round(size[1] * factor)), Image.Resampling.BICUBIC)


def _mark(pen: ImageDraw.ImageDraw, width: int) -> None:
    for x in range(-MARK_HEIGHT, width + MARK_HEIGHT, 20):
        pen.line([(x, MARK_HEIGHT), (x + MARK_HEIGHT, 0)], SYNTHETIC, 7)
    words = "SYNTHETIC  pseudo-MRI, decoded from a health record"
    font = ImageFont.load_default(14)
    span = pen.textlength(words, font) + 40
    pen.rectangle([((width - span) / 2, 0), ((width + span) / 2, MARK_HEIGHT + GAP)], PAPER)
    pen.text((width / 2, MARK_HEIGHT / 2), words, SYNTHETIC, font, anchor="mm")
