"""What all generative baselines share: how a record is read, and the loop that trains them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ml.patient_graph import Findings

Loss = Callable[[Int[Tensor, " batch"], int], Float[Tensor, ""]]
"""Of the rows of a batch and the step; larger is worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """Training of one generative baseline.

    Attributes:
        steps: optimiser steps.
        batch_size: people a step.
        learning_rate: peak of the one-cycle schedule of AdamW.
        weight_decay: of AdamW.
        hidden: units of hidden layers, or feature maps of the widest convolution.
        drop_condition: share of the records that a diffusion model does not see in training, so
            that it also learns to draw anybody (MDR-Dx: .1); 0 to 1.
        guidance: w of classifier-free guidance; 0 leaves the condition as it is.
        sampling_steps: steps of DDIM.
    """

    steps: int = 600
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    hidden: int = 128
    drop_condition: float = 0.1
    guidance: float = 1.0
    sampling_steps: int = 50


def record_table(findings: Findings, columns: int) -> Float[Tensor, "patients inputs"]:
    """z-scores, then presence, column by column: nothing observed is not the training mean."""
    value = findings.value * findings.observed.unsqueeze(-1)
    halves = [
        torch.zeros(len(findings), columns).scatter_add(1, findings.column, value[..., part])
        for part in (0, 1)
    ]
    return torch.cat(halves, dim=1)


def optimise(
    parameters: Iterable[nn.Parameter], people: int, loss_of: Loss, config: GeneratorConfig
) -> list[float]:
    """Train by AdamW on random batches, everybody once before anybody twice.

    Returns:
        The loss of each step.
    """
    learned = list(parameters)
    optimiser = torch.optim.AdamW(
        learned, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps + 1, pct_start=0.3
    )
    losses, rows = [], torch.empty(0, dtype=torch.int64)
    batch_size = min(config.batch_size, people)
    for step in range(config.steps):
        if len(rows) < batch_size:
            rows = torch.cat([rows, torch.randperm(people)])
        batch, rows = rows[:batch_size], rows[batch_size:]
        loss = loss_of(batch, step)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def perceptron(inputs: int, hidden: int, outputs: int, dropout: float = 0.2) -> nn.Sequential:
    """Two hidden layers, as all readers of records here have them."""
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, outputs),
    )
