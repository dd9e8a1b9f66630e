"""Between which values most training people lie, for each input: what a missing one could be."""

from collections.abc import Sequence

import numpy as np

from ml.concepts import Concept, Kind
from ml.records import PatientRecord

FEWEST = 20
"""People with a value, below whom a percentile would be one person's value."""


def input_ranges(
    concepts: Sequence[Concept], records: Sequence[PatientRecord]
) -> dict[str, list[float]]:
    """The 5th and the 95th percentile of each measured or graded input, for the card.

    Yes-or-no inputs and categories need none: their values can be listed.

    Args:
        concepts: what the model reads.
        records: of the training people.
    """
    found: dict[str, list[float]] = {}
    for concept in concepts:
        if concept.kind not in {Kind.CONTINUOUS, Kind.ORDINAL}:
            continue
        values = [r.values[concept.id] for r in records if concept.id in r.values]
        if len(values) >= FEWEST:
            low, high = np.percentile(values, [5, 95])
            found[concept.id] = [float(low), float(high)]
    return found
