"""The knowledge graph as a bundle keeps it, spoiled: does the model need it to be right?

A bundle holds no graph, but what the graph's layers made of each finding: its concept states
(method.md section 6). So a graph that is wrong when it serves means states that belong to other
findings, or to none. A graph that is wrong while it trains is a row of the tables instead.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import norm
from torch import Tensor

from ml.evaluation.metrics import Estimate, Labels, areas_with_covariance, auc
from ml.evaluation.parts.quick_reading import CHUNK, QuickReading
from ml.evaluation.parts.trial import Figures, Progress, Trial, copy_of
from ml.mirage import Member, Mirage

SHARES = (0.1, 0.3, 0.5, 0.7, 1.0)
DRAWS = 3
"""Choices of findings at each share; the figure is the mean over them."""
States = Float[Tensor, "layers columns width"]
Spoil = Callable[[States, Int[Tensor, " chosen"], torch.Generator], States]


def under_spoiled_states(trial: Trial, progress: Progress) -> Figures:
    """AUC when concept states of a share of the findings are exchanged, or replaced by noise.

    Returns:
        JSON: for each way and share AUC and its paired change, over people and draws.
    """
    records = trial.people.records
    findings = [
        trial.mirage.scaler.encode(records[start : start + CHUNK])
        for start in range(0, len(records), CHUNK)
    ]
    whole = QuickReading(trial.mirage).of_findings(findings)
    found: Figures = {"draws": DRAWS, "complete": asdict(auc(whole, trial.people.labels))}
    ways = {"exchanged": exchanged, "random": replaced}
    for way, (name, spoil) in enumerate(ways.items()):
        found[name] = []
        for step, share in enumerate(SHARES, start=1):
            models = [
                spoiled(trial.mirage, share, spoil, seed=1_000 * trial.seed + draw)
                for draw in range(DRAWS)
            ]
            scores = [QuickReading(model).of_findings(findings) for model in models]
            found[name].append({"share": share, **over_draws(scores, whole, trial.people.labels)})
            progress("concept states", way * len(SHARES) + step, len(ways) * len(SHARES))
    return found


def spoiled(mirage: Mirage, share: float, spoil: Spoil, *, seed: int) -> Mirage:
    """A copy of the model with the states of a share of its findings spoiled, alike in all members.

    With the same seed, what is spoiled grows from share to share.
    """
    other = copy_of(mirage)
    members = [cast("Member", each) for each in other.members]
    columns = members[0].reader.states.shape[1]
    order = torch.randperm(columns, generator=torch.Generator().manual_seed(seed))
    chosen = order[: round(share * columns)]
    for member in members:
        states = member.reader.states
        states.copy_(spoil(states, chosen, torch.Generator().manual_seed(seed)))
    return other


def exchanged(states: States, chosen: Int[Tensor, " chosen"], draw: torch.Generator) -> States:
    """Each chosen finding gets the states of another chosen one: right states, wrong findings."""
    del draw  # the order of the chosen is drawn already
    spoiled_states = states.clone()
    spoiled_states[:, chosen] = states[:, chosen.roll(1)]
    return spoiled_states


def replaced(states: States, chosen: Int[Tensor, " chosen"], draw: torch.Generator) -> States:
    """Each chosen finding gets states of random direction, as long as its own."""
    noise = torch.randn(states[:, chosen].shape, generator=draw)
    length = states[:, chosen].norm(dim=2, keepdim=True)
    spoiled_states = states.clone()
    spoiled_states[:, chosen] = noise * length / noise.norm(dim=2, keepdim=True)
    return spoiled_states


def over_draws(
    scores: list[Float[np.ndarray, " people"]], whole: Float[np.ndarray, " people"], labels: Labels
) -> Figures:
    """Mean AUC of several draws and its paired change, with the variance of people and of draws.

    People are the same in all draws, so their part of the variance comes from DeLong's covariance;
    draws differ from each other on top of that.
    """
    areas, covariance = areas_with_covariance(np.stack([*scores, whole]), labels)
    draws = len(scores)
    of_draws = float(areas[:-1].var(ddof=1)) / draws if draws > 1 else 0.0

    def estimate(weights: Float[np.ndarray, " models"], least: float) -> Figures:
        value = float(weights @ areas)
        error = max(float(weights @ covariance @ weights) + of_draws, 0.0) ** 0.5
        reach = float(norm.ppf(0.975)) * error
        return asdict(
            Estimate(
                value=value,
                low=max(least, value - reach),
                high=min(1.0, value + reach),
                n=len(labels),
            )
        )

    mean = np.append(np.full(draws, 1 / draws), 0.0)
    return {
        "auc": estimate(mean, 0.0),
        "change": estimate(mean - np.append(np.zeros(draws), 1.0), -1.0),
    }
