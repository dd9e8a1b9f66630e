"""From the scores of the cells to the tables: figures, intervals and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.metrics import roc_auc_score

from ml.evaluation.metrics import Estimate, auc, auc_difference, balanced_accuracy, proportion
from ml.evaluation.repeated import PersonBootstrap
from ml.evaluation.tables import mean_of, shown
from ml.evaluation.tables.cells import Bench
from ml.evaluation.tables.people import people_of
from ml.evaluation.tables.records import scores_of
from ml.evaluation.tables.registry import ROWS, Row
from ml.training.evaluate import youden_threshold

DRAWS = 1_000
HELD_AGAINST = {1: "the best simple reader", 2: "MIRAGE"}
THRESHOLDED = ("balanced_accuracy", "accuracy", "f1", "sensitivity", "specificity")


def tables(bench: Bench, seeds: Sequence[int], rows: Sequence[str]) -> dict[str, Any]:
    """Every row that has its cells, for each seed and over them.

    Returns:
        JSON: `people` and `cost` of each seed, `rows` with figures by seed and over seeds, and
        which simple reader the rows of Table 1 are held against: the one with the largest mean AUC
        on the test people, which flatters it.
    """
    judged = {seed: people_of(bench, seed) for seed in seeds if bench.is_made("people", seed)}
    there = {
        name: [seed for seed in judged if bench.is_made(ROWS[name].cell, seed)] for name in ROWS
    }
    best = _best_simple(bench, there, {s: each.test.labels for s, each in judged.items()})
    found: dict[str, Any] = {}
    for name in rows:
        against = best if ROWS[name].table == 1 else "ours"
        runs = {}
        for seed in there[name]:
            dealt = judged[seed]
            compare = against if against and against != name and seed in there[against] else None
            runs[seed] = _figures(
                bench, seed, ROWS[name], compare, dealt.train.labels, dealt.test.labels
            )
        if runs:
            independent = bench.settings.cohort is None
            found[name] = {
                "table": ROWS[name].table,
                "title": ROWS[name].title,
                "paper_auc": ROWS[name].paper,
                "seeds": {str(seed): figures for seed, figures in runs.items()},
                "mean": _over_seeds(list(runs.values()), independent=independent),
            }
    people = {str(seed): bench.figures("people", seed) for seed in judged}
    return {
        "settings": bench.settings.entries(),
        "people": people,
        "cost": {str(seed): _cost(bench, seed) for seed in judged},
        "best_simple": best,
        "rows": found,
    }


def _cost(bench: Bench, seed: int) -> dict[str, int | float]:
    """Cells that were made, of how many, and the minutes they took, one after the other."""
    made = [name for name in bench.cells if bench.is_made(name, seed)]
    minutes = sum(bench.seconds(name, seed) for name in made) / 60
    return {"cells": len(made), "of": len(bench.cells), "minutes": round(minutes, 1)}


def _best_simple(
    bench: Bench,
    there: Mapping[str, Sequence[int]],
    labels: Mapping[int, Int[np.ndarray, " patients"]],
) -> str | None:
    means = {}
    for name, row in ROWS.items():
        if row.simple and there[name]:
            areas = [
                roc_auc_score(labels[seed], scores_of(bench, seed, row.cell, row.score)[1].numpy())
                for seed in there[name]
            ]
            means[name] = float(np.mean(areas))
    return max(means, key=lambda name: means[name]) if means else None


def _figures(
    bench: Bench,
    seed: int,
    row: Row,
    compare: str | None,
    train_labels: Int[np.ndarray, " train"],
    labels: Int[np.ndarray, " test"],
) -> dict[str, Any]:
    train, test = (each.numpy() for each in scores_of(bench, seed, row.cell, row.score))
    draws = PersonBootstrap(labels, [str(n) for n in range(len(labels))], draws=DRAWS, seed=seed)
    figures: dict[str, Any] = {
        "auc": asdict(auc(test, labels)),
        "auc_bootstrap": asdict(draws.auc(test[None])),
    }
    if compare is not None:
        other = ROWS[compare]
        beside = scores_of(bench, seed, other.cell, other.score)[1].numpy()
        figures["difference"] = asdict(auc_difference(test, beside, labels))
        figures["difference_bootstrap"] = asdict(draws.difference(test[None], beside[None]))
    known = ~np.isnan(train)
    if len(set(train_labels[known].tolist())) == 2:
        threshold = youden_threshold(train[known], train_labels[known] == 1)
        figures |= at_threshold(test, labels, threshold, seed=seed)
    cell = bench.figures(row.cell, seed)
    more = {"likeness": cell.get("likeness"), "r2": cell.get("surrogate", {}).get("out_of_fold_r2")}
    if row.cell.startswith("mirage/"):
        drawn = scores_of(bench, seed, row.cell, "cnn")[1].numpy()
        more["cnn_auc"] = asdict(auc(drawn, labels))
    if row.score in (cell.get("likeness") or {}):
        more["likeness"] = cell["likeness"][row.score]
    return figures | {key: value for key, value in more.items() if value is not None}


def at_threshold(
    scores: Float[np.ndarray, " people"],
    labels: Int[np.ndarray, " people"],
    threshold: float,
    *,
    seed: int,
) -> dict[str, Any]:
    """Figures of calling everybody AD from a threshold on that was chosen on other people."""
    positive: Bool[np.ndarray, " people"] = scores >= threshold
    right = positive == (labels == 1)
    ad = labels == 1
    return {
        "threshold": float(threshold),
        "balanced_accuracy": asdict(balanced_accuracy(scores, labels, threshold)),
        "accuracy": asdict(proportion(int(right.sum()), len(labels))),
        "f1": asdict(f1(positive, ad, seed=seed)),
        "sensitivity": asdict(proportion(int(positive[ad].sum()), int(ad.sum()))),
        "specificity": asdict(proportion(int((~positive)[~ad].sum()), int((~ad).sum()))),
    }


def f1(
    positive: Bool[np.ndarray, " people"], ad: Bool[np.ndarray, " people"], *, seed: int
) -> Estimate:
    r"""$2 TP / (2 TP + FP + FN)$ with a percentile interval from people drawn anew.

    Example:
        >>> yes, no = True, False
        >>> f1(np.array([yes, yes, no, no]), np.array([yes, no, yes, no]), seed=0).value
        0.5
    """
    n = len(ad)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    weights = np.concatenate([np.ones((1, n), dtype=weights.dtype), weights])
    hits, wrong = weights @ (positive & ad), weights @ (positive != ad)
    values = 2 * hits / np.maximum(2 * hits + wrong, 1)
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return Estimate(value=float(values[0]), low=float(low), high=float(high), n=n)


def _over_seeds(runs: Sequence[Mapping[str, Any]], *, independent: bool) -> dict[str, Any]:
    """Means with two intervals: `over_seeds` (Student's) and `over_people`.

    The second is that of a mean of seeds whose people are others, or, where each seed deals the
    same people anew, as wide as one seed's.
    """
    names = ("auc", "difference", *THRESHOLDED, "cnn_auc")
    found: dict[str, Any] = {}
    for name in names:
        each = [run[name] for run in runs if name in run]
        if each:
            found[name] = {
                "over_seeds": mean_of(each),
                "over_people": _over_people(each, independent=independent),
                "seeds": len(each),
            }
    for name in ("r2",):
        values = [run[name] for run in runs if name in run]
        if values:
            found[name] = float(np.mean(values))
    likeness = [run["likeness"] for run in runs if "likeness" in run]
    if likeness:
        found["likeness"] = {
            key: float(np.mean([each[key] for each in likeness])) for key in likeness[0]
        }
    return found


def _over_people(figures: Sequence[Mapping[str, float]], *, independent: bool) -> dict[str, Any]:
    value = float(np.mean([each["value"] for each in figures]))
    share = len(figures) ** 0.5 if independent else 1.0
    below = float(np.mean([each["value"] - each["low"] for each in figures])) / share
    above = float(np.mean([each["high"] - each["value"] for each in figures])) / share
    people = int(sum(each["n"] for each in figures))
    return asdict(Estimate(value=value, low=value - below, high=value + above, n=people))


def readable(results: Mapping[str, Any]) -> str:
    """Both tables as Markdown."""
    people, rows = results["people"], results["rows"]
    sizes = [f"seed {seed}: {n['train']} train, {n['test']} judge" for seed, n in people.items()]
    costs = [
        f"seed {seed}: {each['cells']} of {each['of']} cells in {each['minutes']:.0f} min"
        for seed, each in results["cost"].items()
    ]
    lines = ["; ".join(sizes) + ".", "; ".join(costs) + ", one after the other.", ""]
    best = results["best_simple"]
    simple = ROWS[best].title if best else "none"
    lines += [
        f"Table 1. Differences are to {simple}, the best of the simple readers of the record.",
        "",
        "| row | seeds | AUC | minus best simple | BAcc | accuracy | F1 | SEN | SPE | paper: AUC |",
        "| --- " * 10 + "|",
    ]
    for row in (each for each in rows.values() if each["table"] == 1):
        mean, paper = row["mean"], row["paper_auc"]
        shares = [
            f"{mean[k]['over_people']['value']:.3f}" if k in mean else "" for k in THRESHOLDED
        ]
        lines.append(
            f"| {row['title']} | {mean['auc']['seeds']} | {_shown(mean, 'auc')} | "
            f"{_shown(mean, 'difference', sign=True)} | {' | '.join(shares)} | "
            f"{'' if paper is None else f'{paper:.2f}'} |"
        )
    lines += [
        "",
        "Table 2. Differences are to MIRAGE's surrogate.",
        "",
        "| row | seeds | AUC | minus MIRAGE | CNN on pseudo-MRI | R² of z | SSIM | paper: AUC |",
        "| --- " * 8 + "|",
    ]
    for row in (each for each in rows.values() if each["table"] == 2):
        mean, paper = row["mean"], row["paper_auc"]
        like = mean.get("likeness")
        lines.append(
            f"| {row['title']} | {mean['auc']['seeds']} | {_shown(mean, 'auc')} | "
            f"{_shown(mean, 'difference', sign=True)} | {_shown(mean, 'cnn_auc')} | "
            f"{_number(mean.get('r2'))} | {_number(like and like['ssim'])} | "
            f"{'' if paper is None else f'{paper:.2f}'} |"
        )
    return "\n".join(lines)


def _shown(mean: Mapping[str, Any], name: str, *, sign: bool = False) -> str:
    """With the wider of the two intervals."""
    if name not in mean:
        return ""
    both = mean[name]["over_seeds"], mean[name]["over_people"]
    return shown(max(both, key=lambda each: each["high"] - each["low"]), sign=sign)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".replace("-", "−")
