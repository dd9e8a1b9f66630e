from dataclasses import replace

import pytest
import torch

from ml.config import PROFILES, UNetConfig
from ml.lattice import depth_to_space, space_to_depth
from ml.unet import UNet3D

TINY = PROFILES["tiny"].unet


@pytest.fixture
def unet():
    torch.manual_seed(0)
    unet = UNet3D(TINY)
    with torch.no_grad():  # untrained, the last layers are zero and would hide everything
        unet.decoder.to_voxels.weight.normal_(std=0.05)
        unet.decoder.displacement.to_mm.weight.normal_(std=0.5)
    return unet.eval()


def _scans(patients=2):
    torch.manual_seed(1)
    return torch.randn(patients, 1, 23, 28, 23)


def test_space_to_depth_loses_nothing():
    volumes = torch.randn(2, 3, 4, 6, 8)
    assert torch.equal(depth_to_space(space_to_depth(volumes, 2), 2), volumes)


def test_an_untrained_decoder_gives_the_mean_brain():
    unet = UNet3D(replace(TINY, warp_mm=0.0)).eval()
    mean = torch.randn(23, 28, 23)
    unet.set_mean_brain(mean)
    torch.nn.init.zeros_(unet.decoder.to_voxels.bias)
    torch.testing.assert_close(unet(_scans()), mean[None, None].expand(2, -1, -1, -1, -1))


@pytest.mark.parametrize("name", ["4mm", "2mm"])
def test_a_scan_comes_back_on_its_own_grid(name):
    unet = UNet3D(PROFILES[name].unet).eval()
    scan = torch.zeros(1, 1, *unet.grid.shape)
    with torch.no_grad():
        z, skips = unet.encoder(scan)
        assert unet.decoder(z, skips).shape == scan.shape
    assert z.shape == (1, PROFILES[name].unet.width)
    stored_mb = sum(skip.numel() * 2 for skip in skips) / 1e6
    assert stored_mb <= 1.3  # of a donor in the bundle


def test_a_patient_alone_and_in_a_batch_is_the_same(unet):
    scans = _scans(5)
    with torch.no_grad():
        together = unet(scans)
        alone = torch.cat([unet(scan[None]) for scan in scans])
        reversed_ = unet(scans.flip(0)).flip(0)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together, reversed_, atol=1e-5, rtol=0)


def test_the_shape_of_the_atlas_comes_from_z_and_from_no_skip(unet):
    """Trap 4 by construction: other skips leave the moved atlas as it is, another z moves it."""
    unet.set_mean_brain(_scans(1)[0, 0])
    with torch.no_grad():
        _, skips = unet.encoder(_scans())
        z = torch.randn(len(skips[0]), TINY.width, generator=torch.Generator().manual_seed(1))
        residual = unet.decoder(z, skips) - unet.decoder.moved_atlas(z)
        other = unet.decoder(z, [skip.flip(0) for skip in skips]) - unet.decoder.moved_atlas(z)
        moved = unet.decoder.moved_atlas(z) - unet.decoder.moved_atlas(z.flip(0))
    assert float((residual - other).abs().max()) > 1e-4
    assert float(moved.abs().max()) > 1e-2


def test_a_displacement_of_one_voxel_moves_the_atlas_by_one_voxel():
    unet = UNet3D(TINY)
    atlas = torch.randn(23, 28, 23)
    unet.set_mean_brain(atlas)
    with torch.no_grad():
        unet.decoder.displacement.to_mm.weight.zero_()
        # tanh(b) * 12 mm = 8 mm along the first axis of the grid
        unet.decoder.displacement.to_mm.bias.copy_(torch.tensor([8 / 12, 0, 0]).atanh())
        moved = unet.decoder.moved_atlas(torch.zeros(1, TINY.width))
    torch.testing.assert_close(moved[0, 0, :-1], atlas[1:], atol=1e-4, rtol=0)


def test_a_frozen_decoder_has_no_gradient_and_stays_frozen(unet):
    unet.decoder.freeze()
    unet.train()
    z, skips = unet.encoder(_scans(4))
    unet.decoder(z, skips).square().mean().backward()

    assert not unet.decoder.training
    assert unet.encoder.training
    assert all(weight.grad is None for weight in unet.decoder.parameters())
    assert any(weight.grad is not None for weight in unet.encoder.parameters())


def test_an_unfrozen_decoder_has_a_gradient(unet):
    """The negative control of the test above."""
    z, skips = unet.encoder(_scans())
    unet.decoder(z, skips).square().mean().backward()
    assert all(weight.grad is not None for weight in unet.decoder.parameters())


def test_a_missing_skip_is_named(unet):
    with pytest.raises(ValueError, match="takes 1 skips and got 0"):
        unet.decoder(torch.zeros(1, TINY.width), [])


def test_volumes_of_another_grid_are_refused(unet):
    with pytest.raises(Exception, match=r"size|shape|dim"):
        unet.encoder(torch.zeros(1, 1, 10, 10, 10))


def test_the_bottleneck_has_the_width_that_was_asked_for():
    config = UNetConfig(
        spacing_mm=8.0, channels=(4, 6), skip_channels=(0, 2), width=7, warp_channels=(4, 4)
    )
    z, _ = UNet3D(config).eval().encoder(_scans())
    assert z.shape == (2, 7)
