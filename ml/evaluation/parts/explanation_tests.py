"""Which explanations of a bundle are worth showing: five tests of each method, on its judges.

A method gives each finding of a record a contribution in log-odds. Tested are the effect of a
finding (with it minus without it, which the pages show), integrated gradients against the
average person, and attention. Only a method that passes all five may be offered to the pages
(ADR 19); there, each single ranking is tested again.

Paper: none; ours (evidence.md section 6; Adebayo et al. 2018 for the models of noise).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import cast

import numpy as np
import torch
from scipy.stats import spearmanr

from ml.concepts import Kind, dictionary
from ml.evaluation import explain as gradients
from ml.evaluation.faithfulness import randomised
from ml.evaluation.metrics import proportion
from ml.evaluation.parts.planted_cause import planted, quietest
from ml.evaluation.parts.quick_reading import QuickReading
from ml.evaluation.parts.trial import (
    LEAST,
    Figures,
    NotToldError,
    Progress,
    Trial,
    copy_of,
    mean_of,
)
from ml.explanation import DRAWS, MOST_REMOVED, PASSING_SHARE, effects_of
from ml.mirage import Member, Mirage
from ml.patient_graph import Findings
from ml.records import PatientRecord

NOISES, PEOPLE_OF_NOISE = 6, 6
NEEDED = 0.9
"""Share of people in whom a test must hold."""
MOST_ALIKE = 0.3
"""Correlation with models of noise that its interval must stay within."""
SMALL_CHANGE = 0.1
"""Of a measurement, in standard deviations of the training people."""
STABLE_FROM = 0.8
"""Rank correlation from which on an explanation counts as the same."""
CLEARLY_PLANTED = 0.5
"""z-score from which on a planted cause must be seen in a person."""

Contributions = Mapping[str, float]
Method = Callable[[Mirage, PatientRecord], Contributions]


def by_effect(mirage: Mirage, record: PatientRecord) -> Contributions:
    """Log-odds with a finding minus those without it."""
    found = effects_of(mirage, record, mirage.scaler.encode([record]))
    return {effect.concept: effect.log_odds for effect in found}


def by_gradients(mirage: Mirage, record: PatientRecord) -> Contributions:
    """Integrated gradients from the average person."""
    return gradients.explain(mirage, [record])[0].contributions


@torch.no_grad()
def by_attention(mirage: Mirage, record: PatientRecord) -> Contributions:
    """Weight that a finding gets, mean over members, layers and heads.

    Of every path from the graph to a person the last step, which is the only one that differs
    between people: states of concepts are the same for all. A weight says how much and not which
    way, so the direction is lent to it by the effect of the finding.
    """
    findings = mirage.scaler.encode([record])
    members = [cast("Member", each) for each in mirage.members]
    weights = torch.stack([member.reader.attention(findings)[:, 0] for member in members])
    share: dict[str, float] = defaultdict(float)
    for column, weight in zip(findings.column[0], weights.mean((0, 1, 3)), strict=True):
        share[mirage.scaler.columns[int(column)].concept] += float(weight)
    effects = by_effect(mirage, record)
    return {name: math.copysign(share[name], effect) for name, effect in effects.items()}


METHODS: Mapping[str, Method] = {
    "Effect of a finding": by_effect,
    "Integrated gradients": by_gradients,
    "Attention": by_attention,
}


def explanation_figures(trial: Trial, most: int, progress: Progress) -> Figures:
    """Deletion, insertion, models of noise, small changes and a planted cause, for each method.

    Args:
        trial: the bundle and its judges.
        most: judges whose records are explained, the first ones.
        progress: told the step.

    Returns:
        JSON: each method's tests, each with its figure and whether it passed; and the names of the
        methods that passed all.

    Raises:
        NotToldError: fewer than five people have enough findings for a ranking.
    """
    records = [each for each in trial.people.records if len(each.values) >= 4][:most]
    if len(records) < LEAST:
        raise NotToldError(
            f"{len(records)} of these people have four findings or more, which a ranking needs; "
            f"{LEAST} such people are the least"
        )
    methods = {}
    for number, (name, method) in enumerate(METHODS.items()):
        step = partial(_step, progress, number)
        explained = [method(trial.mirage, record) for record in records]
        step(1)
        tests = {"deletion": _removal(trial.mirage, records, explained, inserted=False)}
        tests["insertion"] = _removal(trial.mirage, records, explained, inserted=True)
        step(2)
        tests["noise"] = _noise(trial, method, records, explained)
        step(3)
        tests["stability"] = _stability(trial, method, records, explained)
        step(4)
        tests["planted"] = _planted_cause(trial.mirage, method, records, explained)
        step(5)
        methods[name] = {
            "tests": tests,
            "passed": all(each["passed"] for each in tests.values()),
        }
    return {
        "people": len(records),
        "needed": NEEDED,
        "alike": MOST_ALIKE,
        "methods": methods,
        "passed": [name for name, each in methods.items() if each["passed"]],
    }


def _step(progress: Progress, method: int, done: int) -> None:
    progress("explanations", 5 * method + done, 5 * len(METHODS))


def _share(held: Sequence[bool]) -> Figures:
    """Share of people in whom a test held; fewer than five people pass nothing."""
    if len(held) < LEAST:
        return {"figure": None, "passed": False}
    figure = proportion(sum(held), len(held))
    return {"figure": asdict(figure), "passed": figure.value >= NEEDED}


def _removal(
    mirage: Mirage,
    records: Sequence[PatientRecord],
    explained: Sequence[Contributions],
    *,
    inserted: bool,
) -> Figures:
    """Do the first findings of a ranking move the log-odds more than as many random ones?"""
    reading, held = QuickReading(mirage), []
    for record, contributions in zip(records, explained, strict=True):
        findings = mirage.scaler.encode([record])
        owner = [mirage.scaler.columns[column].concept for column in findings.column[0].tolist()]
        shares = [
            outdone(reading, findings, owner, top, toward_ad=toward_ad, inserted=inserted)
            for toward_ad in (True, False)
            if (top := first(contributions, toward_ad=toward_ad))
        ]
        if shares:
            held.append(min(shares) >= PASSING_SHARE)
    return _share(held)


def first(contributions: Contributions, *, toward_ad: bool) -> list[str]:
    """The strongest findings in one direction, at most a quarter of all and at most five."""
    most = min(MOST_REMOVED, len(contributions) // 4)
    signed = {name: c if toward_ad else -c for name, c in contributions.items()}
    ranked = sorted(signed, key=lambda name: -signed[name])
    return [name for name in ranked if signed[name] > 0][:most]


def outdone(
    reading: QuickReading,
    findings: Findings,
    owner: Sequence[str],
    top: Sequence[str],
    *,
    toward_ad: bool,
    inserted: bool,
) -> float:
    """Share of random sets of findings that move the log-odds less than the top ones do.

    Args:
        reading: of the model.
        findings: of one record.
        owner: concept of each of its places.
        top: concepts that a ranking puts first in one direction.
        toward_ad: that direction.
        inserted: they are put into a record that holds nothing else, instead of taken away.
    """
    names = list(dict.fromkeys(owner[at] for at in findings.observed[0].nonzero()[:, 0].tolist()))
    draw = torch.Generator().manual_seed(len(names))  # the same draws whenever it is asked
    random = [
        [names[at] for at in torch.randperm(len(names), generator=draw)[: len(top)].tolist()]
        for _ in range(DRAWS)
    ]
    sets = [set(chosen) for chosen in ((), top, *random)]
    chosen = torch.tensor([[name in each for name in owner] for each in sets])
    people = findings.rows(torch.zeros(len(sets), dtype=torch.long))
    log_odds = reading.log_odds(people.without(~chosen if inserted else chosen))
    moved_by = log_odds[1:] - log_odds[0]
    along = moved_by if toward_ad == inserted else -moved_by
    return float((along[1:] <= along[0]).double().mean())


def _noise(
    trial: Trial,
    method: Method,
    records: Sequence[PatientRecord],
    explained: Sequence[Contributions],
) -> Figures:
    """Mean rank correlation with what the method says of models of noise, over these models."""
    means = []
    for number in range(NOISES):
        noise = randomised(copy_of(trial.mirage), 1_000 * trial.seed + number)
        alike = [
            rank_correlation(own, method(noise, record))
            for own, record in zip(
                explained[:PEOPLE_OF_NOISE], records[:PEOPLE_OF_NOISE], strict=True
            )
        ]
        means.append(_mean(alike))
    figure = mean_of([each for each in means if each is not None])
    passed = figure is not None and max(abs(figure["low"]), abs(figure["high"])) <= MOST_ALIKE
    return {"figure": figure, "passed": passed}


def _stability(
    trial: Trial,
    method: Method,
    records: Sequence[PatientRecord],
    explained: Sequence[Contributions],
) -> Figures:
    """Share of people whose explanation stays when every measurement moves a little.

    `others` is the mean rank correlation with the explanation of the next person, as a measure: a
    method that said the same of everybody would be stable, too.
    """
    rng = np.random.default_rng((trial.seed, 7_201))
    alike = [
        rank_correlation(own, method(trial.mirage, moved(trial.mirage, record, rng)))
        for own, record in zip(explained, records, strict=True)
    ]
    of_others = [
        rank_correlation(own, other)
        for own, other in zip(explained, [*explained[1:], explained[0]], strict=True)
    ]
    known = [each >= STABLE_FROM for each in alike if not math.isnan(each)]
    return {**_share(known), "mean": _mean(alike), "others": _mean(of_others)}


def moved(mirage: Mirage, record: PatientRecord, rng: np.random.Generator) -> PatientRecord:
    """The record with every measurement moved by about a tenth of its spread in training."""
    known = dictionary()
    spread = {
        column.concept: float(each)
        for column, each in zip(mirage.scaler.columns, mirage.scaler.spread, strict=True)
    }

    def near(name: str, value: float) -> float:
        concept = known[name]
        if concept.kind is not Kind.CONTINUOUS:
            return value
        step = SMALL_CHANGE * spread[name] * float(rng.standard_normal())
        return float(np.clip(value + step, concept.low, concept.high))

    values = {name: near(name, value) for name, value in record.values.items()}
    return PatientRecord(patient=record.patient, values=values)


def _planted_cause(
    mirage: Mirage,
    method: Method,
    records: Sequence[PatientRecord],
    explained: Sequence[Contributions],
) -> Figures:
    """Is a cause that was built into the model the first that the method names?

    `before` is the share of the same people in whom that finding came first without it.
    """
    name = quietest(mirage, records, explained)
    if name is None:
        return {"figure": None, "passed": False, "concept": None}
    other = planted(mirage, records, name)
    place = next(n for n, each in enumerate(mirage.scaler.columns) if each.concept == name)
    found, before = [], []
    for record, own in zip(records, explained, strict=True):
        if name not in own:
            continue
        findings = mirage.scaler.encode([record])
        score = float(findings.dense(len(mirage.scaler.columns))[0, place])
        if abs(score) < CLEARLY_PLANTED:
            continue
        contributions = method(other, record)
        right_way = contributions[name] * score > 0
        found.append(_strongest(contributions) == name and right_way)
        before.append(_strongest(own) == name)
    share = float(np.mean(before)) if before else None
    return {**_share(found), "concept": name, "before": share}


def _strongest(contributions: Contributions) -> str:
    return max(contributions, key=lambda name: abs(contributions[name]))


def rank_correlation(one: Contributions, two: Contributions) -> float:
    """Spearman's correlation over the findings that both explain; NaN where there is none."""
    both = [name for name in one if name in two]
    pairs = np.array([[one[name], two[name]] for name in both])
    if len(both) < 3 or np.ptp(pairs, axis=0).min() == 0:
        return math.nan
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def _mean(values: Sequence[float]) -> float | None:
    known = [each for each in values if not math.isnan(each)]
    return float(np.mean(known)) if known else None
