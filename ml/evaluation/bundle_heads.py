"""The readers of a finished bundle on the people of a cohort who did not train it."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ml.bundle import load_decoder, load_mirage, load_reader
from ml.card import BundleError, verify
from ml.data.cohort import Cohort, CohortError, split_hash
from ml.evaluation.heads import HeldOut, Progress, both_diagnoses, compare_heads, read_scans
from ml.evaluation.tables import shown
from ml.skip_bank import SkipBank, person_keys
from ml.training.split import split_people


def bundle_heads(
    bundle: Path,
    cohort_folder: Path,
    *,
    new: bool = False,
    most: int = 1000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What `ml.evaluation.heads.compare_heads` finds for a bundle.

    On the cohort that the bundle was trained on, its test part is looked at, and the donors'
    diagnoses are found by their hashes. On a new cohort it is everybody with a record, a scan and
    a diagnosis.

    Args:
        bundle: folder of a bundle with a reader.
        cohort_folder: see `ml.data.cohort`; scans on the bundle's grid.
        new: whether nobody of the cohort trained the bundle; names alone cannot tell, because two
            cohorts may use the same ones.
        most: people at most, the first ones of the cohort.

    Raises:
        BundleError: the bundle cannot be read, or is older than the reader.
        CohortError: there are not two people of each diagnosis, or the cohort is not the one that
            the bundle was trained on.
    """
    card = verify(bundle)
    reader = load_reader(bundle, card)
    if reader is None:
        raise BundleError(
            f"The bundle in {bundle} reads no pseudo-MRIs: it was made before there was a CNN. "
            "Train it again."
        )
    mirage, drawer = load_mirage(bundle, card), load_decoder(bundle, card).decoder
    cohort = Cohort.load(cohort_folder)
    parts = split_people(cohort, card.seed)
    if not new and split_hash(asdict(parts)) != card.training["split"]:
        raise CohortError(
            f"{cohort_folder.name} is not the cohort that {card.name} {card.version} was trained "
            "on: its people would be dealt otherwise. If all of them are new to it, say so (--new)."
        )
    scanned = set(cohort.ids_with_scan())
    everybody = [each for each in cohort.ids if each in cohort.records]
    ids = [
        each
        for each in (everybody if new else parts.test)
        if each in scanned and cohort.labels[each] is not None
    ][:most]
    labels = np.array([cohort.labels[each] for each in ids], dtype=np.int64)
    if not both_diagnoses(labels):
        raise CohortError(
            f"{cohort_folder.name} has {len(ids)} people with a record, a scan and a diagnosis who "
            f"did not train the bundle, {int((labels == 1).sum())} of them with AD. Give a cohort "
            "with at least two of each diagnosis."
        )
    people = HeldOut(
        mirage.scaler.encode([cohort.records[each] for each in ids]),
        read_scans(reader, cohort, ids, card.spacing_mm),
        labels,
    )
    donors = None if new else _donor_labels(drawer.skip_bank, cohort)
    figures = compare_heads(
        mirage, drawer, reader, people, donors, seed=card.seed, progress=progress
    )
    return {"bundle": card.version, "people": len(ids), "new_cohort": new, **figures}


def _donor_labels(bank: SkipBank, cohort: Cohort) -> Float[Tensor, " donors"]:
    """Diagnoses of the donors of a bundle, by the hashes that stand for their names."""
    keys = person_keys([cohort.persons[each] for each in cohort.ids]).tolist()
    labels = {
        key: cohort.labels[each]
        for key, each in zip(keys, cohort.ids, strict=True)
        if cohort.labels[each] is not None
    }
    known = [labels.get(key) for key in bank.donor_keys.tolist()]
    return torch.tensor([float("nan") if each is None else float(each) for each in known])


def readable(results: Mapping[str, Any]) -> str:
    """The figures as Markdown tables: the readers, and then the neighbours' controls."""
    lines = [
        f"{results['people']} people, bundle {results['bundle']}",
        "",
        "| AUC | |",
        "| --- | --- |",
    ]
    for name, figure in results.items():
        if isinstance(figure, Mapping) and "value" in figure:
            lines.append(f"| {name.replace('_', ' ')} | {shown(figure, sign='_minus_' in name)} |")
    lines += ["", "| CNN on pseudo-MRI, AUC with | |", "| --- | --- |"]
    for name, figure in results.get("neighbours", {}).items():
        value = shown(figure) if isinstance(figure, Mapping) else _number(figure)
        lines.append(f"| {name.replace('_', ' ')} | {value} |")
    return "\n".join(lines)


def _number(figure: float | None) -> str:
    return "not defined" if figure is None else f"{figure:.3g}"
