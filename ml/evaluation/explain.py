r"""What each finding of a record adds to the model's log-odds, by integrated gradients.

$$c_j = \int_0^1 (x_j - b_j)^\top \frac{\partial l}{\partial x_j}\bigl(b + t (x - b)\bigr)\,dt,
  \qquad \sum_j c_j = l(x) - l(b)$$

Sundararajan, Taly and Yan 2017. The base b is the same record with every finding as it is on
average in the training people, so a finding is explained against not knowing better.

Paper: none; ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from ml.mirage import Member, Mirage
from ml.patient_graph import Findings, FindingScaler
from ml.records import PatientRecord

STEPS = 32
MOST_STEPS = 1_024
TOLERANCE = 5e-3
"""Largest part of the log-odds that the steps may miss before they are made finer."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One record explained.

    Attributes:
        logit: calibrated log-odds of AD.
        base_logit: the same with every finding at the training people's average.
        contributions: concept to what it adds, in log-odds; they sum to `logit - base_logit`.
    """

    logit: float
    base_logit: float
    contributions: Mapping[str, float]


def explain(mirage: Mirage, records: Sequence[PatientRecord]) -> list[Explanation]:
    """Contributions of every finding that a record holds and the model reads.

    The integral is a mean over steps, made finer until it misses less than .005 of a
    log-odds; what it still misses is spread over the findings by their size.

    Raises:
        RecordError: a record holds an unknown concept or an implausible value.
    """
    return [_explain(mirage, mirage.scaler.encode([record])) for record in records]


def _explain(mirage: Mirage, findings: Findings) -> Explanation:
    base = _base(mirage.scaler, findings)
    with torch.no_grad():
        ends = _logit(
            mirage, findings.rows(torch.tensor([0, 0])), torch.cat([base, findings.value])
        )
    change = float(ends[1] - ends[0])
    steps = STEPS
    parts = _integral(mirage, findings, base, steps)
    while abs(change - float(parts.sum())) > TOLERANCE and steps < MOST_STEPS:
        steps *= 4
        parts = _integral(mirage, findings, base, steps)
    missed = change - parts.sum()
    parts = parts + missed * parts.abs() / parts.abs().sum().clamp_min(1e-12)
    contributions: dict[str, float] = {}
    for column, part in zip(findings.column[0].tolist(), parts.tolist(), strict=True):
        concept = mirage.scaler.columns[column].concept
        contributions[concept] = contributions.get(concept, 0.0) + part
    seen = {mirage.scaler.columns[c].concept for c in findings.column[findings.observed].tolist()}
    return Explanation(float(ends[1]), float(ends[0]), {name: contributions[name] for name in seen})


def _base(scaler: FindingScaler, findings: Findings) -> Float[Tensor, "1 most 2"]:
    """The average finding: a z-score of 0, and the share of people in whom it is present."""
    base = torch.zeros_like(findings.value)
    base[..., 1] = scaler.average_presence[findings.column]
    return base * findings.observed.unsqueeze(-1)


def _integral(
    mirage: Mirage, findings: Findings, base: Tensor, steps: int
) -> Float[Tensor, " most"]:
    """Midpoint rule along the straight path from the base to the record."""
    along = (torch.arange(steps) + 0.5) / steps
    change = findings.value - base
    places = (base + along.reshape(-1, 1, 1) * change).requires_grad_()
    people = findings.rows(torch.zeros(steps, dtype=torch.long))
    [gradient] = torch.autograd.grad(_logit(mirage, people, places).sum(), places)
    parts: Tensor = (gradient.mean(0) * change[0]).sum(-1)
    return parts


def _logit(
    mirage: Mirage, findings: Findings, value: Float[Tensor, "patients most 2"]
) -> Float[Tensor, " patients"]:
    """Calibrated log-odds as a function of the findings' values, with their gradient."""
    people = Findings(findings.column, value, findings.observed)
    logits = []
    for each in mirage.members:
        member = cast("Member", each)
        logits.append(member.head(member.surrogate(member.reader(people))))
    mean = torch.stack(logits).mean(0)
    logit: Tensor = mirage.calibration.slope * mean + mirage.calibration.intercept
    return logit
