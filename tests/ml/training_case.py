"""A training as small as one can be that still goes through every stage, and somebody who looks on.

As a script it trains in a process of its own: python -m tests.ml.training_case COHORT RUN OUT TEXT
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from ml.config import PROFILES
from ml.training_plan import Event, TrainingPlan

TINY = PROFILES["tiny"]
QUICK = replace(
    TINY,
    pretrain=replace(TINY.pretrain, epochs=2),
    propagate=replace(TINY.propagate, steps=3, decode_steps=1),
    distill=replace(TINY.distill, folds=3, steps=4, decode_every=2, blends=(0.0, 0.5)),
    classifier=replace(TINY.classifier, epochs=2),
)
PLAN = TrainingPlan(profile="tiny", seed=9, device="cpu")


class Onlooker:
    """Keeps what it is told, and asks to stop when it is told of something."""

    def __init__(self, stop_when: Callable[[Event], bool] = lambda event: False) -> None:
        self.events: list[Event] = []
        self._stop_when = stop_when
        self._stop = False

    def tell(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)
        self._stop = self._stop or self._stop_when(event)

    def stop_asked(self) -> bool:
        """Whether the moment has come."""
        return self._stop

    def stages(self) -> list[str]:
        """The stages that began."""
        return [event.stage for event in self.events if event.kind == "stage"]


class Speaker:
    """Prints what it is told, a line each."""

    def tell(self, event: Event) -> None:
        """Print it."""
        sys.stdout.write(json.dumps(asdict(event) | {"values": dict(event.values)}) + "\n")
        sys.stdout.flush()

    def stop_asked(self) -> bool:
        """Never."""
        return False


def main(cohort: Path, run: Path, out: Path, text_cache: Path) -> None:
    """Train, saving as often as can be."""
    import torch

    from ml.training import run as engine

    torch.set_num_threads(1)
    engine.PROFILES = {"tiny": QUICK}
    engine.run_training(cohort, PLAN, run, out, Speaker(), text_cache=text_cache, save_every_s=0.0)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
