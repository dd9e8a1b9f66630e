"""The one doorway from the registry to what trains and judges in `ml`. Only workers use it.

torch is loaded inside the functions, so that a web process never holds it. Nothing of Django is
imported here: the child process of a training, which has neither database nor keys, comes in
through this file, too.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from apps.errors import MirageError
from ml.card import BundleCard
from ml.training_plan import TrainingError, TrainingPlan, Watcher
from ml.user_cache import USER_CACHE


class TrainingStoppedError(Exception):
    """A training stopped because it was asked to; what it had is saved."""


class TrainingRefusedError(MirageError):
    """A training cannot go on; what it had at its last checkpoint is kept."""


def train(
    *,
    cohort: Path,
    plan: TrainingPlan,
    run_folder: Path,
    out: Path,
    watcher: Watcher,
    command: str,
    exclude_persons: Collection[str] = (),
    threads: int = 1,
) -> BundleCard:
    """Train every stage of a plan, from where `run_folder` stands, and write the bundle to `out`.

    Raises:
        TrainingStoppedError: the watcher asked for it.
        TrainingRefusedError: the people, a loss, the device, a checkpoint or the disk do not allow
            it; the text says which and what to do.
    """
    import torch

    from ml.data.cohort import CohortError
    from ml.data.mri import VolumeError
    from ml.training.course import StoppedError
    from ml.training.people import NothingToLearnError
    from ml.training.run import run_training

    torch.set_num_threads(threads)
    try:
        return run_training(
            cohort,
            plan,
            run_folder,
            out,
            watcher,
            command=command,
            text_cache=USER_CACHE,
            exclude_persons=exclude_persons,
        )
    except StoppedError as error:
        raise TrainingStoppedError from error
    except (CohortError, VolumeError, NothingToLearnError, TrainingError) as error:
        raise TrainingRefusedError(str(error)) from error
    except MemoryError as error:
        raise TrainingRefusedError(
            "The training needs more memory than there is. Choose a coarser profile or fewer "
            "people, or run it on a machine with more memory."
        ) from error


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


HOLDOUT_SEEDS = 2**40
"""Added to the seed of invented holdouts, so that no training has the same people."""


def invent_holdout(
    *,
    out: Path,
    people: int,
    spacing_mm: float,
    seed: int,
    mark: str,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a cohort folder of invented people whom no training invents.

    Their names carry a mark: the phantoms of every cohort are called sub-0001 and on, and a name
    that somebody bears who trained a bundle keeps a person from judging it.
    """
    from ml.data.phantom import make_phantom_cohort

    make_phantom_cohort(
        out,
        patients=people,
        spacing_mm=spacing_mm,
        seed=HOLDOUT_SEEDS + seed,
        workers=1,
        mark=f"{mark}x",
        progress=progress,
    )


class UnfitHoldoutError(MirageError):
    """A bundle cannot be judged on a holdout; the text says why and what to do."""

    @classmethod
    def of(cls, error: Exception) -> "UnfitHoldoutError":
        """A refusal of `ml`; what its command line would have one do about names cannot be done."""
        said, is_about_names, _ = str(error).partition(" If they are other people whose ids")
        return cls(f"{said} Freeze other people, and ask again." if is_about_names else said)


def check_gates(
    *, candidate: Path, champion: Path | None, holdout: Path, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """The gates of a candidate beside the champion, as JSON.

    Raises:
        UnfitHoldoutError: people of the holdout trained the candidate, they are too few, or a
            bundle cannot be read.
    """
    import torch

    from ml.card import BundleError
    from ml.data.cohort import CohortError
    from ml.evaluation.promotion import check_gates as gates_of

    torch.set_num_threads(1)
    try:
        return gates_of(candidate, champion, holdout, progress=progress)
    except (BundleError, CohortError) as error:
        raise UnfitHoldoutError.of(error) from error


def evaluate(
    *,
    bundle: Path,
    holdout: Path,
    name: str,
    is_quick: bool,
    out: Path,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Everything that is to be known of a bundle on people set aside, as `python -m ml evaluate`.

    Args:
        bundle: its folder.
        holdout: cohort folder of the people.
        name: what people call the holdout.
        is_quick: whether it is held against logistic regression alone, and few people's pictures
            and explanations are judged.
        out: folder that the report is written to: a page, its script, every number as JSON.
        progress: told the stage, how much of it is done, and of how much.

    Returns:
        JSON: `view`, all that a page shows, and `headline`, the AUC with its interval and how many
        people it is of.

    Raises:
        UnfitHoldoutError: people of the holdout trained the bundle, they are too few, or the
            bundle cannot be read.
    """
    import torch

    from ml.card import BundleError, read_card
    from ml.data.cohort import Cohort, CohortError
    from ml.evaluation.evaluate import EvaluationSettings, evaluate_bundle
    from ml.evaluation.judged_people import judged_people
    from ml.evaluation.report import view_of, write_report

    torch.set_num_threads(1)
    few = EvaluationSettings(others=("lr",), images=24, explained=8)
    settings = few if is_quick else EvaluationSettings()
    try:
        people = judged_people(Cohort.load(holdout), bundle, new=False, most=settings.most)
        if people.trained:
            raise UnfitHoldoutError(
                f"{name} is dealt as the people who trained this bundle were: {len(people)} of "
                "them tested it and the others trained it. Freeze a holdout of other people."
            )
        results = evaluate_bundle(bundle, holdout, settings, progress=progress)
        card = read_card(bundle)
    except (BundleError, CohortError) as error:
        raise UnfitHoldoutError.of(error) from error
    about = results["about"]
    about["cohort"] = name
    write_report(results, card, out)
    headline = {"auc": results["bundle"]["auc"]} | {
        key: about[key] for key in ("people", "with_ad")
    }
    return {"view": view_of(results, card), "headline": headline}
