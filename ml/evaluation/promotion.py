"""The evidence for a promotion: a candidate beside the champion on people whom neither has seen.

Every gate is a figure with its interval and its limit, and is passed, failed, or not judged because
the people are too few. What is asked is in evidence.md's words: discrimination not worse by .02,
calibration in bounds, no subgroup worse by .05 beyond its interval, coverage, canaries, swap test,
donor copy test, latency. docs/adr/0023 says why each limit is what it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml.bundle import load_decoder, load_mirage, settings_of
from ml.card import JUDGED_FROM, BundleCard, Gate, gate_words, verify
from ml.data.cohort import Cohort
from ml.evaluation.canaries import canary_gates
from ml.evaluation.judged_people import JudgedPeople, SeenInTrainingError, judged_people
from ml.evaluation.metrics import (
    Estimate,
    Scores,
    auc,
    auc_difference,
    calibration,
    proportion,
    scorecard,
)
from ml.evaluation.paired import paired_differences
from ml.evaluation.picture_gates import picture_gates
from ml.evaluation.robustness import probabilities
from ml.evaluation.speed import latency_gates
from ml.mirage import Mirage
from ml.predictor import Predictor
from ml.records import Answer, PatientRecord

MOST_PEOPLE = 5_000
WORSE_BY = 0.02
SLOPES, INTERCEPTS = (0.7, 1.4), (-0.4, 0.4)
CALIBRATION_NEEDS = 50
"""People of each diagnosis, without whom the interval of the slope is wider than its bounds."""
COVERAGE_BELOW = 0.02
COVERAGE_NEEDS = 50
SUBGROUP_WORSE_BY = 0.05
SUBGROUP_NEEDS, CLASS_NEEDS = 30, 10
Progress = Callable[[int, int], None]


class SeenHoldoutError(SeenInTrainingError):
    """The candidate was trained on people of the holdout."""


@dataclass(frozen=True, slots=True)
class Model:
    """One of the two bundles, loaded.

    Attributes:
        probability: calibrated P(AD) of every judged person, whatever is missing.
        answers: what a user would be told of each.
    """

    card: BundleCard
    folder: Path
    predictor: Predictor
    mirage: Mirage
    probability: Scores
    answers: np.ndarray


def check_gates(
    candidate: Path, champion: Path | None, holdout: Path, *, seed: int = 1, progress: Progress
) -> dict[str, Any]:
    """Judge a candidate on a holdout.

    Args:
        candidate: folder of its bundle.
        champion: folder of the bundle that answers now; None if there is none.
        holdout: cohort folder of people set aside.
        seed: of what is shuffled.
        progress: told how many gates are through, and of how many.

    Returns:
        JSON: `gates` (`ml.card.Gate`), and in `report` every figure that was looked at.

    Raises:
        SeenHoldoutError: people of the holdout trained the candidate.
        BundleError, CohortError: see `judged_people`.
    """
    steps = 8
    cohort = Cohort.load(holdout)
    people = _unseen(cohort, candidate)
    progress(0, steps)
    new = _load(candidate, people)
    progress(1, steps)
    old = None if champion is None else _load(champion, people)
    progress(2, steps)
    gates = [_discrimination(new, old, people), *_calibration(new, people)]
    gates += _subgroups(new, old, people)
    gates += _coverage(new, people)
    progress(3, steps)
    gates += canary_gates(new.predictor, people.records, people.labels, seed=seed)
    progress(4, steps)
    gates += [_of_the_card(gate, new.card) for gate in new.card.gates]
    decoder = load_decoder(candidate, new.card).decoder
    gates += picture_gates(
        decoder,
        new.mirage.surrogate(new.mirage.scaler.encode(records_for(new.card, people.records))),
        people.labels,
        new.card.spacing_mm,
    )
    progress(6, steps)
    gates += latency_gates(new.predictor, old.predictor if old else None, people.records)
    progress(steps, steps)
    return {
        "gates": [asdict(gate) for gate in gates],
        "report": _report(new, old, people, _champion_saw(cohort, champion)),
    }


def _unseen(cohort: Cohort, bundle: Path) -> JudgedPeople:
    people = judged_people(cohort, bundle, new=False, most=MOST_PEOPLE)
    people = replace(people, records=[cohort.records[each] for each in people.ids])
    if people.trained:
        raise SeenHoldoutError(
            f"The holdout is dealt as the people who trained this bundle were: {len(people)} of "
            "them tested it and the others trained it. Freeze a holdout of other people."
        )
    return people


def _champion_saw(cohort: Cohort, champion: Path | None) -> bool:
    """A champion older than the holdout may have trained on its people, which flatters it."""
    if champion is None:
        return False
    try:
        return bool(judged_people(cohort, champion, new=False, most=MOST_PEOPLE).trained)
    except SeenInTrainingError:
        return True


def _load(folder: Path, people: JudgedPeople) -> Model:
    """Each bundle gets the records cut to its own schema, as it would when it answers."""
    card = verify(folder)
    predictor, mirage = Predictor.load(folder), load_mirage(folder, card)
    records = records_for(card, people.records)
    answers = np.array([each.answer.value for each in predictor.predict(records)])
    return Model(card, folder, predictor, mirage, probabilities(mirage, records), answers)


def records_for(card: BundleCard, records: Sequence[PatientRecord]) -> list[PatientRecord]:
    """What of each record a bundle reads."""
    read = set(card.schema)
    return [
        PatientRecord(
            patient=record.patient,
            values={name: value for name, value in record.values.items() if name in read},
        )
        for record in records
    ]


def _discrimination(new: Model, old: Model | None, people: JudgedPeople) -> Gate:
    enough = min(np.bincount(people.labels, minlength=2)) >= CLASS_NEEDS
    enough = bool(enough) and len(people) >= JUDGED_FROM
    if old is None:
        found = auc(new.probability, people.labels)
        return _gate(
            "auc", "AUC", found, 0.5, found.low > 0.5 if enough else None,
            f"{_words(found)}; there is no champion to compare with", "its interval above 0.50",
        )  # fmt: skip
    found = auc_difference(new.probability, old.probability, people.labels)
    return _gate(
        "auc_difference", "AUC, minus the champion's", found, -WORSE_BY,
        found.low > -WORSE_BY if enough else None,
        f"{_signed(found)}", f"its interval above {_minus(-WORSE_BY)}",
    )  # fmt: skip


def _calibration(new: Model, people: JudgedPeople) -> list[Gate]:
    fewest = int(min(np.bincount(people.labels, minlength=2)))
    slope, intercept = calibration(new.probability, people.labels)
    gates = []
    for name, title, found, (low, high) in (
        ("calibration_slope", "Calibration slope", slope, SLOPES),
        ("calibration_intercept", "Calibration intercept", intercept, INTERCEPTS),
    ):
        passed = low <= found.value <= high if fewest >= CALIBRATION_NEEDS else None
        few = (
            "" if passed is not None else _few(fewest, "of the rarer diagnosis", CALIBRATION_NEEDS)
        )
        gates.append(
            _gate(
                name, title, found, low, passed, f"{_words(found)}{few}",
                f"between {_minus(low)} and {_minus(high)}",
            )
        )  # fmt: skip
    return gates


def subgroups_of(people: JudgedPeople) -> dict[str, np.ndarray]:
    """Rows of each subgroup: sex, age, APOE e4."""

    def value(name: str) -> np.ndarray:
        return np.array([record.values.get(name, np.nan) for record in people.records])

    age, female, apoe4 = value("age"), value("female"), value("apoe4")
    return {
        "Women": female == 1,
        "Men": female == 0,
        "Below 70 years": age < 70,
        "70 to 79 years": (age >= 70) & (age < 80),
        "80 years and over": age >= 80,
        "APOE e4 carriers": apoe4 >= 1,
        "No APOE e4": apoe4 == 0,
    }


def _subgroups(new: Model, old: Model | None, people: JudgedPeople) -> list[Gate]:
    """Against the champion; a first model has nobody to be worse than."""
    if old is None:
        return []
    gates = []
    for name, rows in subgroups_of(people).items():
        n, fewest = int(rows.sum()), _fewest(people, rows)
        title = (
            f"Subgroup: {name[0].lower()}{name[1:]}" if name[:4] != "APOE" else f"Subgroup: {name}"
        )
        limit = f"not worse by {SUBGROUP_WORSE_BY:.2f} beyond its interval"
        key = f"subgroup_{name.lower().replace(' ', '_')}"
        if n < SUBGROUP_NEEDS or fewest < CLASS_NEEDS:
            gates.append(
                Gate(
                    name=key, value=None, bound=-SUBGROUP_WORSE_BY, people=n, passed=None,
                    title=title, limit=limit,
                    finding=f"{n} people, {fewest} of the rarer diagnosis; it needs "
                    f"{SUBGROUP_NEEDS} and {CLASS_NEEDS}",
                )
            )  # fmt: skip
            continue
        found = auc_difference(new.probability[rows], old.probability[rows], people.labels[rows])
        worse = found.value <= -SUBGROUP_WORSE_BY and found.high < 0
        gates.append(
            _gate(
                key, title, found, -SUBGROUP_WORSE_BY, not worse,
                f"AUC {_signed(found)}, n {n:,}", limit,
            )
        )  # fmt: skip
    return gates


def _fewest(people: JudgedPeople, rows: np.ndarray) -> int:
    return int(min(np.bincount(people.labels[rows], minlength=2)))


def _coverage(new: Model, people: JudgedPeople) -> list[Gate]:
    """How often the truth is not excluded, of those who get an answer at all, by class."""
    nominal = settings_of(new.card).diagnosis.coverage
    bound = nominal - COVERAGE_BELOW
    answered = np.isin(new.answers, (Answer.AD, Answer.CN, Answer.UNCERTAIN))
    gates = []
    for own, label in (("ad", 1), ("cn", 0)):
        mine = answered & (people.labels == label)
        n = int(mine.sum())
        name, title = f"{own}_covered", f"{own.upper()} not excluded where it is true"
        limit = f"at least {bound:.2f}, which is {nominal:.2f} less two points"
        if not n:
            gates.append(
                Gate(
                    name=name, value=None, bound=bound, people=0, passed=None, title=title,
                    limit=limit, finding="nobody of this diagnosis got an answer",
                )
            )  # fmt: skip
            continue
        held = np.isin(new.answers[mine], (own, Answer.UNCERTAIN))
        found = proportion(int(held.sum()), n)
        passed = found.value >= bound if n >= COVERAGE_NEEDS else None
        few = "" if passed is not None else _few(n, "people", COVERAGE_NEEDS)
        gates.append(_gate(name, title, found, bound, passed, f"{_words(found)}{few}", limit))
    return gates


def _of_the_card(gate: Gate, card: BundleCard) -> Gate:
    """What the training measured and nobody can measure again: a bundle keeps no encoder."""
    words = gate_words(gate).partition(": ")[0]
    return Gate(
        name=f"card_{gate.name}",
        value=gate.value,
        bound=gate.bound,
        people=gate.people,
        passed=gate.passed,
        title=f"Of its own card: {gate.name.replace('_', ' ')}",
        finding=f"{words.partition(',')[0].rpartition(' ')[2]} on {gate.people} test people",
        limit=f"at least {gate.bound:.2f}",
    )


def _report(new: Model, old: Model | None, people: JudgedPeople, saw: bool) -> dict[str, Any]:
    threshold = float(new.card.training["calibration"]["threshold"])
    report: dict[str, Any] = {
        "people": len(people),
        "with_ad": int((people.labels == 1).sum()),
        "candidate": dict(scorecard(new.probability, people.labels, threshold)),
        "champion": None,
        "differences": {},
        "champion_saw_the_holdout": saw,
        "subgroups": [
            {
                "name": name,
                "people": int(rows.sum()),
                "candidate": _subgroup_auc(new, people, rows),
                "champion": _subgroup_auc(old, people, rows) if old else None,
            }
            for name, rows in subgroups_of(people).items()
        ],
        "answers": {answer.value: int((new.answers == answer).sum()) for answer in Answer},
    }
    if old is not None:
        old_threshold = float(old.card.training["calibration"]["threshold"])
        report["champion"] = dict(scorecard(old.probability, people.labels, old_threshold))
        report["differences"] = {
            name: asdict(found)
            for name, found in paired_differences(
                (new.probability, threshold), (old.probability, old_threshold), people.labels
            ).items()
        }
    return report


def _subgroup_auc(model: Model, people: JudgedPeople, rows: np.ndarray) -> dict[str, Any] | None:
    if rows.sum() < SUBGROUP_NEEDS or _fewest(people, rows) < CLASS_NEEDS:
        return None
    return asdict(auc(model.probability[rows], people.labels[rows]))


def _gate(
    name: str, title: str, found: Estimate, bound: float, passed: bool | None, finding: str,
    limit: str,
) -> Gate:  # fmt: skip
    return Gate(
        name=name,
        value=found.value,
        low=found.low,
        high=found.high,
        bound=bound,
        people=found.n,
        passed=passed,
        title=title,
        finding=finding,
        limit=limit,
    )


def _few(n: int, what: str, needs: int) -> str:
    return f"; {n} {what}, {needs} needed"


def _words(found: Estimate) -> str:
    return f"{_minus(found.value)} ({_minus(found.low)} to {_minus(found.high)})"


def _signed(found: Estimate) -> str:
    sign = "+" if found.value > 0 else ""
    return f"{sign}{_minus(found.value, 3)} ({_minus(found.low, 3)} to {_minus(found.high, 3)})"


def _minus(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}".replace("-", "\u2212")
