"""The 3D U-Net autoencoder: a scan becomes a latent z plus coarse skips, and back."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ml.config import UNetConfig
from ml.data.mri import Grid, brain_mask, grid
from ml.lattice import (
    coarser,
    crop_to,
    depth_to_space,
    pad_to,
    padded_shape,
    space_to_depth,
    stretch,
    voxels_of,
)

Skips = tuple[Tensor, ...]
COARSE_MAPS = 8
"""Cubes of half the stem's edge in a cell of the stem."""


class UNet3D(nn.Module):
    r"""Encoder and decoder of phase 1, in residual form on an atlas of the cohort.

    $$(z, \{s^l\}) = E(x), \qquad \hat x = D(z, \{s^l\})
      = A \circ (\mathrm{id} + u(z)) + r(z, \{s^l\})$$

    Paper: Eq. 1. What follows is ours (ADR on the autoencoder), because a plain U-Net with full
    skips leaves z empty: exchanging z moved the decoded ventricles by nothing (method.md trap 4).
    The atlas A starts as the mean brain of the training scans. z alone moves it by a displacement
    u, so the shape of the ventricles can come from nowhere else, and r adds what a moved atlas
    cannot show. Skips exist at coarse levels only. With `config.principal`, z starts as principal
    components of the training scans and r as their sum, so that training begins where a linear
    autoencoder ends.

    Example:
        >>> from ml.config import PROFILES
        >>> unet = UNet3D(PROFILES["tiny"].unet)
        >>> scans = torch.zeros(2, 1, *unet.grid.shape)
        >>> z, skips = unet.eval().encoder(scans)
        >>> z.shape, unet.decoder(z, skips).shape
        (torch.Size([2, 32]), torch.Size([2, 1, 23, 28, 23]))
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.grid = grid(config.spacing_mm)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def set_mean_brain(self, mean_brain: Float[Tensor, "x y z"]) -> None:
        """Start encoder and decoder from the mean of the normalised training scans."""
        with torch.no_grad():
            self.encoder.mean_brain.copy_(mean_brain[None, None])
            self.decoder.atlas.copy_(mean_brain[None, None])

    def set_components(
        self, project: Float[Tensor, "width features"], basis: Float[Tensor, "width features"]
    ) -> None:
        """Give encoder and decoder the principal components; see `PrincipalMaps`.

        Args:
            project: z is `project` times the coarse features of a scan without the mean brain.
            basis: the coarse features that one unit of each component of z stands for.
        """
        with torch.no_grad():
            self.encoder.principal.weight.copy_(project)
            self.decoder.principal.weight.copy_(basis)

    def forward(
        self, scans: Float[Tensor, "patients 1 x y z"]
    ) -> Float[Tensor, "patients 1 x y z"]:
        """Reconstruct scans with their own skips."""
        z, skips = self.encoder(scans)
        decoded: Tensor = self.decoder(z, skips)
        return decoded


class Encoder(nn.Module):
    """E: a normalised scan to its latent z and its skips, finest first.

    Every component of z has mean 0 and variance 1 over the training scans, so none can be left
    unused and later stages need no scale of their own: z is batch-normalised without scale. With
    principal components that holds from the start, and what the network adds to them is learned
    through statistics that the batch does not move.

    Shape:
        forward: `(patients, 1, x, y, z) -> (patients, width), skips`
    """

    mean_brain: Tensor

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        shape = grid(config.spacing_mm).shape
        self.stem_stride = config.stem_stride
        self.padded = padded_shape(shape, config.stride)
        self.register_buffer("mean_brain", torch.zeros(1, 1, *shape))
        incoming = [config.stem_stride**3, *config.channels[:-1]]
        self.levels = nn.ModuleList(
            _DownLevel(before, after, stride=1 if depth == 0 else 2)
            for depth, (before, after) in enumerate(zip(incoming, config.channels, strict=True))
        )
        self.skips = nn.ModuleList(
            nn.Conv3d(maps, kept, 1) if kept else nn.Identity()
            for maps, kept in zip(config.channels, config.skip_channels, strict=True)
        )
        self.keeps = tuple(kept > 0 for kept in config.skip_channels)
        self.reduce = nn.Conv3d(config.channels[-1], config.bottleneck_channels, 1)
        voxels = voxels_of(coarser(self.padded, config.stride))
        self.to_z = nn.Linear(voxels * config.bottleneck_channels, config.width)
        self.normalise: nn.BatchNorm1d = nn.BatchNorm1d(config.width, affine=False)
        self.has_components = config.principal
        if config.principal:
            self.principal = PrincipalMaps(config)
            nn.init.zeros_(self.to_z.weight)
            nn.init.zeros_(self.to_z.bias)

    def forward(
        self, scans: Float[Tensor, "patients 1 x y z"]
    ) -> tuple[Float[Tensor, "patients width"], Skips]:
        features = space_to_depth(pad_to(scans - self.mean_brain, self.padded), self.stem_stride)
        skips = []
        for level, to_skip, kept in zip(self.levels, self.skips, self.keeps, strict=True):
            features = level(features)
            if kept:
                skips.append(to_skip(features))
        found = self.to_z(self.reduce(features).flatten(1))
        if self.has_components:
            found = found + self.principal.scores(self.coarse_features(scans))
        z: Tensor = self.normalise(found)
        return z, tuple(skips)

    def coarse_features(
        self, scans: Float[Tensor, "patients 1 x y z"]
    ) -> Float[Tensor, "patients features"]:
        """What the principal components are components of."""
        return self.principal.read(pad_to(scans - self.mean_brain, self.padded))

    def train(self, mode: bool = True) -> "Encoder":
        """Set training mode; the statistics of principal components never follow the batch."""
        super().train(mode)
        self.normalise.train(mode and not self.has_components)
        return self


class Decoder(nn.Module):
    """D: a latent and skips, of whoever they are, to a volume. Frozen for good after phase 1.

    Shape:
        forward: `(patients, width), skips -> (patients, 1, x, y, z)`
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.shape = grid(config.spacing_mm).shape
        self.stem_stride = config.stem_stride
        self.coarsest = coarser(padded_shape(self.shape, config.stride), config.stride)
        self.bottleneck_channels = config.bottleneck_channels
        self.atlas = nn.Parameter(torch.zeros(1, 1, *self.shape))
        self.from_z = nn.Linear(config.width, voxels_of(self.coarsest) * config.bottleneck_channels)
        outgoing = [*config.channels[-2::-1], config.channels[0]]
        incoming = [config.bottleneck_channels, *config.channels[-2::-1]]
        self.keeps = tuple(kept > 0 for kept in config.skip_channels[::-1])
        self.has_components = config.principal
        beside = [0] * (len(outgoing) - 1) + [COARSE_MAPS if config.principal else 0]
        self.levels = nn.ModuleList(
            _ResidualLevel(before + kept + more, after)
            for before, kept, more, after in zip(
                incoming, config.skip_channels[::-1], beside, outgoing, strict=True
            )
        )
        if config.principal:
            self.principal = PrincipalMaps(config)
        self.to_voxels = nn.Conv3d(config.channels[0], config.stem_stride**3, 3, padding=1)
        nn.init.zeros_(self.to_voxels.weight)
        self.displacement = _Displacement(config) if config.warp_mm else None
        self.frozen = False

    def freeze(self) -> "Decoder":
        """Rule out any later change: no gradient, and `train()` does not undo evaluation mode."""
        self.frozen = True
        return self.requires_grad_(False).train(False)

    def train(self, mode: bool = True) -> "Decoder":
        """Set training mode, unless frozen."""
        return super().train(mode and not self.frozen)

    def forward(
        self, z: Float[Tensor, "patients width"], skips: Sequence[Tensor]
    ) -> Float[Tensor, "patients 1 x y z"]:
        if len(skips) != sum(self.keeps):
            raise ValueError(f"The decoder takes {sum(self.keeps)} skips and got {len(skips)}.")
        coarse = self.from_z(z).unflatten(1, (self.bottleneck_channels, *self.coarsest))
        waiting = list(skips)
        features = coarse
        for depth, (level, kept) in enumerate(zip(self.levels, self.keeps, strict=True)):
            if depth:
                features = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            if kept:
                features = torch.cat((features, waiting.pop()), dim=1)
            if self.has_components and depth == len(self.levels) - 1:
                linear = self.principal.write(z)
                features = torch.cat((features, linear), dim=1)
            features = level(features)
        residual = depth_to_space(self.to_voxels(features), self.stem_stride)
        if self.has_components:
            half = depth_to_space(linear, 2)
            residual = residual + stretch(half, self.stem_stride // 2)
        decoded: Tensor = crop_to(residual, self.shape) + self.moved_atlas(z)
        return decoded

    def moved_atlas(self, z: Float[Tensor, "patients width"]) -> Float[Tensor, "patients 1 x y z"]:
        """The atlas under the displacement that z asks for; the part of D that sees no skip."""
        atlas = self.atlas.expand(z.shape[0], -1, -1, -1, -1)
        if self.displacement is None:
            return atlas
        moved: Tensor = functional.grid_sample(
            atlas, self.displacement.sampling_grid(z), padding_mode="border", align_corners=True
        )
        return moved


class PrincipalMaps(nn.Module):
    """Principal components over the cells of the stem that hold brain.

    A coarse feature is the mean of a cube of half the stem's edge; a cell of the stem has eight.
    The components are fitted once (`ml.training.components`) and never trained.

    Args:
        config: of the autoencoder.
    """

    weight: Tensor
    cells: Tensor

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        here = grid(config.spacing_mm)
        self.cube = config.stem_stride // 2
        self.coarse = coarser(padded_shape(here.shape, config.stride), config.stem_stride)
        inside = pad_to(
            torch.tensor(brain_mask(here))[None, None].float(),
            padded_shape(here.shape, config.stride),
        )
        held = functional.max_pool3d(inside, config.stem_stride)
        around = functional.max_pool3d(held, 3, stride=1, padding=1)  # bigger heads than the mean
        self.register_buffer("cells", around.flatten().nonzero().squeeze(1), persistent=False)
        self.register_buffer("weight", torch.zeros(config.width, COARSE_MAPS * len(self.cells)))

    def read(self, padded: Float[Tensor, "patients 1 x y z"]) -> Float[Tensor, "patients features"]:
        """The coarse features of volumes, from which the mean brain was taken off."""
        cubes = functional.avg_pool3d(padded, self.cube) if self.cube > 1 else padded
        return space_to_depth(cubes, 2).flatten(2)[:, :, self.cells].flatten(1)

    def scores(
        self, features: Float[Tensor, "patients features"]
    ) -> Float[Tensor, "patients width"]:
        """Products of coarse features with each row of the weight, in single precision."""
        with torch.autocast(features.device.type, enabled=False):
            return features.float() @ self.weight.T

    def write(self, z: Float[Tensor, "patients width"]) -> Float[Tensor, "patients 8 i j k"]:
        """The sum of the components, as maps on the cells of the stem; 0 outside the brain."""
        with torch.autocast(z.device.type, enabled=False):
            features = (z.float() @ self.weight).reshape(len(z), COARSE_MAPS, -1)
        maps = features.new_zeros(len(z), COARSE_MAPS, voxels_of(self.coarse))
        filled: Tensor = maps.index_copy(2, self.cells, features)
        return filled.reshape(len(z), COARSE_MAPS, *self.coarse)


class _Displacement(nn.Module):
    """From z to a smooth displacement u of the atlas, in mm along the axes of the grid."""

    identity: Tensor
    mm_to_unit: Tensor

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.grid: Grid = grid(config.spacing_mm)
        self.coarsest = coarser(padded_shape(self.grid.shape, config.stride), config.stride)
        self.limit_mm = config.warp_mm
        # The lattice of displacements covers the padded box; `extent` is the share that is volume.
        self.lattice_stride = config.stride // 2 ** (len(config.warp_channels) - 1)
        first, *others = config.warp_channels
        self.first = first
        self.from_z = nn.Linear(config.width, first * voxels_of(self.coarsest))
        self.levels = nn.ModuleList(
            nn.Conv3d(before, after, 3, padding=1)
            for before, after in zip([first, *others[:-1]], others, strict=True)
        )
        self.to_mm = nn.Conv3d(config.warp_channels[-1], 3, 3, padding=1)
        nn.init.normal_(self.to_mm.weight, std=1e-3)
        axes = [torch.linspace(-1, 1, edge) for edge in self.grid.shape]
        self.register_buffer(
            "identity", torch.stack(torch.meshgrid(*axes, indexing="ij"))[None], persistent=False
        )
        edges = torch.tensor(self.grid.shape, dtype=torch.float32)
        to_unit = 2 / ((edges - 1) * self.grid.spacing_mm)
        self.register_buffer("mm_to_unit", to_unit.reshape(1, 3, 1, 1, 1), persistent=False)

    def forward(self, z: Float[Tensor, "patients width"]) -> Float[Tensor, "patients 3 i j k"]:
        """Displacement in mm on a coarse lattice over the padded volume."""
        features = self.from_z(z).unflatten(1, (self.first, *self.coarsest))
        for level in self.levels:
            features = functional.leaky_relu(level(stretch(features, 2)), 0.1)
        return self.limit_mm * torch.tanh(self.to_mm(features))

    def roughness(self, z: Float[Tensor, "patients width"]) -> Float[Tensor, ""]:
        r"""$\lVert\nabla u\rVert^2$ in mm per mm: what makes a moved atlas fold over or tear."""
        displacement_mm = self(z)
        step_mm = self.lattice_stride * self.grid.spacing_mm
        slopes = [(displacement_mm.diff(dim=axis) / step_mm).square().mean() for axis in (2, 3, 4)]
        return torch.stack(slopes).sum()

    def sampling_grid(
        self, z: Float[Tensor, "patients width"]
    ) -> Float[Tensor, "patients x y z 3"]:
        """Where each voxel of the decoded volume looks in the atlas, as `grid_sample` wants it."""
        moved_mm = stretch(self(z), self.lattice_stride)
        places = self.identity + crop_to(moved_mm, self.grid.shape) * self.mm_to_unit
        return places.flip(1).permute(0, 2, 3, 4, 1)


class _ResidualLevel(nn.Module):
    """Two convolutions with a shortcut; normalising would erase how strong a change is."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.enter = nn.Conv3d(before, after, 3, padding=1)
        self.refine = nn.Conv3d(after, after, 3, padding=1)
        nn.init.zeros_(self.refine.weight)

    def forward(self, features: Tensor) -> Tensor:
        entered = functional.leaky_relu(self.enter(features), 0.1)
        return functional.leaky_relu(entered + self.refine(entered), 0.1)


class _DownLevel(nn.Module):
    """One level of the encoder: halve the resolution (not at the stem), then refine."""

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.enter = nn.Conv3d(before, after, 3, padding=1, stride=stride)
        self.refine = nn.Conv3d(after, after, 3, padding=1)
        nn.init.zeros_(self.refine.weight)

    def forward(self, features: Tensor) -> Tensor:
        entered = functional.leaky_relu(self.enter(features), 0.1)
        return functional.leaky_relu(entered + self.refine(entered), 0.1)
