"""Columns that no code and no name explains, matched by the meaning of their names.

Only in a worker: it loads a text encoder. Every column gets at most one concept and every concept
at most one column (the Hungarian method), because the likeliest concept of each column by itself
gives some concepts twice: .98 right against .89 for clean names (method.md section 8).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from apps.patients.importing import links
from apps.patients.importing.matching import ADMINISTRATIVE
from apps.patients.importing.plan import By, ColumnPlan, Role
from ml.concept_linking import NEVER_BY_TEXT, THRESHOLD
from ml.concepts import Kind, dictionary
from ml.data.cells import CellReader, Refusal
from ml.data.columns import UNITS_GROUP
from ml.text_encoder import TextEncoder

Embed = Callable[[Sequence[str]], Tensor]
ALTERNATIVES = 5
MOST_COLUMNS = 400
_LOWEST_SHOWN = 0.30
_WRONG_KIND = {"level", "word", "code", "not_a_number", "text_in_number", "date"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def match_by_text(
    columns: Sequence[ColumnPlan], examples: Mapping[str, Sequence[str]], embed: Embed
) -> tuple[ColumnPlan, ...]:
    """Suggest a concept for each column that waits for a decision and has none.

    One at or over the threshold is taken; one under it waits for a person. What the column's cells
    cannot be is not suggested: a gait speed of 0.9 is no finding of an examination.

    Args:
        columns: what is known of each column.
        examples: key of a column to some of its cells.
        embed: texts to unit vectors.
    """
    open_ = [
        place
        for place, column in enumerate(columns)
        if column.role is Role.FINDING and column.needs_decision and not column.concept
    ][:MOST_COLUMNS]
    if not open_:
        return tuple(columns)
    taken = {column.concept for column in columns if column.role is Role.FINDING}
    names, owners = _names()
    theirs = embed(names)  # always the same list, so that it is found in the encoder's cache
    ours = embed([words_of(columns[place].header) for place in open_])
    ids = list(dict.fromkeys(owners))
    scores = _best_by_concept(ours @ theirs.T, owners, ids)
    for row, place in enumerate(open_):
        cells = examples.get(columns[place].key, ())
        unfit = [c for c, concept in enumerate(ids) if not _can_be(concept, cells)]
        scores[row, unfit] = -1.0
    scores[:, [place for place, concept in enumerate(ids) if concept in taken]] = -1.0
    rows, chosen = linear_sum_assignment(scores.numpy(), maximize=True)
    found = dict(zip(rows.tolist(), chosen.tolist(), strict=True))
    result = list(columns)
    for row, place in enumerate(open_):
        ranked = scores[row].argsort(descending=True)[:ALTERNATIVES].tolist()
        fit = [c for c in ranked if scores[row, c] > 0]  # the others are none that it can be
        alternatives = tuple((ids[c], round(float(scores[row, c]), 2)) for c in fit)
        best = found.get(row)
        score = max(0.0, round(float(scores[row, best]), 2)) if best is not None else 0.0
        sure = score >= THRESHOLD
        result[place] = columns[place].decided(
            concept=ids[best] if best is not None and score >= _LOWEST_SHOWN else "",
            score=score,
            decided_by=By.TEXT,
            needs_decision=not sure,
            hint="" if sure else f"Below {THRESHOLD:.2f}, so a person decides.",
            alternatives=alternatives,
        )
    return tuple(result)


def suggest_links(
    columns: Sequence[ColumnPlan], examples: Mapping[str, Sequence[str]], embed: Embed
) -> tuple[ColumnPlan, ...]:
    """Suggest what SNOMED CT codes mean that the dictionary does not list, by their display.

    A suggestion changes nothing: the code is stored as a concept of its own, until a person
    confirms that it means a concept of the dictionary as well (links.py).
    """
    open_ = [
        place
        for place, column in enumerate(columns)
        if links.is_open(column) and not column.alternatives and column.header != column.hint
    ][:MOST_COLUMNS]
    if not open_:
        return tuple(columns)
    names, owners = _names()
    ours = embed([columns[place].header.lower() for place in open_])
    ids = list(dict.fromkeys(owners))
    scores = _best_by_concept(ours @ embed(names).T, owners, ids)
    result = list(columns)
    for row, place in enumerate(open_):
        cells = set(examples.get(columns[place].key, ()))
        is_fact = cells <= {"1"}
        unfit = [
            c
            for c, concept in enumerate(ids)
            if (is_fact and dictionary()[concept].kind is not Kind.BINARY)
            or not _can_be(concept, tuple(cells))
        ]
        scores[row, unfit] = -1.0
        ranked = scores[row].argsort(descending=True)[:ALTERNATIVES].tolist()
        likely = [c for c in ranked if scores[row, c] >= THRESHOLD]
        if not likely:
            continue
        label = dictionary()[ids[likely[0]]].label
        result[place] = columns[place].decided(
            hint=f"{columns[place].hint}. By its name it may mean {label}: confirm or leave it.",
            alternatives=tuple((ids[c], round(float(scores[row, c]), 2)) for c in likely),
        )
    return tuple(result)


def words_of(header: str) -> str:
    """A header as words: HxDepress, gait_speed and GaitSpeed are two words each.

    >>> words_of("GaitSpeed"), words_of("gait_speed"), words_of("BUNLevel2")
    ('gait speed', 'gait speed', 'bun level 2')
    """
    found = _WORD.findall(header)
    return " ".join(found).lower() if found else header.lower()


@cache
def encoder(cache_folder: Path, threads: int) -> Embed:
    """The text encoder, loaded once a process."""
    torch.set_num_threads(threads)
    return TextEncoder(cache=cache_folder)


def _can_be(concept: str, cells: Sequence[str]) -> bool:
    """Whether at least half of the cells could be values of a concept, in some unit."""
    reader = CellReader(dictionary()[concept], "")
    read = [reader.read(cell) for cell in cells]
    wrong = sum(isinstance(r, Refusal) and r.code in _WRONG_KIND for r in read)
    return 2 * wrong <= len(cells)


@cache
def _names() -> tuple[list[str], list[str]]:
    """Every name that text may land on, and whose it is."""
    names, owners = [], []
    for concept in dictionary().values():
        closed = concept.group in NEVER_BY_TEXT | {ADMINISTRATIVE, UNITS_GROUP}
        if closed:
            continue
        for name in (concept.label, *concept.synonyms):
            names.append(words_of(name))
            owners.append(concept.id)
    return names, owners


def _best_by_concept(scores: Tensor, owners: list[str], ids: list[str]) -> Tensor:
    """The best score among a concept's names."""
    places = torch.tensor([ids.index(owner) for owner in owners])
    best = torch.full((scores.shape[0], len(ids)), -1.0)
    return best.scatter_reduce(1, places.expand(scores.shape[0], -1), scores, "amax")
