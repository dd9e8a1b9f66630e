r"""What moved one probability, whether that can be believed, and what the missing inputs could do.

The effect of a finding is computed, not estimated: the record is read with it and without it,

$$e_j = \operatorname{logit} p(x) - \operatorname{logit} p(x_{\setminus j})$$

A record has fewer than a hundred findings, so all of them cost one batched call. (Integrated
gradients, in `ml.evaluation.explain`, ask another question: what a finding adds against the
average person's.) A ranking is shown only if it passes the deletion test: taking away the findings
that it puts first must move the probability more than taking away as many others at random.

Paper: none; ours (evidence.md section 6).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ml.concepts import Concept, Kind
from ml.mirage import Mirage
from ml.patient_graph import Findings
from ml.records import PatientRecord

MOST_REMOVED = 5
DRAWS = 200
PASSING_SHARE = 0.95
"""Share of the random removals that the top findings must outdo."""
SPAN_NORMAL_QUANTILE = 1.644854
"""From the 5th to the 95th percentile of a normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one finding does to the probability.

    Attributes:
        concept: its identifier.
        value: of the record, in the concept's unit.
        change: P(AD) with the finding minus P(AD) without it.
        log_odds: the same in log-odds, by which effects are ranked.
    """

    concept: str
    value: float
    change: float
    log_odds: float


@dataclass(frozen=True, slots=True)
class Deletion:
    """The top findings in one direction taken away, against as many at random.

    Attributes:
        toward_ad: whether these findings raise the probability.
        removed: their concepts, the strongest first.
        change: of P(AD) when they are taken away together.
        random_change: mean of the changes when as many are taken away at random.
        random_low, random_high: 2.5th and 97.5th percentile of those.
        outdone: share of the random removals that move the log-odds less in this direction.
    """

    toward_ad: bool
    removed: tuple[str, ...]
    change: float
    random_change: float
    random_low: float
    random_high: float
    outdone: float

    @property
    def passed(self) -> bool:
        return self.outdone >= PASSING_SHARE


@dataclass(frozen=True, slots=True)
class WouldMove:
    """Where a missing input could move the probability.

    Attributes:
        concept: its identifier.
        low, high: least and largest P(AD) over the values that were tried.
        at_low, at_high: the values that give them, in the concept's unit.
    """

    concept: str
    low: float
    high: float
    at_low: float
    at_high: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """One probability explained.

    Attributes:
        probability: calibrated P(AD) of the record, as `Predictor.predict` gives it.
        effects: of every finding that the model reads, the strongest first.
        deletions: the test of that ranking, one for each direction that has findings.
        missing: what each missing input could do, the widest first.
        distance, limit: how far the record lies from the training people, and from which distance
            on no number is given, both in standard deviations of theirs.
    """

    probability: float
    effects: tuple[Effect, ...]
    deletions: tuple[Deletion, ...]
    missing: tuple[WouldMove, ...]
    distance: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the ranking may be shown."""
        return bool(self.deletions) and all(each.passed for each in self.deletions)


Spans = Mapping[str, tuple[float, float]]
"""Concept to the 5th and the 95th percentile of the training people who had a value."""


def explain(mirage: Mirage, record: PatientRecord, spans: Spans) -> Explanation:
    """Explain the probability of one record.

    Args:
        mirage: the model.
        record: whose probability.
        spans: plausible values of each input; what it lacks is taken from the scaler's mean and
            spread.

    Raises:
        RecordError: the record holds an unknown concept or an implausible value.
    """
    findings = mirage.scaler.encode([record])
    reading = mirage.read(findings)
    effects = effects_of(mirage, record, findings)
    return Explanation(
        probability=float(mirage.probability(findings)[0]),
        effects=effects,
        deletions=tuple(_deletions(mirage, findings, effects)),
        missing=missing_inputs(mirage, record, spans),
        distance=float(mirage.familiarity(reading.embedding)[0]),
        limit=float(mirage.familiarity.limit),
    )


def effects_of(mirage: Mirage, record: PatientRecord, findings: Findings) -> tuple[Effect, ...]:
    """Read the record without each of its findings in turn, the strongest first."""
    places = _places(mirage, findings)
    if not places:
        return ()
    dropped = torch.stack([torch.zeros_like(findings.observed[0]), *places.values()])
    log_odds, probability = _read_without(mirage, findings, dropped)
    found = [
        Effect(
            concept=name,
            value=record.values[name],
            change=float(probability[0] - probability[row]),
            log_odds=float(log_odds[0] - log_odds[row]),
        )
        for row, name in enumerate(places, start=1)
    ]
    return tuple(sorted(found, key=lambda effect: -abs(effect.log_odds)))


def deletion_test(
    mirage: Mirage, findings: Findings, removed: Sequence[str], *, toward_ad: bool
) -> Deletion:
    """Take some findings away together, and then as many at random, 200 times.

    Args:
        mirage: the model.
        findings: of one record.
        removed: concepts that a ranking puts first in one direction.
        toward_ad: that direction.
    """
    places = _places(mirage, findings)
    names = list(places)
    generator = torch.Generator().manual_seed(len(names))  # the same draws whenever it is asked
    draws = [
        torch.randperm(len(names), generator=generator)[: len(removed)].tolist()
        for _ in range(DRAWS)
    ]
    sets = [removed, *([names[place] for place in drawn] for drawn in draws)]
    dropped = torch.stack([torch.stack([places[name] for name in each]).any(0) for each in sets])
    whole = torch.zeros_like(findings.observed)
    log_odds, probability = _read_without(mirage, findings, torch.cat([whole, dropped]))
    moved = log_odds[1:] - log_odds[0]
    changes = probability[1:] - probability[0]
    lost = -moved if toward_ad else moved
    low, high = torch.quantile(changes[1:], torch.tensor([0.025, 0.975])).tolist()
    return Deletion(
        toward_ad=toward_ad,
        removed=tuple(removed),
        change=float(changes[0]),
        random_change=float(changes[1:].mean()),
        random_low=low,
        random_high=high,
        outdone=float((lost[1:] <= lost[0]).double().mean()),
    )


def _deletions(mirage: Mirage, findings: Findings, effects: Sequence[Effect]) -> list[Deletion]:
    """At most a quarter of the findings, so that a random draw can be another one."""
    most = min(MOST_REMOVED, len(effects) // 4)
    found = []
    for toward_ad in (True, False):
        top = [e.concept for e in effects if (e.log_odds > 0) == toward_ad and e.log_odds][:most]
        if top:
            found.append(deletion_test(mirage, findings, top, toward_ad=toward_ad))
    return found


def missing_inputs(mirage: Mirage, record: PatientRecord, spans: Spans) -> tuple[WouldMove, ...]:
    """Try plausible values of each missing input, one input at a time; the widest first.

    Inputs that nobody in training had a value of cannot move anything and are left out.
    """
    seen: dict[str, bool] = {}
    for column, count in zip(mirage.scaler.columns, mirage.scaler.seen.tolist(), strict=True):
        seen[column.concept] = seen.get(column.concept, False) or count > 0
    tried = [
        (concept.id, value)
        for concept in mirage.scaler.concepts
        if concept.id not in record.values and seen[concept.id]
        for value in plausible_values(concept, spans.get(concept.id) or _span(mirage, concept))
    ]
    if not tried:
        return ()
    completed = [
        PatientRecord(patient=record.patient, values={**record.values, name: value})
        for name, value in tried
    ]
    probability = mirage.probability(mirage.scaler.encode(completed)).tolist()
    by_input: dict[str, list[tuple[float, float]]] = {}
    for (name, value), reached in zip(tried, probability, strict=True):
        by_input.setdefault(name, []).append((reached, value))
    found = [
        WouldMove(name, min(each)[0], max(each)[0], min(each)[1], max(each)[1])
        for name, each in by_input.items()
    ]
    return tuple(sorted(found, key=lambda each: each.low - each.high))


def plausible_values(concept: Concept, span: tuple[float, float]) -> tuple[float, ...]:
    """Absent and present; each level between the percentiles; the percentiles and their middle.

    >>> from ml.concepts import dictionary
    >>> plausible_values(dictionary()["hypertension"], (0.0, 1.0))
    (0.0, 1.0)
    >>> plausible_values(dictionary()["systolic_mmhg"], (110.0, 160.0))
    (110.0, 135.0, 160.0)
    """
    low, high = span
    if concept.kind is Kind.PRESENCE:
        return (1.0,)
    if concept.kind is Kind.BINARY:
        return (0.0, 1.0)
    if concept.kind is Kind.CATEGORICAL:
        return tuple(float(level) for level in concept.levels)
    if concept.kind is Kind.ORDINAL:
        levels = concept.levels or range(round(low), round(high) + 1)
        return tuple(float(each) for each in levels if round(low) <= each <= round(high))
    return tuple(dict.fromkeys((low, (low + high) / 2, high)))


def _span(mirage: Mirage, concept: Concept) -> tuple[float, float]:
    """What a normal distribution of this mean and spread would have, within what was seen."""
    scaler = mirage.scaler
    place = next(n for n, column in enumerate(scaler.columns) if column.concept == concept.id)
    mean, reach = float(scaler.mean[place]), SPAN_NORMAL_QUANTILE * float(scaler.spread[place])
    least, most = float(scaler.lowest[place]), float(scaler.highest[place])
    return max(least, mean - reach), min(most, mean + reach)


def _places(mirage: Mirage, findings: Findings) -> dict[str, Bool[Tensor, " most"]]:
    """Where each concept's finding stands in a record of one person (a category has several)."""
    found: dict[str, Tensor] = {}
    observed = findings.observed[0]
    for place, column in enumerate(findings.column[0].tolist()):
        if observed[place]:
            name = mirage.scaler.columns[column].concept
            found.setdefault(name, torch.zeros_like(observed))[place] = True
    return found


def _read_without(
    mirage: Mirage, findings: Findings, dropped: Bool[Tensor, "sets most"]
) -> tuple[Float[Tensor, " sets"], Float[Tensor, " sets"]]:
    """Calibrated log-odds and probability of one record without each of some sets of findings."""
    people = findings.rows(torch.zeros(len(dropped), dtype=torch.long)).without(dropped)
    mean = mirage.read(people).logits.mean(0)
    calibration = mirage.calibration
    log_odds: Tensor = calibration.slope * mean + calibration.intercept
    return log_odds, calibration.probability(mean)
