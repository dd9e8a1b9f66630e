"""One batch of the autoencoder: in pieces, shared between processes, and when to stop."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from ml.config import PROFILES
from ml.data.mri import brain_mask
from ml.training.course import Course, NotFiniteLossError
from ml.training.pretrain_unet import _Scans, fresh_unet, learn_batch, pretrain_unet
from ml.training.ranks import Ranks
from tests.conftest import ROOT
from tests.ml.training_case import Onlooker

pytestmark = pytest.mark.slow
TINY = PROFILES["tiny"]
BATCH = [5, 0, 3, 2, 4]
OTHER_PROCESS = """
import sys
import torch, torch.distributed as dist
from tests.ml.test_autoencoder_loop import gradients
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=1, world_size=2)
for share_done in (0.0, 1.0):
    gradients(share_done, rank=1, world=2)
dist.destroy_process_group()
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def volumes(patients=6):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(patients, *fresh_unet(TINY.unet).grid.shape, generator=generator)


def gradients(share_done, *, rank=0, world=1, **changes):
    """Loss and gradients of one batch; `share_done` 0 takes mean skips, 1 those of donors."""
    torch.manual_seed(0)
    unet = fresh_unet(TINY.unet).train()
    with torch.no_grad():  # as after some steps: nothing is zero any more
        for weight in unet.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    config = replace(TINY.pretrain, **{"neighbour_skip_share": 1.0, "neighbours": 2} | changes)
    ranks = Ranks(rank, world)
    loss = learn_batch(
        unet,
        _Scans(volumes(), torch.device("cpu")),
        BATCH,
        share_done,
        torch.tensor(brain_mask(unet.grid)),
        config,
        torch.Generator().manual_seed(1),
        ranks,
    )
    ranks.add_gradients(unet.parameters())
    return loss, [weight.grad for weight in unet.parameters()]


def assert_same(one, other):
    assert one[0] == pytest.approx(other[0], abs=1e-6)
    for first, second in zip(one[1], other[1], strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_two_processes_learn_from_a_batch_what_one_learns(tmp_path):
    """Five scans, three and two; mean skips and donors are those of all five."""
    alone = [gradients(share_done) for share_done in (0.0, 1.0)]
    meeting = tmp_path / "meeting"
    other = subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, meeting], cwd=ROOT)
    with other:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=0, world_size=2)
        try:
            shared = [gradients(share_done, rank=0, world=2) for share_done in (0.0, 1.0)]
        finally:
            dist.destroy_process_group()
    assert other.returncode == 0
    for one, two in zip(alone, shared, strict=True):
        assert_same(one, two)
    assert max(float(each.abs().max()) for each in alone[1][1]) > 1e-3


def test_a_batch_in_pieces_gives_the_gradients_of_the_whole():
    """With the scans' own skips; the control takes donors, who come from the same piece."""
    own = {"mean_skip_share": 0.0, "neighbour_skip_share": 0.0}
    assert_same(gradients(1.0, **own), gradients(1.0, **own, accumulate=2))
    with pytest.raises(AssertionError):
        assert_same(gradients(1.0), gradients(1.0, accumulate=2))


def test_training_stops_when_the_scans_that_were_kept_out_gain_no_more():
    """With a rate of nearly 0 nothing is learned, so the first epoch is the best."""
    config = replace(TINY.pretrain, epochs=9, learning_rate=1e-30, patience=2, held_out=4)
    onlooker = Onlooker()
    course = Course(onlooker)
    course.stage("autoencoder")
    _, report = pretrain_unet(volumes(12), TINY.unet, config, seed=0, part=course.part())
    assert report.steps == 3
    told = [event.values for event in onlooker.events if event.kind == "metric"]
    assert len({round(each["loss of scans kept out of the autoencoder"], 6) for each in told}) == 1
    through = replace(config, patience=0, epochs=4)
    assert pretrain_unet(volumes(12), TINY.unet, through, seed=0)[1].steps == 4


def test_a_rate_that_is_far_too_high_stops_at_the_step_that_overflows():
    config = replace(TINY.pretrain, learning_rate=1e30)
    with pytest.raises(NotFiniteLossError, match=r"autoencoder, step \d of 12: .*Batch: scans"):
        pretrain_unet(volumes(8), TINY.unet, config, seed=0)
