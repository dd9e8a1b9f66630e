"""The two ways to a probability over several seeds, each with people and weights of its own."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml.card import CARD_FILE
from ml.data.phantom import make_phantom_cohort
from ml.evaluation.bundle_heads import bundle_heads
from ml.evaluation.tables import mean_of, shown
from ml.training.learn import Progress
from ml.training.pipeline import train

TRAINED_ON, JUDGED_ON = 10, 110
"""Added to a seed for the people who train and for those who judge, so that no two are alike."""


def heads_over_seeds(
    work: Path,
    seeds: Iterable[int],
    *,
    profile: str,
    spacing_mm: float,
    people: int,
    test_people: int,
    text_cache: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """Train a bundle a seed on phantoms, and let each be judged by others.

    Args:
        work: folder for cohorts, bundles and figures; what it holds already is not made again, so
            a run that was stopped goes on with the part it was in.
        seeds: of the trainings; people and test people follow from each.
        profile: name of the model's size.
        spacing_mm: voxel edge of the profile.
        people: phantoms a seed, of whom three in four train.
        test_people: phantoms a seed who judge.
        text_cache: folder for text embeddings.
        progress: called with the stage, steps done and steps in all.

    Returns:
        JSON: `runs` (`ml.evaluation.bundle_heads`) and their `mean` with Student's interval.
    """
    runs = []
    for seed in seeds:
        folder = work / str(seed)
        done = folder / "heads.json"
        if not done.exists():
            fresh = folder / "fresh"
            _phantoms(folder / "cohort", people, spacing_mm, TRAINED_ON + seed, progress)
            if not (folder / "bundle" / CARD_FILE).exists():
                cohort, bundle = folder / "cohort", folder / "bundle"
                train(cohort, profile, seed, bundle, progress, text_cache=text_cache)
            _phantoms(fresh, test_people, spacing_mm, JUDGED_ON + seed, progress)
            figures = bundle_heads(
                folder / "bundle",
                fresh,
                new=True,
                most=test_people,
                progress=lambda drawn, total: progress("pseudo-MRIs", drawn, total),
            )
            done.write_text(json.dumps(figures), encoding="utf-8")
        runs.append({"seed": seed, **json.loads(done.read_text(encoding="utf-8"))})
    return {"runs": runs, "mean": _means(runs) if len(runs) > 1 else {}}


def _phantoms(folder: Path, people: int, spacing_mm: float, seed: int, progress: Progress) -> None:
    """A cohort, made beside its place and moved there whole."""
    if folder.exists():
        return
    draft = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was stopped
    make_phantom_cohort(
        draft,
        patients=people,
        spacing_mm=spacing_mm,
        seed=seed,
        progress=lambda made, total: progress(f"phantoms, {folder.name}", made, total),
    )
    draft.rename(folder)


def _means(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: mean_of([run[name] for run in runs])
        for name, figure in runs[0].items()
        if isinstance(figure, Mapping) and "value" in figure
    }


def readable(results: Mapping[str, Any]) -> str:
    """The figures as a Markdown table: a column a seed, then the mean."""
    runs, means = results["runs"], results["mean"]
    names = [name for name in runs[0] if isinstance(runs[0][name], Mapping)]
    names = [name for name in names if "value" in runs[0][name]]
    seeds = [f"seed {run['seed']}" for run in runs]
    lines = [f"| AUC | {' | '.join([*seeds, 'mean'])} |", "| --- " * (len(runs) + 2) + "|"]
    for name in names:
        cells = [shown(run[name], sign="_minus_" in name) for run in runs]
        cells.append(shown(means.get(name), sign="_minus_" in name))
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)
