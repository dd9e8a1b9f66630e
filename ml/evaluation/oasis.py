"""OASIS-1: what scans, records and records taught by scans know of dementia in real people.

CDR above 0 against CDR 0 in people from 60 years on, by repeated cross-validation by person. Nobody
who is judged had any part in the models that judge, scales and components included. Everybody else
helps: younger people and those whom nobody assessed have a scan and a record, and no label.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor

from ml.concepts import dictionary
from ml.config import PROFILES, Profile, components_only
from ml.data.cohort import Cohort, CohortError
from ml.data.mri import grid
from ml.data.oasis import LABEL_PROXIMAL, MEASURED_ON_MRI, RECORD, OasisCohort, read_oasis
from ml.data.regions import regional_volumes_ml
from ml.evaluation.baselines import BASELINES, fit_baseline, fit_table
from ml.evaluation.metrics import logits
from ml.evaluation.repeated import PersonBootstrap, deal
from ml.evaluation.tables import shown
from ml.graph_encoder import SizedGraph
from ml.mirage import Mirage
from ml.patient_graph import FindingScaler
from ml.records import PatientRecord
from ml.training.components import component_scores
from ml.training.learn import knowledge, learn_surrogate, one_thread, skip_bank
from ml.training.people import TrainingPeople
from ml.training.pretrain_unet import pretrain_unet
from ml.training.teacher import LEADING, SEEN_WEIGHT
from ml.unet import UNet3D

JUDGED_FROM_YEARS = 60
FOLDS = 5
TEACHER = "scan: what the teacher reads, age, sex"
VOLUMES, COMPONENTS = "scan: regional volumes, age, sex", "scan: principal components"
MEASURED, PROXIMAL = "record with nWBV and eTIV", "record with MMSE"
SURROGATE, LABELLED_ALONE = "surrogate", "surrogate, labelled people alone"
FUSION = "surrogate with logistic regression"
Progress = Callable[[str, int, int], None]
Scores = dict[str, Float[np.ndarray, " test"]]


@dataclass(frozen=True, slots=True)
class Scanned:
    """Everybody of OASIS-1 whose scan was registered well.

    Attributes:
        records: one a scan; label-proximal scores and MRI measures are in there too.
        persons: who each row is.
        ages: in years.
        volumes: normalised scans.
        regions_ml: their regional volumes.
        label: 1 for CDR above 0, 0 for CDR 0, NaN for who is not judged.
    """

    records: list[PatientRecord]
    persons: list[str]
    ages: Float[np.ndarray, " scans"]
    volumes: Float16[Tensor, "scans x y z"]
    regions_ml: Float[Tensor, "scans regions"]
    label: Float[Tensor, " scans"]

    @classmethod
    def read(cls, cohort: Cohort, spacing_mm: float, report: Progress) -> "Scanned":
        """Read all scans at one voxel size."""
        ids = cohort.ids_with_scan()
        by_id = {each.id: each for each in cohort.participants}
        who = [by_id[each] for each in ids]
        ages = np.array([np.nan if each.age_years is None else each.age_years for each in who])
        known = [np.nan if each.label is None else float(each.label) for each in who]
        label = np.where(ages >= JUDGED_FROM_YEARS, known, np.nan)
        here = grid(spacing_mm)
        volumes = torch.from_numpy(
            cohort.normalised_volumes(ids, here, lambda done, n: report("read scans", done, n))
        )
        return cls(
            [cohort.records[each] for each in ids],
            [cohort.persons[each] for each in ids],
            ages,
            volumes,
            regional_volumes_ml(volumes, here),
            torch.from_numpy(label).float(),
        )

    @property
    def judged(self) -> Int[np.ndarray, " judged"]:
        """Rows of the people whom the models are judged on."""
        return np.flatnonzero(~self.label.isnan().numpy())

    def records_of(self, rows: Sequence[int] | Int[np.ndarray, " some"]) -> list[PatientRecord]:
        """The records of some rows."""
        return [self.records[row] for row in rows]

    def answers(self, rows: Int[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """The labels of judged rows."""
        found: np.ndarray = self.label.numpy()[rows].astype(np.int64)
        return found


def compare_on_oasis(
    folder: Path,
    text_cache: Path | None,
    *,
    repeats: int = 3,
    seed: int = 1,
    profile: str | Profile = "4mm",
    folds: int = FOLDS,
    models: Sequence[str] = tuple(BASELINES),
    progress: Progress | None = None,
    done: Sequence[Mapping[str, Any]] = (),
    save: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Everything that reads scans or records, on the same people, each by models without them.

    Args:
        folder: OASIS-1, see `ml.data.oasis`.
        text_cache: folder of text embeddings.
        repeats: cross-validations, each with folds of its own.
        seed: of the first repeat's folds and models; the next has the next.
        profile: voxel size and sizes of the model; nothing of it that only pictures need is run.
        folds: parts of each cross-validation.
        models: keys of `BASELINES` that read the record; lr must be one of them.
        progress: called with what is being done, steps done and steps in all.
        done: `runs` of earlier results, which are not run again.
        save: called with the results after each repeat.

    Returns:
        JSON: who was judged, AUC and paired differences with intervals, and held-out scores.

    Raises:
        CohortError: the folder is not OASIS-1, or holds too few people.
        VolumeError: a scan cannot be used.
    """
    report = progress or _silent
    settings = components_only(PROFILES[profile] if isinstance(profile, str) else profile)
    oasis = read_oasis(folder)
    people = Scanned.read(oasis.cohort, settings.spacing_mm, report)
    check_counts(people, folds)
    concepts = _concepts(RECORD)
    with one_thread():
        graph, graph_figures = knowledge(FindingScaler(concepts), settings, text_cache)
    runs = {run["seed"]: run for run in done}
    results: dict[str, Any] = {}
    for number in range(seed, seed + repeats):
        if number not in runs:
            with one_thread():
                scores = _repeat(people, graph, settings, folds, models, number, report)
            runs[number] = {
                "seed": number,
                "scores": {name: np.round(each, 5).tolist() for name, each in scores.items()},
            }
        finished = [runs[each] for each in range(seed, number + 1)]
        results = {
            "people": _who(oasis, people),
            "folds": folds,
            "repeats": len(finished),
            "spacing_mm": settings.spacing_mm,
            "graph": graph_figures,
            **_figures(people, finished, models),
            "runs": finished,
        }
        if save is not None:
            save(results)
    return results


def check_counts(people: Scanned, folds: int) -> None:
    """Whether every fold can hold two judged people of each kind.

    Raises:
        CohortError: it cannot.
    """
    counts = [int((people.label == value).sum()) for value in (0, 1)]
    if min(counts) < 2 * folds:
        raise CohortError(
            f"{counts[1]} people from {JUDGED_FROM_YEARS} years on with a good scan have a CDR "
            f"above 0 and {counts[0]} a CDR of 0; {folds} folds need {2 * folds} of each."
        )


def _concepts(columns: Mapping[str, str]) -> tuple[Any, ...]:
    return tuple(dictionary()[name] for name in columns.values())


def _who(oasis: OasisCohort, people: Scanned) -> dict[str, Any]:
    judged = people.judged
    return {
        "sessions": len(oasis.cohort.participants),
        "scans_refused": len(oasis.refused),
        "sessions_without_scan": len(oasis.without_scan),
        "scans": len(people.records),
        "persons": len(set(people.persons)),
        "judged": len(judged),
        "judged_cdr_above_0": int(people.answers(judged).sum()),
        "scans_without_label_in_training": len(people.records) - len(judged),
    }


def _repeat(
    people: Scanned,
    graph: SizedGraph,
    settings: Profile,
    folds: int,
    models: Sequence[str],
    seed: int,
    report: Progress,
) -> dict[str, Float[np.ndarray, " judged"]]:
    """Held-out scores of all judged people, in their order."""
    judged = people.judged
    fold_of = deal(
        [people.persons[row] for row in judged], people.answers(judged).tolist(), folds, seed
    )
    scores: dict[str, Float[np.ndarray, " judged"]] = {}
    for fold in range(folds):
        test = judged[fold_of == fold]
        away = {people.persons[row] for row in test}
        train = np.array([row for row, who in enumerate(people.persons) if who not in away])
        report(f"fold of repeat {seed}", fold + 1, folds)
        said = held_out_scores(people, train, test, graph, settings, models, seed)
        for name, each in said.items():
            scores.setdefault(name, np.empty(len(judged)))[fold_of == fold] = each
    return scores


def held_out_scores(
    people: Scanned,
    train: Int[np.ndarray, " train"],
    test: Int[np.ndarray, " test"],
    graph: SizedGraph,
    settings: Profile,
    models: Sequence[str],
    seed: int,
) -> Scores:
    """What every model that was fitted on `train` says of `test`, as log odds."""
    unet, _ = pretrain_unet(people.volumes[train], settings.unet, settings.pretrain, seed=seed)
    latent = component_scores(unet, people.volumes)
    labelled = train[~people.label.isnan().numpy()[train]]
    spread = unet.decoder.principal.weight.norm(dim=1)
    scores = _of_scans(people, latent, spread, train, labelled, test, seed)
    scores |= _of_records(people, labelled, test, models, seed)
    for name, rows in ((SURROGATE, train), (LABELLED_ALONE, labelled)):
        scores[name] = _of_surrogate(people, unet, latent, rows, test, graph, settings, seed)
    scores[FUSION] = (scores[SURROGATE] + scores["lr"]) / 2
    return scores


def _of_scans(
    people: Scanned,
    latent: Float[Tensor, "scans width"],
    spread: Float[Tensor, " width"],
    train: Int[np.ndarray, " train"],
    labelled: Int[np.ndarray, " labelled"],
    test: Int[np.ndarray, " test"],
    seed: int,
) -> Scores:
    """Upper bounds: models that see the scans of the people they judge.

    A penalty on components of one size would let hundreds of small ones count as much as the first
    few, so as a model of their own they keep the spread that they have among the training people.
    """
    regions = people.regions_ml.double().numpy()
    regions = (regions - regions[train].mean(0)) / regions[train].std(0)
    z = latent.double().numpy()
    facts = FindingScaler(_concepts({"Age": "age", "M/F": "female"}))
    facts.fit(people.records_of(labelled))
    age_sex = facts.encode(people.records).dense(len(facts.columns)).double().numpy()
    tables = {
        TEACHER: np.concatenate([SEEN_WEIGHT * regions, z[:, :LEADING], age_sex], 1),
        VOLUMES: np.concatenate([regions, age_sex], 1),
        COMPONENTS: z * (spread / spread.max()).double().numpy(),
    }
    scores = {}
    for name, table in tables.items():
        model, _ = fit_table("lr", table[labelled], people.answers(labelled), seed=seed)
        scores[name] = logits(model.predict_proba(table[test])[:, 1])
    return scores


def _of_records(
    people: Scanned,
    labelled: Int[np.ndarray, " labelled"],
    test: Int[np.ndarray, " test"],
    models: Sequence[str],
    seed: int,
) -> Scores:
    wanted = {name: (name, RECORD) for name in models}
    wanted[MEASURED] = ("lr", RECORD | MEASURED_ON_MRI)
    wanted[PROXIMAL] = ("lr", RECORD | {"MMSE": LABEL_PROXIMAL["MMSE"]})
    scores = {}
    for name, (model, columns) in wanted.items():
        fitted = fit_baseline(
            model,
            _concepts(columns),
            people.records_of(labelled),
            people.answers(labelled),
            seed=seed,
        )
        scores[name] = logits(fitted.predict_proba(people.records_of(test)))
    return scores


def _of_surrogate(
    people: Scanned,
    unet: UNet3D,
    latent: Float[Tensor, "scans width"],
    rows: Int[np.ndarray, " train"],
    test: Int[np.ndarray, " test"],
    graph: SizedGraph,
    settings: Profile,
    seed: int,
) -> Float[np.ndarray, " test"]:
    """The whole of MIRAGE, from the records alone; scans take part in training only."""
    records = people.records_of(rows)
    scaler = FindingScaler(_concepts(RECORD)).fit(records)
    persons = [people.persons[row] for row in rows]
    strata = [str(label) for label in people.label[rows].tolist()]
    training = TrainingPeople(
        tuple(persons),
        scaler.encode(records),
        people.volumes[rows],
        latent[rows],
        people.regions_ml[rows],
        people.label[rows],
        torch.from_numpy(deal(persons, strata, settings.distill.folds, seed)),
    )
    mirage = Mirage(scaler, settings)
    bank = skip_bank(unet, training, settings, seed)
    learn_surrogate(mirage, training, graph, unet, bank, seed)
    probability = mirage.probability(scaler.encode(people.records_of(test)))
    return logits(probability.double().numpy())


def _figures(
    people: Scanned, runs: Sequence[Mapping[str, Any]], models: Sequence[str]
) -> dict[str, Any]:
    """AUC of each model, and differences to the record model with the best AUC."""
    judged = people.judged
    draw = PersonBootstrap(people.answers(judged), [people.persons[row] for row in judged])
    scores = {name: np.array([run["scores"][name] for run in runs]) for name in runs[0]["scores"]}
    areas = {name: draw.auc(each) for name, each in scores.items()}
    best = max(models, key=lambda name: areas[name].value)
    ours = (TEACHER, VOLUMES, COMPONENTS, MEASURED, SURROGATE, FUSION)
    return {
        "auc": {name: asdict(each) for name, each in areas.items()},
        "best_record_model": best,
        "minus_best_record_model": {
            name: asdict(draw.difference(scores[name], scores[best])) for name in ours
        },
        "unlabelled_scans_bring": asdict(
            draw.difference(scores[SURROGATE], scores[LABELLED_ALONE])
        ),
    }


def readable(results: Mapping[str, Any]) -> str:
    """The figures as a Markdown table."""
    best = results["best_record_model"]
    lines = [f"| read from | AUC | minus {best} |", "| --- | --- | --- |"]
    for name, area in results["auc"].items():
        gain = results["minus_best_record_model"].get(name)
        lines.append(f"| {name} | {shown(area)} | {shown(gain, sign=True)} |")
    brought = shown(results["unlabelled_scans_bring"], sign=True)
    return "\n".join([*lines, "", f"Unlabelled scans bring the surrogate {brought}."])


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
