"""The one doorway from the registry to the part of `ml` that trains and judges. Only workers use it.

torch is loaded inside the functions, so that a web process never holds it. Nothing of Django is
imported here: the child process of a training, which has neither database nor keys, comes in
through this file, too.
"""

from collections.abc import Callable, Collection
from pathlib import Path

from ml.card import BundleCard
from ml.training_plan import TrainingPlan, Watcher


def train(
    *,
    cohort: Path,
    plan: TrainingPlan,
    run_folder: Path,
    out: Path,
    watcher: Watcher,
    command: str,
    text_cache: Path,
    exclude_persons: Collection[str] = (),
    threads: int = 1,
) -> BundleCard:
    """Train every stage of a plan, from where `run_folder` stands, and write the bundle to `out`.

    Raises:
        StoppedError, NotFiniteLossError, CheckpointError, CohortError: see `ml.training.run`.
    """
    import torch

    from ml.training.run import run_training

    torch.set_num_threads(threads)
    return run_training(
        cohort,
        plan,
        run_folder,
        out,
        watcher,
        command=command,
        text_cache=text_cache,
        exclude_persons=exclude_persons,
    )


def make_phantoms(
    *,
    out: Path,
    people: int,
    spacing_mm: float,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a cohort folder of invented people."""
    from ml.data.phantom import make_phantom_cohort

    make_phantom_cohort(
        out, patients=people, spacing_mm=spacing_mm, seed=seed, workers=1, progress=progress
    )
