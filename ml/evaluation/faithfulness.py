"""Whether explanations are of the model: the deletion test over many people, and a model of noise.

A ranking is worth showing if taking its first findings away moves the probability more than random
ones in 90 % of people, and if another model, whose weights are noise, ranks the findings of the
same people in another order (Adebayo et al. 2018). Paper: none; ours (evidence.md section 6).
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from ml.bundle import load_mirage
from ml.card import verify
from ml.data.phantom import PhantomConfig
from ml.data.phantom_people import dense_people
from ml.evaluation.metrics import proportion
from ml.explanation import Explanation, explain
from ml.mirage import Mirage
from ml.records import PatientRecord

PEOPLE = 200
NEEDED = 0.9


def faithfulness(bundle: Path, *, seed: int, people: int = PEOPLE) -> dict[str, Any]:
    """Explain imagined people by a bundle and by the same bundle with weights of noise.

    Args:
        bundle: folder of the bundle.
        seed: of the people and of the noise.
        people: how many.

    Returns:
        JSON: the share of people whose ranking passed, and the mean rank correlation of the
        effects' sizes with those of the model of noise, with the interval of the mean.

    Raises:
        BundleError: the folder holds no valid bundle.
    """
    card = verify(bundle)
    mirage = load_mirage(bundle, card)
    spans = {name: (low, high) for name, (low, high) in card.training.get("inputs", {}).items()}
    noise = randomised(load_mirage(bundle, card), seed)
    drawn = dense_people(people, entropy=(seed, 7_101), config=PhantomConfig())
    passed, correlations = 0, []
    for record in drawn.records:
        known = {name: v for name, v in record.values.items() if name in card.schema}
        own = PatientRecord(patient=record.patient, values=known)
        explanation = explain(mirage, own, spans)
        passed += explanation.passed
        correlations.append(rank_correlation(explanation, explain(noise, own, spans)))
    mean, error = float(np.mean(correlations)), float(np.std(correlations, ddof=1))
    reach = 1.959964 * error / np.sqrt(people)
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
            "n": people,
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


def rank_correlation(first: Explanation, second: Explanation) -> float:
    """Spearman's correlation of the sizes of two explanations' effects on the same findings."""
    sizes = {effect.concept: abs(effect.log_odds) for effect in second.effects}
    pairs = [(abs(effect.log_odds), sizes[effect.concept]) for effect in first.effects]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def readable(results: Mapping[str, Any]) -> str:
    """What docs/results.md quotes."""
    share, noise = results["deletion_passed"], results["rank_correlation_with_noise"]
    return (
        f"Deletion test passed by {share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f}) "
        f"of {results['people']} people; needed are {results['needed']:.2f}.\n"
        f"Rank correlation with a model of noise: {noise['value']:+.3f} "
        f"({noise['low']:+.3f} to {noise['high']:+.3f})."
    )
