"""What people without a scan bring to a training, and what hiding whole groups of findings brings.

On phantoms at 4 mm, components only. Validation people say whether an option is worth having, test
people what it is worth; both have records and no scans, and what is scored is their true state.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from ml.concepts import dictionary, schema
from ml.config import PROFILES, Profile, components_only
from ml.data.cohort import Cohort
from ml.data.mri import grid
from ml.data.phantom import PhantomConfig, make_phantom_cohort
from ml.data.phantom_people import dense_people
from ml.data.regions import regional_volumes_ml
from ml.evaluation.baselines import fit_baseline
from ml.evaluation.metrics import auc, auc_difference
from ml.evaluation.robustness import hide_group, hide_values
from ml.evaluation.tables import mean_of, shown
from ml.graph_encoder import SizedGraph
from ml.mirage import Mirage
from ml.patient_graph import FindingScaler
from ml.records import PatientRecord
from ml.training.components import component_scores
from ml.training.learn import knowledge, learn_surrogate, one_thread, skip_bank
from ml.training.people import TrainingPeople
from ml.training.pretrain_unet import pretrain_unet
from ml.training.split import model_concepts

VALIDATION, TEST = 1_000, 2_000
SITUATIONS = ("complete", "30 % of the values missing", "one group missing")
ALL, MASKED = "everybody with a scan", "everybody with a scan, group masking"
FEW, MIXED = "the scanned half", "the scanned half, and the other half's records"
LR_ALL, LR_FEW = "logistic regression, everybody", "logistic regression, the scanned half"
COMPARED = {
    "group masking": (MASKED, ALL),
    "records without a scan": (MIXED, FEW),
    "their scans too": (ALL, MIXED),
    "records without a scan, against logistic regression on all": (MIXED, LR_ALL),
}
MASKING = 0.5
Scores = dict[str, dict[str, Float[ndarray, " people"]]]


@dataclass(frozen=True, slots=True)
class _Task:
    """One seed's training people, with scans for all of them, and the graph."""

    people: TrainingPeople
    records: list[PatientRecord]
    scaler: FindingScaler
    graph: SizedGraph
    settings: Profile
    seed: int


def semi_supervised(
    seeds: Sequence[int],
    text_cache: Path | None,
    *,
    people: int = 600,
    done: Sequence[Mapping[str, Any]] = (),
    save: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train with and without each option, on the same people.

    Args:
        seeds: each draws its own people.
        text_cache: folder of text embeddings.
        people: to train on; half of them have no scan where records alone are looked at.
        done: `runs` of earlier results, whose seeds are not run again.
        save: called with the results after each seed.

    Returns:
        JSON: AUC of each training in each situation, and paired differences, on validation and
        test people.
    """
    runs = {run["seed"]: run for run in done}
    results: dict[str, Any] = {}
    for seed in seeds:
        if seed not in runs:
            with tempfile.TemporaryDirectory() as folder, one_thread():
                runs[seed] = _run(seed, people, Path(folder) / "cohort", text_cache)
        finished = [runs[each] for each in seeds if each in runs]
        results = {"people": people, "runs": finished, "mean": _means(finished)}
        if save is not None:
            save(results)
    return results


def _run(seed: int, people: int, folder: Path, text_cache: Path | None) -> dict[str, Any]:
    task = _task(seed, people, folder, text_cache)
    half = people // 2
    few = task.people.rows(torch.arange(half))
    masked = replace(
        task.settings, propagate=replace(task.settings.propagate, group_masking=MASKING)
    )
    trained = {
        ALL: _train(task, task.people, task.settings),
        MASKED: _train(task, task.people, masked),
        FEW: _train(task, few, task.settings),
        MIXED: _train(task, without_scan(task.people, half), task.settings),
    }
    figures: dict[str, Any] = {"seed": seed}
    for part, count in (("validation", VALIDATION), ("test", TEST)):
        who = dense_people(count, entropy=(seed, 30, count), config=PhantomConfig())
        seen = _situations(who.records, seed)
        scores = {
            name: {case: _say(mirage, task.scaler, records) for case, records in seen.items()}
            for name, mirage in trained.items()
        }
        for name, rows in ((LR_ALL, people), (LR_FEW, half)):
            answers = task.people.label[:rows].numpy().astype(np.int64)
            model = fit_baseline("lr", model_concepts(), task.records[:rows], answers, seed=seed)
            scores[name] = {case: model.predict_proba(each) for case, each in seen.items()}
        figures[part] = _figures(scores, who.state)
    return figures


def _task(seed: int, count: int, folder: Path, text_cache: Path | None) -> _Task:
    settings = components_only(PROFILES["4mm"])
    make_phantom_cohort(folder, patients=count, spacing_mm=settings.spacing_mm, seed=seed)
    cohort = Cohort.load(folder)
    records = [cohort.records[each] for each in cohort.ids]
    scaler = FindingScaler(model_concepts()).fit(records)
    label = torch.tensor([float(cohort.labels[each] or 0) for each in cohort.ids])
    graph, _ = knowledge(scaler, settings, text_cache)
    volumes = torch.from_numpy(cohort.normalised_volumes(cohort.ids, grid(settings.spacing_mm)))
    people = TrainingPeople(
        cohort.ids,
        scaler.encode(records),
        volumes,
        torch.zeros(len(records), settings.unet.width),
        regional_volumes_ml(volumes, grid(settings.spacing_mm)),
        label,
        torch.arange(len(records)) % settings.distill.folds,
    )
    return _Task(people, records, scaler, graph, settings, seed)


def without_scan(people: TrainingPeople, scanned: int) -> TrainingPeople:
    """The same people, of whom only the first so many have been scanned."""
    volumes, latent, regions = people.volumes.clone(), people.latent.clone(), people.regions_ml
    volumes[scanned:] = 0
    latent[scanned:] = torch.nan
    regions = regions.clone()
    regions[scanned:] = torch.nan
    return replace(people, volumes=volumes, latent=latent, regions_ml=regions)


def _train(task: _Task, people: TrainingPeople, settings: Profile) -> Mirage:
    """All phases; the components of z are those of these people's scans."""
    scanned = people.scanned
    unet, _ = pretrain_unet(
        people.volumes[scanned], settings.unet, settings.pretrain, seed=task.seed
    )
    latent = people.latent.clone()
    latent[scanned] = component_scores(unet, people.volumes[scanned])
    people = replace(people, latent=latent)
    mirage = Mirage(task.scaler, settings)
    bank = skip_bank(unet, people, settings, task.seed)
    learn_surrogate(mirage, people, task.graph, unet, bank, task.seed)
    return mirage


def _situations(records: Sequence[PatientRecord], seed: int) -> dict[str, list[PatientRecord]]:
    """The records as they are, with holes, and each without one group drawn at random."""
    rng = np.random.default_rng((seed, 31))
    groups = list(dict.fromkeys(dictionary()[name].group for name in schema()))
    lost = rng.integers(len(groups), size=len(records))
    return {
        SITUATIONS[0]: list(records),
        SITUATIONS[1]: hide_values(records, 0.3, rng),
        SITUATIONS[2]: [
            hide_group([record], groups[group])[0]
            for record, group in zip(records, lost, strict=True)
        ],
    }


def _say(
    mirage: Mirage, scaler: FindingScaler, records: Sequence[PatientRecord]
) -> Float[ndarray, " people"]:
    logit: ndarray = mirage.read(scaler.encode(records)).logits.mean(0).double().numpy()
    return logit


def _figures(scores: Scores, state: ndarray) -> dict[str, Any]:
    return {
        "auc": {
            name: {case: asdict(auc(each, state)) for case, each in cases.items()}
            for name, cases in scores.items()
        },
        "minus": {
            question: {
                case: asdict(auc_difference(scores[first][case], scores[second][case], state))
                for case in SITUATIONS
            }
            for question, (first, second) in COMPARED.items()
        },
    }


def _means(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        part: {
            kind: {
                name: {
                    case: mean_of([run[part][kind][name][case] for run in runs])
                    for case in SITUATIONS
                }
                for name in runs[0][part][kind]
            }
            for kind in ("auc", "minus")
        }
        for part in ("validation", "test")
    }


def readable(results: Mapping[str, Any]) -> str:
    """AUC of test people, and the differences that validation and test people show, in Markdown."""
    lines = ["| trained on | " + " | ".join(SITUATIONS) + " |", "| --- " * 4 + "|"]
    for name, cases in results["mean"]["test"]["auc"].items():
        lines.append(f"| {name} | " + " | ".join(shown(cases[case]) for case in SITUATIONS) + " |")
    for part in ("validation", "test"):
        lines += ["", f"| what it brings, {part} people | " + " | ".join(SITUATIONS) + " |"]
        lines.append("| --- " * 4 + "|")
        for name, cases in results["mean"][part]["minus"].items():
            gains = " | ".join(shown(cases[case], sign=True) for case in SITUATIONS)
            lines.append(f"| {name} | {gains} |")
    return "\n".join(lines)
