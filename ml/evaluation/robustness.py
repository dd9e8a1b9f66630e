"""How a trained bundle stands missing values, missing groups and another clinic's table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ml.bundle import load_mirage
from ml.card import verify
from ml.concept_linking import NEVER_BY_TEXT, THRESHOLD, Embed, assign_one_to_one
from ml.concepts import Concept, concepts_by_name, dictionary, normalise_name
from ml.data.cells import CellReader, Refusal
from ml.data.phantom import PhantomConfig
from ml.data.phantom_people import People, dense_people
from ml.data.phantom_second import OTHER_NAMES, second_cohort, unit_of
from ml.evaluation.metrics import auc, auc_difference
from ml.evaluation.tables import shown
from ml.mirage import Mirage
from ml.records import PatientRecord

PEOPLE = 2_000
CHUNK = 500
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
MISSING_COLUMNS = 0.4
Predict = Callable[[Sequence[PatientRecord]], Float[np.ndarray, " patients"]]


@dataclass(frozen=True, slots=True)
class LinkedColumn:
    """What became of one column of a foreign table.

    Attributes:
        header: as the table writes it.
        concept: identifier of the concept; None if nothing is near enough.
        score: 1 for a name of the dictionary, the cosine of the texts otherwise.
    """

    header: str
    concept: str | None
    score: float


def robustness(bundle: Path, embed: Embed, *, seed: int) -> dict[str, Any]:
    """AUC against the true state under missing values and under another schema, with intervals.

    Everything is scaled by the bundle's own statistics of its training people and by the units of
    the concept dictionary (method.md trap 11). Every probability is used, also those that the
    bundle would hold back as too few inputs.

    Args:
        bundle: folder of the bundle.
        embed: names to unit vectors, to link columns.
        seed: of the people and of what is missing.

    Returns:
        JSON: each situation's AUC and its paired difference to the complete records.

    Raises:
        BundleError: the folder holds no valid bundle.
    """
    card = verify(bundle)
    mirage = load_mirage(bundle, card)
    people = dense_people(PEOPLE, entropy=(seed, 7_001), config=PhantomConfig())
    people = replace(people, records=[_only(card.schema, record) for record in people.records])
    figures = _Figures(people, lambda records: probabilities(mirage, records))
    for share in SHARES[1:]:
        rng = np.random.default_rng((seed, 7_002))  # the same draws: what is missing grows
        figures.add(
            f"{round(100 * share)} % of the values missing",
            hide_values(people.records, share, rng),
        )
    groups = dict.fromkeys(dictionary()[name].group for name in card.schema)
    for group in groups:
        figures.add(f"without the group {group}", hide_group(people.records, group))
    header, rows = second_cohort(people.records)
    links = link_header(header, embed)
    second, refused = read_second(links, rows)
    figures.add("other schema", second)
    gone = np.random.default_rng((seed, 7_003)).permutation(len(header))[
        : round(MISSING_COLUMNS * len(header))
    ]
    left = [place for place in range(len(header)) if place not in set(gone.tolist())]
    cut = [tuple(row[place] for place in left) for row in rows]
    cut_links = link_header([header[place] for place in left], embed)
    figures.add("other schema, 40 % of the columns missing", read_second(cut_links, cut)[0])
    names = list(OTHER_NAMES)
    kept = [names[place] for place in left]
    figures.add(
        "own schema, the same columns missing", [_only(kept, record) for record in people.records]
    )
    right = sum(each.concept == name for each, name in zip(links, OTHER_NAMES, strict=True))
    return {
        "bundle": card.version,
        "people": PEOPLE,
        "seed": seed,
        "complete": asdict(auc(figures.complete, people.state)),
        "situations": figures.found,
        "linking": {
            "columns": len(links),
            "right": right,
            "refused_cells": refused,
            "wrong": [
                {"header": each.header, "linked": each.concept, "score": round(each.score, 3)}
                for each, name in zip(links, OTHER_NAMES, strict=True)
                if each.concept != name
            ],
        },
    }


class _Figures:
    """AUC in each situation, and what it loses against the complete records."""

    def __init__(self, people: People, predict: Predict) -> None:
        self._truth = people.state
        self._predict = predict
        self.complete = predict(people.records)
        self.found: dict[str, Any] = {}

    def add(self, name: str, records: Sequence[PatientRecord]) -> None:
        """Predict for the same people from other records."""
        scores = self._predict(records)
        self.found[name] = {
            "auc": asdict(auc(scores, self._truth)),
            "change": asdict(auc_difference(scores, self.complete, self._truth)),
        }


def probabilities(
    mirage: Mirage, records: Sequence[PatientRecord]
) -> Float[np.ndarray, " patients"]:
    """Calibrated P(AD) of every record, also of those that the bundle would hold back."""
    parts = [
        mirage.probability(mirage.scaler.encode(records[start : start + CHUNK])).double().numpy()
        for start in range(0, len(records), CHUNK)
    ]
    return np.concatenate(parts)


def _only(names: Sequence[str], record: PatientRecord) -> PatientRecord:
    known = {name: record.values[name] for name in names if name in record.values}
    return PatientRecord(patient=record.patient, values=known)


def hide_values(
    records: Sequence[PatientRecord], share: float, rng: np.random.Generator
) -> list[PatientRecord]:
    """Hide a random share of the values that are there, each on its own."""
    hidden = []
    for record in records:
        kept = rng.random(len(record.values)) >= share
        values = {
            name: v for (name, v), keep in zip(record.values.items(), kept, strict=True) if keep
        }
        hidden.append(PatientRecord(patient=record.patient, values=values))
    return hidden


def hide_group(records: Sequence[PatientRecord], group: str) -> list[PatientRecord]:
    """Hide everything that the dictionary lists under one heading."""
    known = dictionary()
    return [
        PatientRecord(
            patient=record.patient,
            values={n: v for n, v in record.values.items() if known[n].group != group},
        )
        for record in records
    ]


def link_header(header: Sequence[str], embed: Embed) -> list[LinkedColumn]:
    """Tie each column to an input: by a name of the dictionary, else by text, one to one.

    Every name of a concept counts as a text of it; groups that text may not touch (demographics
    and genetics) are tied by name alone.
    """
    named = {text: concepts_by_name().get(normalise_name(_without_unit(text))) for text in header}
    linked = {text: LinkedColumn(text, c.id, 1.0) for text, c in named.items() if c is not None}
    taken = {each.concept for each in linked.values()}
    open_ = [text for text in header if text not in linked]
    asked = [
        concept
        for concept in dictionary().values()
        if concept.in_schema and concept.id not in taken and concept.group not in NEVER_BY_TEXT
    ]
    if open_ and asked:
        linked |= _by_text(open_, asked, embed)
    return [linked.get(text, LinkedColumn(text, None, 0.0)) for text in header]


def _by_text(
    header: Sequence[str], concepts: Sequence[Concept], embed: Embed
) -> dict[str, LinkedColumn]:
    names = [(place, name) for place, each in enumerate(concepts) for name in _texts(each)]
    cosine = embed([_without_unit(text) for text in header]) @ embed([n for _, n in names]).T
    owner = torch.tensor([place for place, _ in names])
    # A concept is as near as the nearest of its names.
    table = torch.stack([cosine[:, owner == place].amax(1) for place in range(len(concepts))], 1)
    everyone = torch.arange(len(concepts)).expand(len(header), -1).contiguous()
    score, place = assign_one_to_one(table, everyone)
    return {
        text: LinkedColumn(text, concepts[at].id if near >= THRESHOLD else None, near)
        for text, near, at in zip(header, score[:, 0].tolist(), place[:, 0].tolist(), strict=True)
    }


def _texts(concept: Concept) -> tuple[str, ...]:
    return (concept.label, *concept.synonyms)


def _without_unit(header: str) -> str:
    return header.rpartition("(")[0].strip() if unit_of(header) else header


def read_second(
    links: Sequence[LinkedColumn], rows: Sequence[Sequence[str]]
) -> tuple[list[PatientRecord], int]:
    """Records from a foreign table, in the dictionary's units; unlinked columns are left out.

    Returns:
        The records, and the number of cells that their concept does not allow. Those are left
        out: the column was linked wrongly or the cell is, and no number is better than a wrong
        one.
    """
    readers = [
        None if link.concept is None else _Cell(dictionary()[link.concept], unit_of(link.header))
        for link in links
    ]
    records, refused = [], 0
    for number, row in enumerate(rows, start=1):
        values: dict[str, float] = {}
        for reader, cell in zip(readers, row, strict=True):
            value = None if reader is None else reader.read(cell)
            if isinstance(value, Refusal):
                refused += 1
            elif reader is not None and value is not None:
                values[reader.concept.id] = value
        records.append(PatientRecord(patient=f"second-{number}", values=values))
    return records, refused


class _Cell:
    """Reads the cells of one column in the unit that its header states."""

    def __init__(self, concept: Concept, unit: str | None) -> None:
        self.concept = concept
        self._scale = concept.units.get(unit, (1.0, 0.0)) if unit else (1.0, 0.0)
        self._reader = CellReader(concept, concept.label)

    def read(self, cell: str) -> float | Refusal | None:
        if self._scale == (1.0, 0.0) or not cell:
            return self._reader.read(cell)
        factor, offset = self._scale
        return self._reader.read(f"{float(cell) * factor + offset:.4f}")


def readable(results: Mapping[str, Any]) -> str:
    """The table that docs/results.md quotes."""
    lines = ["| | AUC | change |", "| --- | --- | --- |"]
    lines.append(f"| complete records | {shown(results['complete'])} | |")
    for name, figures in results["situations"].items():
        lines.append(
            f"| {name} | {shown(figures['auc'])} | {shown(figures['change'], sign=True)} |"
        )
    linking = results["linking"]
    lines += ["", f"{linking['right']} of {linking['columns']} columns were linked rightly."]
    return "\n".join(lines)
