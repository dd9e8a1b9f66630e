"""A training as it is asked for: a plan, a cohort, a folder that it can be resumed from.

`python -m ml train` and the web both come in here, so that the same plan on the same people gives
the same weights.
"""

from collections.abc import Collection
from pathlib import Path

from ml.card import BundleCard
from ml.config import PROFILES, components_only
from ml.training.pipeline import train
from ml.training_plan import Event, TrainingPlan, Watcher


def run_training(
    cohort_folder: Path,
    plan: TrainingPlan,
    run_folder: Path,
    out: Path,
    watcher: Watcher | None = None,
    *,
    command: str = "",
    text_cache: Path | None = None,
    knowledge_file: Path | None = None,
    exclude_persons: Collection[str] = (),
) -> BundleCard:
    """Train every stage of a plan and write the bundle.

    Args:
        cohort_folder: see `ml.data.cohort`.
        plan: what is trained.
        run_folder: what a resumed training needs, example pictures and the snapshot of the data.
        out: folder of the bundle; its files are replaced.
        watcher: who is told, and may ask to stop.
        command: command line, for the card.
        text_cache: folder for text embeddings.
        knowledge_file: a graph other than the default.
        exclude_persons: people of the cohort who take no part at all.
    """
    run_folder.mkdir(parents=True, exist_ok=True)
    settings = PROFILES[plan.profile]
    if not plan.pictures:
        settings = components_only(settings)

    def report(stage: str, done: int, total: int) -> None:
        if watcher is not None:
            watcher.tell(Event(kind="step", stage=stage, step=done, steps=total))

    return train(
        cohort_folder,
        settings,
        plan.seed,
        out,
        report,
        command=command,
        name=plan.name,
        text_cache=text_cache,
        knowledge_file=knowledge_file,
    )
