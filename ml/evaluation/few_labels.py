"""What MRI-guided training is worth where labels are all there, few, or wrong.

Everybody in training has a scan and a record. A share of them keeps a label, some of these a wrong
one; the scans of the others still teach. The EHR-only models can learn from labelled people alone.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ml.config import PROFILES, Profile
from ml.data.cohort import Cohort
from ml.data.phantom import PhantomConfig, make_phantom_cohort
from ml.data.phantom_people import dense_people
from ml.data.regions import regional_volumes_ml
from ml.evaluation.baselines import BASELINES, fit_baseline
from ml.evaluation.metrics import auc, auc_difference, logits
from ml.evaluation.tables import mean_of, shown
from ml.mirage import Mirage
from ml.patient_graph import FindingScaler
from ml.records import PatientRecord
from ml.training.course import Course, Reporting
from ml.training.learn import knowledge, learn_surrogate, one_thread, skip_bank
from ml.training.people import TrainingPeople
from ml.training.pretrain_unet import encode, pretrain_unet
from ml.training.split import model_concepts
from ml.training.teacher import fit_teacher
from ml.unet import UNet3D

SCANNED, TEST = 600, 2_000
SURROGATE, FUSION = "surrogate", "surrogate with logistic regression"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Labels:
    """How many of the scanned people have a label, and how many of these labels are wrong.

    Attributes:
        name: as the table has it.
        count: people of both classes together that keep theirs; None for all.
        wrong: probability that a label is the wrong one, 0 to 1.
    """

    name: str
    count: int | None = None
    wrong: float = 0.0

    def of(self, state: Float[Tensor, " people"], seed: int) -> Float[Tensor, " people"]:
        """Labels of some people: 1 AD, 0 CN, NaN none."""
        rng = np.random.default_rng([seed, 20])
        flipped = torch.tensor(rng.random(len(state)) < self.wrong)
        label = torch.where(flipped, 1 - state, state)
        if self.count is not None:
            label[torch.tensor(rng.permutation(len(state))[self.count :])] = float("nan")
        return label


CONDITIONS = (
    Labels("all labels"),
    Labels("all labels, 20 % of them wrong", wrong=0.2),
    Labels("80 labels", count=80),
    Labels("150 labels, 20 % of them wrong", count=150, wrong=0.2),
)
CURVE = (*(Labels(f"{n} labels", count=n) for n in (40, 80, 150, 300)), Labels("all labels"))
"""How much each further label is worth, to ours and to the readers of the record."""


def compare_labels(
    seeds: Sequence[int],
    text_cache: Path | None,
    progress: Progress | None = None,
    *,
    conditions: Sequence[Labels] = CONDITIONS,
    done: Sequence[Mapping[str, Any]] = (),
    save: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """MIRAGE and tuned EHR-only models on the same test people, for each kind of labels.

    At 4 mm. z holds the principal components of the scans and no more (no step of the autoencoder
    is trained, none of the later stages decodes), because no figure here needs a picture. Test
    people have a record and no scan; what is scored is their true state.

    Args:
        seeds: each draws its own people.
        text_cache: folder of text embeddings.
        progress: called with what is being done, steps done and steps in all.
        conditions: kinds of labels to compare; `CURVE` gives the label-efficiency curve.
        done: `runs` of earlier results, whose seeds are not run again.
        save: called with the results after each seed.

    Returns:
        JSON: figures of each seed and condition, and their means over the seeds.
    """
    runs = {run["seed"]: run for run in done}
    results: dict[str, Any] = {}
    for seed in seeds:
        if seed not in runs:
            with tempfile.TemporaryDirectory() as folder:
                cohort = Path(folder) / "cohort"
                runs[seed] = _run(seed, conditions, cohort, text_cache, progress or _silent)
        finished = [runs[each] for each in seeds if each in runs]
        results = {
            "scanned": SCANNED,
            "test": TEST,
            "profile": "4mm, components only",
            "phantoms": asdict(PhantomConfig()),
            "runs": finished,
            "mean": _means(finished, conditions),
        }
        if save is not None:
            save(results)
    return results


def _profile() -> Profile:
    """The 4 mm profile without what only pictures need."""
    whole = PROFILES["4mm"]
    return replace(
        whole,
        pretrain=replace(whole.pretrain, epochs=0),
        propagate=replace(whole.propagate, decode_steps=0),
        distill=replace(whole.distill, decode_every=whole.distill.steps + 1),
    )


def _run(
    seed: int,
    conditions: Sequence[Labels],
    folder: Path,
    text_cache: Path | None,
    report: Progress,
) -> dict[str, Any]:
    settings = _profile()
    make_phantom_cohort(
        folder,
        patients=SCANNED,
        spacing_mm=settings.spacing_mm,
        seed=seed,
        progress=lambda done, total: report("phantoms", done, total),
    )
    cohort = Cohort.load(folder)
    records = [cohort.records[each] for each in cohort.ids]
    scaler = FindingScaler(model_concepts()).fit(records)
    test = dense_people(TEST, entropy=(seed, 21), config=PhantomConfig())
    with one_thread():
        people, unet = _people(cohort, scaler, records, settings, seed)
        graph, _ = knowledge(scaler, settings, text_cache)
    figures: dict[str, Any] = {}
    for condition in conditions:
        labelled = replace(people, label=condition.of(people.label, seed))
        mirage = Mirage(scaler, settings)
        bank = skip_bank(unet, labelled, settings, seed)
        with one_thread():
            learn_surrogate(mirage, labelled, graph, unet, bank, seed, Course(Reporting(report)))
            reading = mirage.read(scaler.encode(test.records))
        scores = {SURROGATE: reading.logits.mean(0).double().numpy()}
        scores |= _baselines(labelled.label, records, test.records, seed)
        scores[FUSION] = (_unit(scores[SURROGATE]) + _unit(scores["lr"])) / 2
        figures[condition.name] = _figures(scores, test.state) | {
            "teacher_auc_in_training": _teacher_auc(labelled, people.label)
        }
    return {"seed": seed, "conditions": figures}


def _people(
    cohort: Cohort,
    scaler: FindingScaler,
    records: list[PatientRecord],
    settings: Profile,
    seed: int,
) -> tuple[TrainingPeople, UNet3D]:
    """Everybody scanned, with true states as labels, and the autoencoder of their scans."""
    grid = UNet3D(settings.unet).grid
    volumes = torch.from_numpy(cohort.normalised_volumes(cohort.ids, grid))
    unet, _ = pretrain_unet(volumes, settings.unet, settings.pretrain, seed=seed)
    people = TrainingPeople(
        cohort.ids,
        scaler.encode(records),
        volumes,
        encode(unet, volumes),
        regional_volumes_ml(volumes, grid),
        torch.tensor([cohort.truth[each]["state"] for each in cohort.ids]),
        torch.arange(len(records)) % settings.distill.folds,
    )
    return people, unet


def _baselines(
    label: Float[Tensor, " people"],
    records: list[PatientRecord],
    test: list[PatientRecord],
    seed: int,
) -> dict[str, np.ndarray]:
    rows = (~label.isnan()).nonzero().squeeze(1).tolist()
    known = [records[row] for row in rows]
    answers = label[rows].numpy().astype(np.int64)
    return {
        name: logits(
            fit_baseline(name, model_concepts(), known, answers, seed=seed).predict_proba(test)
        )
        for name in BASELINES
    }


def _unit(scores: np.ndarray) -> np.ndarray:
    """On a common scale; monotone, so no AUC changes."""
    unit: np.ndarray = scores / scores.std()
    return unit


def _figures(scores: Mapping[str, np.ndarray], state: np.ndarray) -> dict[str, Any]:
    areas = {name: asdict(auc(each, state)) for name, each in scores.items()}
    against = {
        ours: {
            name: asdict(auc_difference(scores[ours], scores[name], state)) for name in BASELINES
        }
        for ours in (SURROGATE, FUSION)
    }
    return {"auc": areas, "minus": against}


def _teacher_auc(people: TrainingPeople, state: Float[Tensor, " people"]) -> float:
    """How well the teacher, out of fold, tells the true state of all scanned people."""
    teacher = fit_teacher(people.latent, people.label, people.fold, people.regions_ml)
    return float(roc_auc_score(state.numpy(), teacher.soft.numpy()))


def _means(runs: Sequence[Mapping[str, Any]], conditions: Sequence[Labels]) -> dict[str, Any]:
    """Over the seeds; the best baseline is the one with the best mean on the test people."""
    summary: dict[str, Any] = {}
    for condition in conditions:
        each = [run["conditions"][condition.name] for run in runs]
        areas = {name: mean_of([one["auc"][name] for one in each]) for name in each[0]["auc"]}
        best = max(BASELINES, key=lambda name: areas[name]["value"])
        summary[condition.name] = {
            "auc": areas,
            "best_baseline": best,
            "minus_best": {
                ours: mean_of([one["minus"][ours][best] for one in each])
                for ours in (SURROGATE, FUSION)
            },
            "teacher_auc_in_training": float(
                np.mean([one["teacher_auc_in_training"] for one in each])
            ),
        }
    return summary


def readable(results: Mapping[str, Any]) -> str:
    """The means as a Markdown table."""
    names = [SURROGATE, FUSION, *BASELINES]
    lines = [
        "| labels | teacher on scans | " + " | ".join(names) + " | best | surrogate − best |"
        " with logistic regression − best |",
        "| --- " * (len(names) + 5) + "|",
    ]
    for condition, figures in results["mean"].items():
        areas = " | ".join(shown(figures["auc"][name]) for name in names)
        gains = " | ".join(shown(each, sign=True) for each in figures["minus_best"].values())
        teacher = f"{figures['teacher_auc_in_training']:.3f}"
        lines.append(
            f"| {condition} | {teacher} | {areas} | {figures['best_baseline']} | {gains} |"
        )
    return "\n".join(lines)


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
