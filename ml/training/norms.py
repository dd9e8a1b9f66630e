"""Norms of regional volumes, fitted on the cognitively normal people of a training cohort."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ml.data.cohort import Cohort, Participant
from ml.data.mri import Grid
from ml.data.structures import STRUCTURES, structure_volumes_ml
from ml.norms import Norm, Norms

FEWEST = 20
"""With fewer people the spread itself is a guess: no norms."""
LOGARITHMIC = frozenset({"lateral ventricles"})


def norms_of_scans(
    cohort: Cohort, ids: Sequence[str], volumes: Float[Tensor, "people x y z"], grid: Grid
) -> Norms | None:
    """Norms of `STRUCTURES` from the normalised scans of some training people, for the card.

    Paper: none; ours.

    Args:
        cohort: who is who.
        ids: one a row of `volumes`.
        volumes: normalised scans on `grid`.

    Returns:
        The norms, or None where too few of the people are CN with age and sex recorded.
    """
    known = {participant.id: participant for participant in cohort.participants}
    people = [known[each] for each in ids]
    return fit_norms(people, structure_volumes_ml(volumes, grid).numpy(), STRUCTURES)


def fit_norms(
    people: Sequence[Participant],
    volumes_ml: Float[ndarray, "people structures"],
    structures: Sequence[str],
    head_ml: Float[ndarray, " people"] | None = None,
) -> Norms | None:
    """Least squares of each structure's volume on age, sex and, if given, head size.

    Only people who are CN with age and sex recorded count: what is normal is not learned from
    patients. A person with several visits counts once, by the first.

    Paper: none; ours.

    Args:
        people: one a row of `volumes_ml`, training people alone.
        volumes_ml: read off scans, as `ml.data.structures.structure_volumes_ml` does.
        structures: names of the columns.
        head_ml: head sizes; leave it out where every volume is on the template's head.

    Returns:
        The norms, or None where fewer than 20 people count.
    """
    rows, seen = [], set[str]()
    for row, person in enumerate(people):
        known = person.label == 0 and person.age_years is not None and person.sex in {"F", "M"}
        if known and person.person not in seen:
            seen.add(person.person)
            rows.append(row)
    if len(rows) < FEWEST:
        return None
    chosen = [people[row] for row in rows]
    age = np.array([person.age_years for person in chosen], dtype=np.float64)
    male = np.array([person.sex == "M" for person in chosen], dtype=np.float64)
    columns = [np.ones(len(rows)), age - age.mean(), male]
    if head_ml is not None:
        columns.append(head_ml[rows] - head_ml[rows].mean())
    design = np.stack(columns, axis=1)
    return Norms(
        people=f"{len(rows)} cognitively normal people of the training cohort, "
        f"aged {age.min():.0f} to {age.max():.0f}",
        n=len(rows),
        age_low_years=float(age.min()),
        age_high_years=float(age.max()),
        age_mean_years=float(age.mean()),
        head_mean_ml=None if head_ml is None else float(head_ml[rows].mean()),
        structures={
            name: _fit(design, volumes_ml[rows, column], log=name in LOGARITHMIC)
            for column, name in enumerate(structures)
        },
    )


def _fit(
    design: Float[ndarray, "people columns"], volume_ml: Float[ndarray, " people"], *, log: bool
) -> Norm:
    target = np.log(np.maximum(volume_ml, 1e-3)) if log else volume_ml.astype(np.float64)
    found, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    residual = target - design @ found
    spread = float(np.sqrt((residual**2).sum() / max(1, len(target) - rank)))
    head = float(found[3]) if design.shape[1] > 3 else 0.0
    return Norm(
        mean=float(found[0]),
        per_year=float(found[1]),
        male=float(found[2]),
        per_head_ml=head,
        residual_sd=max(spread, 1e-6),
        log=log,
    )
