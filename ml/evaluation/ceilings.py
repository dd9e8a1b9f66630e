"""How much of the diagnosis a dense record holds: by model, by number of people, and at most.

What no reader of a record can pass, however it was trained, is the AUC of the best model with
endless people. What no reader of anything can pass is the AUC of the hidden severity.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ml.concepts import dictionary, schema
from ml.data.phantom import PhantomConfig
from ml.data.phantom_people import People, dense_people
from ml.evaluation.baselines import BASELINES, fit_baseline, fit_table
from ml.evaluation.metrics import auc
from ml.evaluation.tables import shown

TEST = 2_000
TRUTH_TRAIN = 3_000


class CeilingsError(ValueError):
    """Results of different settings would be mixed."""


def ceilings(
    sizes: Sequence[int],
    *,
    seed: int,
    models: Sequence[str] = tuple(BASELINES),
    label_errors: float = 0.0,
    done: Mapping[str, Any] | None = None,
    save: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """AUC of tuned baselines at several numbers of training people, and of the truth itself.

    Inputs that lean on the diagnosis are left out. Models learn the recorded label and are
    measured on 2,000 other people against the recorded label and the true state.

    Args:
        sizes: numbers of training people; the smaller sets are parts of the larger.
        seed: of the people and the models.
        models: names of baselines.
        label_errors: share of recorded diagnoses that are wrong, 0 to 1.
        done: earlier results with the same seed and errors, which are kept and not run again.
        save: called with the results after each model.

    Raises:
        CeilingsError: `done` was made with another seed or other errors.
    """
    config = replace(PhantomConfig(), label_error_rate=label_errors)
    setting = {"test": TEST, "seed": seed, "label_errors": label_errors}
    results: dict[str, Any] = {**setting, "models": {}, **(done or {})}
    if any(results[key] != value for key, value in setting.items()):
        raise CeilingsError(
            f"The file holds results of seed {results['seed']} with {results['label_errors']:g} of "
            "the labels wrong. Give another file for other settings."
        )
    test = dense_people(TEST, entropy=(seed, 7_102), config=config)
    if "truth" not in results:
        results["truth"] = _truth(test, config, seed)
    known = dictionary()
    concepts = [known[name] for name in schema() if not known[name].label_proximal]
    for size in sizes:
        found = results["models"].setdefault(str(size), {})
        missing = [name for name in models if name not in found]
        train = dense_people(size if missing else 0, entropy=(seed, 7_101), config=config)
        for name in missing:
            model = fit_baseline(name, concepts, train.records, train.label, seed=seed)
            found[name] = _against(model.predict_proba(test.records), test)
            if save is not None:
                save(results)
    return results


def _against(scores: Float[np.ndarray, " people"], people: People) -> dict[str, Any]:
    return {
        "label": asdict(auc(scores, people.label)),
        "state": asdict(auc(scores, people.state)),
    }


def _truth(test: People, config: PhantomConfig, seed: int) -> dict[str, Any]:
    """What the generator knows: the severity, and the true deformations with age and sex."""
    severity = np.array([person.severity for person in test.persons])
    train = dense_people(TRUTH_TRAIN, entropy=(seed, 7_103), config=config)
    tables = []
    for people in (train, test):
        rows = [
            (p.ventricle_mm, p.hippocampus_mm, p.cortex_mm, p.age_years, p.female)
            for p in people.persons
        ]
        tables.append(np.array(rows, dtype=float))
    mean, spread = tables[0].mean(0), tables[0].std(0)
    fitted, _ = fit_table("lr", (tables[0] - mean) / spread, train.state, seed=seed)
    shape = fitted.predict_proba((tables[1] - mean) / spread)[:, 1]
    return {"severity": _against(severity, test), "deformations": _against(shape, test)}


def readable(results: Mapping[str, Any]) -> str:
    """The table that docs/results.md quotes: AUC against the true state."""
    names = list(BASELINES)
    lines = [f"| training people | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    for size, models in sorted(results["models"].items(), key=lambda each: int(each[0])):
        cells = [shown(models[name]["state"]) if name in models else "" for name in names]
        lines.append(f"| {int(size):,} | {' | '.join(cells)} |")
    lines.append("")
    lines += [f"{name}: {shown(figures['state'])}" for name, figures in results["truth"].items()]
    return "\n".join(lines)
