"""Which voxels of a head are brain, by the two small networks of deepbet.

Paper: section 3 asks for brain extraction and names no tool; ADR 15 says why this one.
The networks are LinkNets (Chaurasia and Culurciello 2017) in three dimensions: the first finds the
box of the brain in the whole head, the second its outline in that box. Weights come from deepbet's
installed wheel (Fisch et al. 2024, MIT licence); its TorchScript files are zips, from which the
numbers alone are read, in the order of the layers below. Nothing of deepbet is run.
"""

import hashlib
import io
import zipfile
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

WEIGHTS_SHA256 = {
    "bbox_model.pt": "39a7b2b5f799faa1391ea97bfcdc0b9299f20d84f2316a4ff8918dc4685e40aa",
    "model.pt": "de8ee7c69654d0dd3935dc4a5d84571d8ecf4637a6bfc01df399c4c2bc86e0fd",
}
SMALL_EDGE, EDGE = 128, 256
"""Voxels along each axis of what the first and the second network see."""
MARGIN = 0.1
"""How much wider than the brain the box is on each side, as a share of the brain."""
DARKEST, BRIGHTEST = 0.005, 0.995
MEAN, SPREAD = 0.449, 0.226
"""The networks were trained on intensities with this mean and standard deviation."""
SLIM = 0.02
"""A slice of the box that has less brain than this share does not count."""


class BrainExtractionError(ValueError):
    """No brain was found, or the weights are not those that were tested."""


class _Block(nn.Module):
    """Two convolutions and what came in, added."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv3d(inside, outside, 3, stride, padding=1, bias=False),
            nn.InstanceNorm3d(outside),
            nn.ReLU(inplace=True),
            nn.Conv3d(outside, outside, 3, padding=1, bias=False),
            nn.InstanceNorm3d(outside),
        )
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv3d(inside, outside, 1, stride, bias=False), nn.InstanceNorm3d(outside)
            )

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(self.convolutions(maps) + self.shortcut(maps), inplace=True)


def _normed(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm3d(channels), nn.ReLU(inplace=True)]


def _down(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_Block(inside, outside, stride), _Block(outside, outside, 1))


def _up(inside: int, outside: int, stride: int) -> nn.Sequential:
    slim = inside // 4
    widen = nn.ConvTranspose3d(
        slim, slim, 3, stride, padding=1, output_padding=stride - 1, bias=False
    )
    return nn.Sequential(
        *_normed(nn.Conv3d(inside, slim, 1, bias=False), slim),
        *_normed(widen, slim),
        *_normed(nn.Conv3d(slim, outside, 1, bias=False), outside),
    )


class LinkNet3D(nn.Module):
    """Encoder and decoder with sums between them; gives the logit of "brain" for each voxel.

    Paper: none; Chaurasia and Culurciello 2017, as deepbet uses it.

    Shape:
        forward: `(1, 1, edge, edge, edge) -> (1, edge, edge, edge)`, edge a multiple of 32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            *_normed(nn.Conv3d(1, 16, 7, 2, padding=3, bias=False), 16), nn.MaxPool3d(3, 2, 1)
        )
        widths = (16, 16, 32, 64, 128)
        self.down = nn.ModuleList(
            _down(widths[k], widths[k + 1], 1 if k == 0 else 2) for k in range(4)
        )
        self.up = nn.ModuleList(
            _up(widths[k + 1], widths[k], 1 if k == 0 else 2) for k in (3, 2, 1, 0)
        )
        self.last = nn.Sequential(
            *_normed(nn.ConvTranspose3d(16, 8, 3, 2, padding=1, output_padding=1), 8),
            *_normed(nn.Conv3d(8, 8, 3, padding=1), 8),
            nn.ConvTranspose3d(8, 2, 2, 2),
        )

    def forward(
        self, head: Float[Tensor, "1 1 edge edge edge"]
    ) -> Float[Tensor, "1 edge edge edge"]:
        kept = [self.first(head)]
        for down in self.down:
            kept.append(down(kept[-1]))
        maps = kept.pop()
        for up in self.up:
            maps = up(maps) + kept.pop()
        background_and_brain: Tensor = self.last(maps)
        return background_and_brain[:, 1] - background_and_brain[:, 0]


@lru_cache(maxsize=2)
def _network(name: str) -> LinkNet3D:
    content = _weights(name)
    network = LinkNet3D().eval()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        root = archive.namelist()[0].split("/")[0]
        state: dict[str, Tensor] = {}
        for number, (layer, blank) in enumerate(network.state_dict().items()):
            raw = archive.read(f"{root}/data/{number}")
            numbers = np.frombuffer(raw, dtype="<f4").reshape(tuple(blank.shape))
            state[layer] = torch.from_numpy(numbers.copy())
    network.load_state_dict(state)
    return network.requires_grad_(False)


def _weights(name: str) -> bytes:
    remedy = "Install the dependencies again: pip install --constraint constraints.txt -e ."
    try:
        found = [file for file in files("deepbet") or [] if file.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        raise BrainExtractionError(f"The weights {name} of deepbet are not installed. {remedy}")
    content = found[0].read_binary()
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256[name]:
        raise BrainExtractionError(
            f"The installed {name} of deepbet is not the one that was tested. {remedy}"
        )
    return content


def brain_of(head: Float32[ndarray, "x y z"]) -> Bool[ndarray, "x y z"]:
    """The brain's voxels in a T1 volume of a head, of any spacing.

    Args:
        head: raw intensities; axes run left to right, back to front, bottom to top.

    Raises:
        BrainExtractionError: there is no brain in the volume, or it fills next to nothing.
    """
    voxels = torch.from_numpy(np.ascontiguousarray(head))
    with torch.inference_mode():
        small = _resized(voxels, (SMALL_EDGE,) * 3)
        low, high = (float(np.quantile(small.numpy(), share)) for share in (DARKEST, BRIGHTEST))
        if not high > low:
            raise BrainExtractionError(
                "Nearly all voxels are equal; there is no head in the volume. Choose a T1 series."
            )
        coarse = _network("bbox_model.pt")(_scaled(small, low, high))[0] > 0
        box = _box(_largest(coarse.numpy()), head.shape)
        inside = _resized(voxels[box], (EDGE,) * 3)
        logit = _network("model.pt")(_scaled(inside, low, high))[0]
        fine = _resized(logit, voxels[box].shape).numpy() > 0
    mask = np.zeros(head.shape, dtype=np.bool_)
    mask[box] = ndimage.binary_fill_holes(_largest(fine))
    return mask


def _resized(voxels: Float[Tensor, "x y z"], shape: Any) -> Float[Tensor, "i j k"]:
    return functional.interpolate(voxels[None, None], tuple(shape), mode="nearest-exact")[0, 0]


def _scaled(voxels: Float[Tensor, "x y z"], low: float, high: float) -> Float[Tensor, "1 1 x y z"]:
    clipped = ((voxels - low) / (high - low)).clamp(0, 1)
    return (SPREAD * (clipped - clipped.mean()) / clipped.std() + MEAN)[None, None]


def _largest(region: Bool[ndarray, "x y z"]) -> Bool[ndarray, "x y z"]:
    labels, count = ndimage.label(region)
    if count == 0:
        raise BrainExtractionError(
            "No brain was found in the volume. Choose a T1 series of a whole head."
        )
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: Bool[ndarray, "x y z"] = labels == sizes.argmax()
    return largest


def _box(coarse: Bool[ndarray, "x y z"], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The brain's box in the whole volume, a margin around it."""
    box = []
    for axis, edge in enumerate(shape):
        others = tuple(other for other in range(3) if other != axis)
        where = np.flatnonzero(coarse.mean(axis=others) > SLIM)
        if len(where) == 0:
            raise BrainExtractionError(
                "What looks like brain fills next to nothing of the volume. "
                "Choose a T1 series of a whole head."
            )
        scale = edge / coarse.shape[axis]
        centre = round((where[-1] + 1 + where[0]) / 2 * scale)
        half = round((where[-1] + 1 - where[0]) * scale * (1 + 2 * MARGIN)) / 2
        box.append(slice(max(0, int(centre - half)), min(edge, int(centre + half))))
    return tuple(box)
