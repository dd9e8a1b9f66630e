"""Our training loop beside a bare PyTorch loop; with --whole, the retraining of the demo's model.

The loops take steps in turn over the same network and data at 4 mm, so that a busy machine slows
both: ours tells, saves every 20 s, shows examples and mixes donors' skips, the bare one decodes
with the scan's own skips, adds the same loss and steps. Time to the first step: from the start of
the process, on a small cohort; --whole measures it with 300 people, too.

    python -m benchmarks.bench_training            a minute or two
    python -m benchmarks.bench_training --whole    300 phantoms at 4 mm, all stages, 2 processors
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.stack import ROOT, record
from ml.config import PROFILES
from ml.data.mri import brain_mask
from ml.data.phantom import make_phantom_cohort
from ml.training.checkpoint import Checkpoints
from ml.training.course import Course
from ml.training.pretrain_unet import _loss, fresh_unet, pretrain_unet
from ml.training_plan import Event

RATIO_LIMIT, FIRST_STEP_LIMIT_S, WHOLE_LIMIT_S = 1.15, 20.0, 720.0
SCANS = 60
PEOPLE = 300
PROFILE = PROFILES["4mm"]


class BareLoop:
    """Steps over the same scans with nothing around them, taken after each of ours.

    Attributes:
        ours, bare: seconds of each step.
    """

    def __init__(self, volumes: torch.Tensor) -> None:
        torch.manual_seed(0)
        self.volumes = volumes
        self.unet = fresh_unet(PROFILE.unet).train()
        self.optimiser = torch.optim.AdamW(self.unet.parameters(), PROFILE.pretrain.learning_rate)
        self.mask = torch.tensor(brain_mask(self.unet.grid))
        self.ours: list[float] = []
        self.bare: list[float] = []
        self._since = 0.0

    def tell(self, event: Event) -> None:
        """After one of our steps: one of the bare ones."""
        if event.kind != "step":
            return
        if self._since:
            self.ours.append(time.perf_counter() - self._since)
            began = time.perf_counter()
            self._step(event.step)
            self.bare.append(time.perf_counter() - began)
        self._since = time.perf_counter()

    def stop_asked(self) -> bool:
        """Never."""
        return False

    def _step(self, number: int) -> None:
        size = PROFILE.pretrain.batch_size
        begin = number * size % (len(self.volumes) - size + 1)
        scans = self.volumes[begin : begin + size].float()[:, None]
        z, skips = self.unet.encoder(scans)
        loss = _loss(self.unet, scans, z, skips, self.mask, PROFILE.pretrain)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()


def steps_in_turn() -> BareLoop:
    """Our epochs, with a bare step after each of ours but the first."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    volumes = torch.randn(SCANS, *fresh_unet(PROFILE.unet).grid.shape, generator=generator).half()
    bare = BareLoop(volumes)
    with tempfile.TemporaryDirectory() as folder:
        course = Course(
            bare, Checkpoints(Path(folder), "bench"), examples=Path(folder) / "examples"
        )
        course.stage("autoencoder")
        pretrain_unet(volumes, PROFILE.unet, PROFILE.pretrain, seed=0, part=course.part())
    return bare


def train(
    cohort: Path, profile: str, out: Path, *, threads: int, first_step_alone: bool = False
) -> dict[str, float]:
    """`python -m ml train` in a process of its own; seconds until its first step, and in all.

    Args:
        cohort, profile, out, threads: options of the command.
        first_step_alone: kill it then.
    """
    script = (
        "import sys, time; from ml.progress import Terminal; from ml import __main__ as m\n"
        "def tell(self, event, tell=Terminal.tell):\n"
        "    print(event.kind, event.stage, file=sys.stdout, flush=True)\n"
        "Terminal.tell = tell\n"
        "sys.exit(m.main())"
    )
    options = f"train --cohort {cohort} --profile {profile} --out {out} --threads {threads}"
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen(
        [sys.executable, "-c", script, *options.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    first_s = 0.0
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            if line == "step autoencoder\n" and not first_s:
                first_s = time.perf_counter() - began
                if first_step_alone:
                    child.kill()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "first_step_s": round(first_s, 1),
        "whole_s": round(time.perf_counter() - began, 1),
        "cpu_s": round(cpu_s, 1),
    }


def whole() -> None:
    """The retraining of the demo's model at 4 mm, all stages, on two processors."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_phantom_cohort(folder / "cohort", patients=PEOPLE, spacing_mm=4.0, seed=1)
        figures = train(folder / "cohort", "4mm", folder / "out", threads=2)
        card = json.loads((folder / "out" / "card.json").read_text())
    seconds = card["training"]["seconds"]
    record(
        "training_whole",
        people=PEOPLE,
        **figures,
        limit_s=WHOLE_LIMIT_S,
        first_step_limit_s=FIRST_STEP_LIMIT_S,
        load=round(os.getloadavg()[0], 1),
        stages_s={stage: round(took, 1) for stage, took in seconds.items()},
        auc_test_people=round(card["metrics"]["auc"]["value"], 3),
        passed=figures["whole_s"] <= WHOLE_LIMIT_S
        and figures["first_step_s"] <= FIRST_STEP_LIMIT_S,
    )


def main() -> None:
    if "--whole" in sys.argv:
        whole()
        return
    loops = steps_in_turn()
    ratio = sum(loops.ours) / sum(loops.bare)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_phantom_cohort(folder / "cohort", patients=40, spacing_mm=8.0, seed=1)
        figures = train(folder / "cohort", "tiny", folder / "out", threads=1, first_step_alone=True)
    record(
        "training",
        steps=len(loops.ours),
        our_step_s=round(sum(loops.ours) / len(loops.ours), 3),
        bare_step_s=round(sum(loops.bare) / len(loops.bare), 3),
        ours_to_bare=round(ratio, 3),
        ours_to_bare_limit=RATIO_LIMIT,
        first_step_s=figures["first_step_s"],
        first_step_cpu_s=figures["cpu_s"],
        first_step_limit_s=FIRST_STEP_LIMIT_S,
        load=round(os.getloadavg()[0], 1),
        passed=ratio <= RATIO_LIMIT and figures["first_step_s"] <= FIRST_STEP_LIMIT_S,
    )


if __name__ == "__main__":
    main()
