"""Whether explanations are of the model: the deletion test over many people, and a model of noise.

A ranking is worth showing if taking its first findings away moves the probability more than random
ones in 90 % of people, and if the effects that models of noise give to the findings of the same
people do not correlate with them (Adebayo et al. 2018). Effects are compared with their signs:
their sizes alone agree a little in any two models, because a finding that is rare is far from the
mean for all of them. Paper: none; ours (evidence.md section 6).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr, t

from ml.bundle import load_mirage
from ml.card import verify
from ml.data.phantom import PhantomConfig
from ml.data.phantom_people import dense_people
from ml.evaluation.metrics import proportion
from ml.explanation import Effect, effects_of, explain
from ml.mirage import Mirage
from ml.records import PatientRecord

PEOPLE = 200
NOISES, PEOPLE_OF_NOISE = 10, 40
NEEDED = 0.9


def faithfulness(bundle: Path, *, seed: int, people: int = PEOPLE) -> dict[str, Any]:
    """Explain imagined people by a bundle and by the same bundle with weights of noise.

    Args:
        bundle: folder of the bundle.
        seed: of the people and of the noise.
        people: how many; the first 40 are explained by ten models of noise, too.

    Returns:
        JSON: the share of people whose ranking passed, and the mean rank correlation of effects
        with those of models of noise, with its interval over these models.

    Raises:
        BundleError: the folder holds no valid bundle.
    """
    card = verify(bundle)
    mirage = load_mirage(bundle, card)
    spans = {name: (low, high) for name, (low, high) in card.training.get("inputs", {}).items()}
    drawn = dense_people(people, entropy=(seed, 7_101), config=PhantomConfig())
    records = [
        PatientRecord(
            patient=record.patient,
            values={name: v for name, v in record.values.items() if name in card.schema},
        )
        for record in drawn.records
    ]
    explained = [explain(mirage, record, spans) for record in records]
    correlations = []
    for number in range(NOISES):
        noise = randomised(load_mirage(bundle, card), seed * 1_000 + number)
        of_one = [
            rank_correlation(own.effects, effects_of(noise, record, noise.scaler.encode([record])))
            for own, record in zip(
                explained[:PEOPLE_OF_NOISE], records[:PEOPLE_OF_NOISE], strict=True
            )
        ]
        correlations.append(float(np.mean(of_one)))
    mean, error = float(np.mean(correlations)), float(np.std(correlations, ddof=1))
    reach = float(t.ppf(0.975, NOISES - 1)) * error / np.sqrt(NOISES)
    passed = sum(each.passed for each in explained)
    return {
        "bundle": card.version,
        "people": people,
        "seed": seed,
        "deletion_passed": asdict(proportion(passed, people)),
        "needed": NEEDED,
        "rank_correlation_with_noise": {
            "value": mean,
            "low": mean - reach,
            "high": mean + reach,
            "n": NOISES,
        },
    }


def randomised(mirage: Mirage, seed: int) -> Mirage:
    """Draw the weights of a model's members anew, in place, as large as they were."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in mirage.members.named_parameters():
            spread = float(weight.std()) if weight.numel() > 1 else 1.0
            if "norm" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * spread)
        for name, stored in mirage.members.named_buffers():
            if name.endswith("states"):
                stored.copy_(torch.randn(stored.shape, generator=generator) * float(stored.std()))
    return mirage.eval()


def rank_correlation(first: Sequence[Effect], second: Sequence[Effect]) -> float:
    """Spearman's correlation of the effects that two models give to the same findings."""
    other = {effect.concept: effect.log_odds for effect in second}
    pairs = [(effect.log_odds, other[effect.concept]) for effect in first]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def readable(results: Mapping[str, Any]) -> str:
    """What docs/results.md quotes."""
    share, noise = results["deletion_passed"], results["rank_correlation_with_noise"]
    return (
        f"Deletion test passed by {share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f}) "
        f"of {results['people']} people; needed are {results['needed']:.2f}.\n"
        f"Rank correlation of effects with those of {noise['n']} models of noise: "
        f"{noise['value']:+.3f} ({noise['low']:+.3f} to {noise['high']:+.3f})."
    )
