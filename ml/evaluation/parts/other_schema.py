"""The same people as another clinic would have written them down: other names, other units."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from ml.concept_linking import Embed
from ml.data.phantom_second import OTHER_NAMES, second_cohort
from ml.evaluation.metrics import auc, auc_difference, proportion
from ml.evaluation.parts.quick_reading import QuickReading
from ml.evaluation.parts.trial import Figures, NotToldError, Trial
from ml.evaluation.robustness import MISSING_COLUMNS, link_header, read_second
from ml.records import PatientRecord

FEWEST_COLUMNS = 5


def under_other_schema(trial: Trial, embed: Embed) -> Figures:
    """AUC from a table with other column names and units, linked by name and by text.

    Only inputs that have another name in `ml.data.phantom_second` can be written so; the bundle
    reads the same people with the same inputs under their own names for comparison.

    Args:
        trial: the bundle and its judges.
        embed: names to unit vectors, to link columns.

    Returns:
        JSON: how many columns were linked rightly, and each situation's AUC with its paired
        difference to the same inputs under their own names.

    Raises:
        NotToldError: fewer than five inputs have another name.
    """
    held = {name for record in trial.people.records for name in record.values}
    names = [name for name in OTHER_NAMES if name in held]
    if len(names) < FEWEST_COLUMNS:
        raise NotToldError(
            f"of the inputs that these people have, {len(names)} have another name and unit to be "
            f"written in; {FEWEST_COLUMNS} are needed"
        )
    own = [_only(names, record) for record in trial.people.records]
    header, rows = second_cohort(own)
    places = [place for place, name in enumerate(OTHER_NAMES) if name in held]
    gone = set(
        np.random.default_rng((trial.seed, 7_003))
        .permutation(places)[: round(MISSING_COLUMNS * len(places))]
        .tolist()
    )
    left = [place for place in places if place not in gone]
    reading = QuickReading(trial.mirage)
    whole = reading.probabilities(own)
    labels = trial.people.labels
    found: Figures = {"own_names": asdict(auc(whole, labels)), "situations": []}
    for name, kept in (
        ("other names and units", places),
        (f"the same, {round(100 * MISSING_COLUMNS)} % of the columns missing", left),
    ):
        cut = [header[place] for place in kept]
        links = link_header(cut, embed)
        read, refused = read_second(links, [[row[place] for place in kept] for row in rows])
        scores = reading.probabilities([_only(trial.card.schema, record) for record in read])
        right = sum(
            link.concept == list(OTHER_NAMES)[place]
            for link, place in zip(links, kept, strict=True)
        )
        found["situations"].append(
            {
                "name": name,
                "auc": asdict(auc(scores, labels)),
                "change": asdict(auc_difference(scores, whole, labels)),
                "linked_rightly": asdict(proportion(right, len(kept))),
                "columns": len(kept),
                "refused_cells": refused,
            }
        )
    return found


def _only(names: Sequence[str], record: PatientRecord) -> PatientRecord:
    known = {name: record.values[name] for name in names if name in record.values}
    return PatientRecord(patient=record.patient, values=known)
