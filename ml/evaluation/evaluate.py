"""Everything that is to be known of a bundle on people who did not train it, as JSON.

`ml.evaluation.report` makes a page of it. Nothing here is fitted on the people who judge, but for
the record-only models, which are fitted on other parts of them (or on a training cohort, if one is
given) and so know this very population: they are held against the bundle at their best.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.model_selection import StratifiedGroupKFold

from ml.bundle import load_decoder, load_mirage, load_reader
from ml.card import BundleCard, verify
from ml.concept_linking import Embed
from ml.concepts import Concept, dictionary
from ml.data.cohort import Cohort
from ml.data.mri import VolumeError
from ml.evaluation import clinical
from ml.evaluation.baselines import BASELINES, fit_baseline
from ml.evaluation.judged_people import JudgedPeople, check_unseen, judged_people
from ml.evaluation.metrics import Scores, auc, auc_difference, proportion, scorecard
from ml.evaluation.parts.cnn_maps import map_figures
from ml.evaluation.parts.drawn_people import DrawnPeople, drawn_judges
from ml.evaluation.parts.explanation_tests import explanation_figures
from ml.evaluation.parts.other_schema import under_other_schema
from ml.evaluation.parts.pictures import picture_figures
from ml.evaluation.parts.privacy import donor_gates, membership_figures
from ml.evaluation.parts.quick_reading import QuickReading
from ml.evaluation.parts.stored_states import under_spoiled_states
from ml.evaluation.parts.stress import refused_as_outside, under_hiding
from ml.evaluation.parts.trial import Figures, Progress, Trial, told, unusable
from ml.evaluation.parts.two_ways import neighbours_vote, two_ways
from ml.evaluation.robustness import probabilities
from ml.predictor import Predictor
from ml.records import Answer, PatientRecord
from ml.text_encoder import TextEncoder
from ml.user_cache import USER_CACHE

FOLDS, FOLDS_OF_MANY, MANY_PEOPLE = 5, 2, 1_000
"""Parts that record-only models are cross-fitted over; half of many people is enough to fit on,
and five tuned forests would take most of the time of a report."""
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
LEAST_OF_A_SUBGROUP = 30
LEAST_OF_A_CLASS = 5
BASELINE_LABELS = {
    "lr": "Logistic regression",
    "rf": "Random forest",
    "gb": "Gradient boosting",
    "mlp": "MLP",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """What an evaluation may choose.

    Attributes:
        new: nobody of the cohort trained the bundle, though some are called the same.
        most: people at most, the first ones of the cohort.
        prevalence: share of AD for which predictive values are given.
        images: people whose pseudo-MRI is drawn, read and compared with their scan, at most.
        explained: people on whose records explanations are tested, at most.
        others: record-only models to hold the bundle against.
        seed: of folds, bootstrap and of what is hidden.
    """

    new: bool = False
    most: int = 5000
    prevalence: float = 0.1
    images: int = 120
    explained: int = 40
    others: tuple[str, ...] = tuple(BASELINES)
    seed: int = 1


def evaluate_bundle(
    bundle: Path,
    cohort_folder: Path,
    settings: EvaluationSettings,
    *,
    train: Path | None = None,
    embed: Embed | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """All figures of one bundle on one cohort.

    Args:
        bundle: folder of the bundle.
        cohort_folder: see `ml.data.cohort`.
        settings: see there.
        train: cohort for the record-only models; without it they are cross-fitted on the people
            who judge.
        embed: names to unit vectors, to link another schema; by default MiniLM's.
        progress: told the stage, how much of it is done, and of how much.

    Raises:
        BundleError, CohortError, SeenInTrainingError: see `judged_people` and `check_unseen`.
    """
    cohort, card = Cohort.load(cohort_folder), verify(bundle)
    people = judged_people(cohort, bundle, new=settings.new, most=settings.most)
    training = _training(people, cohort, train)
    predictor, mirage = Predictor.load(bundle), load_mirage(bundle, card)
    trial = Trial(
        card=card,
        mirage=mirage,
        drawer=load_decoder(bundle, card).decoder,
        reader=load_reader(bundle, card),
        cohort=cohort,
        people=people,
        seed=settings.seed,
    )
    probability = probabilities(mirage, people.records)
    progress("record-only models", 0, len(settings.others))
    others = _baselines(people, training, card, settings, progress)
    threshold = float(card.training["calibration"]["threshold"])
    best = max(others, key=lambda name: auc(others[name], people.labels).value)
    progress("missing and strange records", 0, 2)
    hidden = under_hiding(QuickReading(mirage).probabilities, people, settings.seed)
    progress("missing and strange records", 1, 2)
    outside = refused_as_outside(predictor, people, settings.seed)
    progress("missing and strange records", 2, 2)
    return {
        "about": _about(cohort, people, card, settings, train),
        "bundle": _figures(probability, people, threshold, settings),
        "others": {
            name: {
                "label": BASELINE_LABELS[name],
                "auc": asdict(auc(scores, people.labels)),
                "bundle_minus_it": asdict(auc_difference(probability, scores, people.labels)),
            }
            for name, scores in others.items()
        },
        "best_other": best,
        "decision": _decision(probability, others[best], people),
        "answers": _answers(predictor, people),
        "subgroups": _subgroups(probability, people),
        "hidden": hidden,
        "outside": outside,
        **_parts(trial, settings, others[best], embed, progress),
    }


def _parts(
    trial: Trial,
    settings: EvaluationSettings,
    best_other: Scores,
    embed: Embed | None,
    progress: Progress,
) -> dict[str, Figures]:
    """What not every cohort and bundle can answer; a part that cannot says why."""

    def alone(stage: str, part: Callable[[], Figures]) -> Figures:
        progress(stage, 0, 1)
        found = told(part)
        progress(stage, 1, 1)
        return found

    found = {
        "states": told(lambda: under_spoiled_states(trial, progress)),
        "schema": alone(
            "other schema",
            lambda: under_other_schema(trial, embed or TextEncoder(cache=USER_CACHE)),
        ),
        "explanations": told(lambda: explanation_figures(trial, settings.explained, progress)),
        "gates": alone("swap and donor copy test", lambda: donor_gates(trial)),
        "neighbours": alone("neighbours' vote", lambda: neighbours_vote(trial)),
    }
    pictured: dict[str, Callable[[DrawnPeople], Figures]] = {
        "images": lambda drawn: picture_figures(trial, drawn),
        "readers": lambda drawn: two_ways(trial, drawn, best_other),
        "maps": lambda drawn: map_figures(trial, drawn, progress),
        "membership": lambda drawn: membership_figures(trial, drawn, progress),
    }
    try:
        drawn = drawn_judges(trial, settings.images, progress)
    except VolumeError as error:
        return found | dict.fromkeys(pictured, unusable(error))
    return found | {name: told(partial(part, drawn)) for name, part in pictured.items()}


def _training(
    people: JudgedPeople, cohort: Cohort, train: Path | None
) -> tuple[list[PatientRecord], np.ndarray] | None:
    """Records and labels that the record-only models are fitted on; None to cross-fit them."""
    if train is not None:
        other = Cohort.load(train)
        check_unseen(people, other)
        ids = [each for each in other.records if other.labels[each] is not None]
    elif people.trained:
        other, ids = cohort, list(people.trained)
    else:
        return None
    labels = np.array([other.labels[each] for each in ids], dtype=np.int64)
    return [other.records[each] for each in ids], labels


def _about(
    cohort: Cohort,
    people: JudgedPeople,
    card: BundleCard,
    settings: EvaluationSettings,
    train: Path | None,
) -> dict[str, Any]:
    ages = [p.age_years for p in cohort.participants if p.id in set(people.ids) and p.age_years]
    return {
        "bundle": f"{card.name} {card.version}",
        "cohort": cohort.folder.name,
        "people": len(people),
        "persons": len(set(people.persons)),
        "with_ad": int((people.labels == 1).sum()),
        "age_years": [min(ages), max(ages)] if ages else None,
        "is_invented": bool(cohort.truth),
        "is_held_out": bool(people.trained),
        "trained_on": asdict(card.reference),
        "others_fitted_on": _fitted_on(people, train),
        "replicates": clinical.REPLICATES,
        "settings": asdict(settings),
    }


def _fitted_on(people: JudgedPeople, train: Path | None) -> str:
    if train is not None:
        return train.name
    if people.trained:
        return f"the {len(people.trained)} people who trained the bundle"
    return f"{_folds(people)} folds of the same people"


def _folds(people: JudgedPeople) -> int:
    """As many as there are people of the rarer diagnosis, at most five; two of many people."""
    fewest = int(np.bincount(people.labels, minlength=2).min())
    return min(FOLDS_OF_MANY if len(people) >= MANY_PEOPLE else FOLDS, fewest)


def _figures(
    probability: Scores, people: JudgedPeople, threshold: float, settings: EvaluationSettings
) -> dict[str, Any]:
    labels = people.labels
    weights = clinical.resampled(labels, seed=settings.seed)
    positive = probability >= threshold
    shares = [
        proportion(int(hit[labels == value].sum()), int((labels == value).sum()))
        for hit, value in ((positive, 1), (~positive, 0))
    ]
    ppv, npv = clinical.predictive_values(shares[0], shares[1], settings.prevalence)
    curve = clinical.calibration_curve(probability, labels)
    return {
        **scorecard(probability, labels, threshold),
        "auc_bootstrap": asdict(clinical.bootstrap_auc(probability, labels, weights)),
        "average_precision": asdict(clinical.average_precision(probability, labels, weights)),
        "ppv": asdict(ppv),
        "npv": asdict(npv),
        "threshold": threshold,
        "calibration_error": asdict(
            clinical.calibration_error(probability, labels, seed=settings.seed)
        ),
        "calibration_curve": None if curve is None else [asdict(point) for point in curve],
        "roc": _roc(probability, people),
    }


def _roc(probability: Scores, people: JudgedPeople) -> dict[str, list[float]]:
    """At most 201 points of the curve: a page need not hold one for each person."""
    levels = np.unique(np.quantile(probability, np.linspace(0, 1, 200)))[::-1]
    called = probability[None] >= levels[:, None]
    return {
        "false_positive": [0.0, *called[:, people.labels == 0].mean(1).round(4).tolist()],
        "true_positive": [0.0, *called[:, people.labels == 1].mean(1).round(4).tolist()],
    }


def _baselines(
    people: JudgedPeople,
    training: tuple[list[PatientRecord], np.ndarray] | None,
    card: BundleCard,
    settings: EvaluationSettings,
    progress: Progress,
) -> dict[str, Scores]:
    known = dictionary()
    concepts = tuple(known[name] for name in card.schema if not known[name].label_proximal)
    scores: dict[str, Scores] = {}
    for done, name in enumerate(settings.others, start=1):
        if training is None:
            scores[name] = _cross_fitted(name, concepts, people, settings.seed)
        else:
            records, labels = training
            model = fit_baseline(name, concepts, records, labels, seed=settings.seed)
            scores[name] = model.predict_proba(people.records)
        progress("record-only models", done, len(settings.others))
    return scores


def _cross_fitted(
    name: str, concepts: tuple[Concept, ...], people: JudgedPeople, seed: int
) -> Scores:
    """Each person's score from a model that saw none of their visits."""
    folds = StratifiedGroupKFold(_folds(people), shuffle=True, random_state=seed)
    found = np.full(len(people), np.nan)
    for fit, held in folds.split(people.labels, people.labels, people.persons):
        model = fit_baseline(
            name, concepts, [people.records[i] for i in fit], people.labels[fit], seed=seed
        )
        found[held] = model.predict_proba([people.records[i] for i in held])
    return found


def _decision(probability: Scores, other: Scores, people: JudgedPeople) -> dict[str, list[float]]:
    everybody = np.ones(len(people))
    curves = {"bundle": probability, "best_other": other, "everybody": everybody}
    return {"thresholds": list(THRESHOLDS)} | {
        name: clinical.net_benefit(scores, people.labels, THRESHOLDS).round(5).tolist()
        for name, scores in curves.items()
    }


def _answers(predictor: Predictor, people: JudgedPeople) -> dict[str, Any]:
    """What the bundle answers, and how often the answer leaves room for the truth, by class."""
    answers = np.array([p.answer.value for p in predictor.predict(people.records)])
    answered = np.isin(answers, (Answer.AD, Answer.CN, Answer.UNCERTAIN))
    covered = {}
    for name, value in (("ad", 1), ("cn", 0)):
        mine = answered & (people.labels == value)
        holds = np.isin(answers[mine], (name, Answer.UNCERTAIN))
        covered[name] = (
            asdict(proportion(int(holds.sum()), int(mine.sum()))) if mine.any() else None
        )
    return {
        "counts": {answer.value: int((answers == answer).sum()) for answer in Answer},
        "covered": covered,
    }


def _subgroups(probability: Scores, people: JudgedPeople) -> list[dict[str, Any]]:
    """AUC by age, sex and APOE e4; None where there are too few."""

    def value(name: str) -> Float[np.ndarray, " patients"]:
        return np.array([record.values.get(name, np.nan) for record in people.records])

    age, female, apoe4 = value("age"), value("female"), value("apoe4")
    groups = {
        "Women": female == 1,
        "Men": female == 0,
        "Below 70 years": age < 70,
        "70 to 79 years": (age >= 70) & (age < 80),
        "80 years and over": age >= 80,
        "APOE ε4 carriers": apoe4 >= 1,
        "No APOE ε4": apoe4 == 0,
    }
    return [
        {"name": name, "people": int(rows.sum()), "auc": _if_enough(probability, people, rows)}
        for name, rows in groups.items()
    ]


def _if_enough(
    probability: Scores, people: JudgedPeople, rows: np.ndarray
) -> Mapping[str, Any] | None:
    labels = people.labels[rows]
    fewest = min(int((labels == 1).sum()), int((labels == 0).sum()))
    if len(labels) < LEAST_OF_A_SUBGROUP or fewest < LEAST_OF_A_CLASS:
        return None
    return asdict(auc(probability[rows], labels))
