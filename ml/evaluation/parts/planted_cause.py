"""A model whose cause is known: the bundle's own, with one finding wired into its log-odds.

Explanations of a trained model can be compared with nothing, because nobody knows what it does.
So something known is built in: a finding that the model hardly uses is made to move the log-odds
more than anything else does, and an explanation must name it.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ml.concepts import Kind, dictionary
from ml.evaluation.parts.trial import copy_of
from ml.mirage import Member, Mirage
from ml.patient_graph import Findings
from ml.records import PatientRecord
from ml.surrogate import SurrogateReader

LEAST_SHARE = 0.5
"""Share of people who must have a value of the planted finding."""
STRENGTH = 3.0
"""What one standard deviation of the planted finding moves the log-odds by, in standard deviations
of everybody's log-odds now."""
NUDGE = 1e-2


class PlantedReader(nn.Module):
    """A graph encoder that also moves its embedding along a direction, as one finding says.

    Args:
        reader: the encoder as it was trained.
        column: of the finding.
        direction: what one standard deviation of the finding adds to the embedding.
    """

    direction: Tensor

    def __init__(
        self, reader: SurrogateReader, column: int, direction: Float[Tensor, " width"]
    ) -> None:
        super().__init__()
        self.reader = reader
        self.column = column
        self.register_buffer("direction", direction)

    def forward(self, findings: Findings) -> Float[Tensor, "patients width"]:
        """The embedding, moved by the z-score of the finding where it was observed."""
        here = (findings.column == self.column) & findings.observed
        score = (findings.value[..., 0] * here).sum(1, keepdim=True)
        moved: Tensor = self.reader(findings) + score * self.direction
        return moved

    def attention(self, findings: Findings) -> Float[Tensor, "layers patients most heads"]:
        """As it was: the cause goes past the attention, as a value in a message can, too."""
        return self.reader.attention(findings)


def quietest(
    mirage: Mirage, records: Sequence[PatientRecord], explained: Sequence[Mapping[str, float]]
) -> str | None:
    """The measurement that moves the model least, of those that most people have."""
    known = dictionary()
    candidates = {
        column.concept
        for column in mirage.scaler.columns
        if known[column.concept].kind is Kind.CONTINUOUS
    }
    mean = {
        name: float(np.mean(sizes))
        for name in candidates
        if len(sizes := [abs(each[name]) for each in explained if name in each])
        >= LEAST_SHARE * len(records)
    }
    return min(mean, key=lambda name: (mean[name], name)) if mean else None


def planted(mirage: Mirage, records: Sequence[PatientRecord], name: str) -> Mirage:
    """A copy of the model in which one standard deviation of a finding moves the log-odds most.

    The direction is the one along which each member's head rises fastest at the mean embedding of
    these people.
    """
    other = copy_of(mirage)
    findings = mirage.scaler.encode(records)
    column = next(n for n, each in enumerate(mirage.scaler.columns) if each.concept == name)
    spread = float(mirage.read(findings).logits.mean(0).std())
    wanted = STRENGTH * max(spread, NUDGE)
    for each in other.members:
        member = cast("Member", each)
        with torch.no_grad():
            middle = member.reader(findings).mean(0, keepdim=True)
        middle.requires_grad_()
        [gradient] = torch.autograd.grad(member.head(member.surrogate(middle)).sum(), middle)
        direction = (gradient / gradient.square().sum().clamp_min(1e-12))[0]
        member.add_module("reader", PlantedReader(member.reader, column, wanted * direction))
    return other.eval()
