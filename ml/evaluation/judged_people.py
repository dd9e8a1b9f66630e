"""Who of a cohort may judge a bundle: people with a record and a diagnosis who did not train it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from ml.card import BundleCard, BundleError, verify
from ml.data.cohort import Cohort, CohortError, split_hash
from ml.records import PatientRecord
from ml.skip_bank import person_keys

if TYPE_CHECKING:
    from ml.training.split import Parts

LEAST_PEOPLE = 10


class SeenInTrainingError(CohortError):
    """People of an evaluation also took part in the training."""


@dataclass(frozen=True, slots=True)
class JudgedPeople:
    """The people of an evaluation, in the order of the cohort.

    Attributes:
        ids: of participants.
        persons: whose visits they are.
        records: what the bundle reads.
        labels: recorded diagnosis, 1 AD and 0 CN.
        trained: labelled people of the same cohort who trained the bundle, if these are the part
            of its own cohort that was held out; else nobody.
    """

    ids: tuple[str, ...]
    persons: tuple[str, ...]
    records: list[PatientRecord]
    labels: Int[np.ndarray, " patients"]
    trained: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


def judged_people(cohort: Cohort, bundle: Path, *, new: bool, most: int) -> JudgedPeople:
    """Choose the people of an evaluation.

    Args:
        cohort: their cohort. If it is the one that the bundle was trained on, its test part judges.
        bundle: folder of the bundle.
        new: nobody of the cohort trained the bundle, though some are called the same.
        most: people at most, the first ones.

    Raises:
        BundleError: the bundle cannot be read, or reads concepts that no record of the cohort has.
        SeenInTrainingError: people are called as donors of the bundle are.
        CohortError: fewer than ten people, or only one diagnosis.
    """
    card = verify(bundle)
    ids = [each for each in cohort.ids if each in cohort.records and _label(cohort, each)]
    parts = None if new else _own_parts(cohort, card)
    trained: tuple[str, ...] = ()
    if parts is not None:
        trained = tuple(each for each in parts.train if _label(cohort, each))
        ids = [each for each in ids if each in set(parts.test)]
    elif not new:
        _check_no_donors(cohort, ids, bundle, card)
    ids = ids[:most]
    known = set(card.schema)
    records = [known_to(cohort.records[each], known) for each in ids]
    people = JudgedPeople(
        ids=tuple(ids),
        persons=tuple(cohort.persons[each] for each in ids),
        records=records,
        labels=np.array([cohort.labels[each] for each in ids], dtype=np.int64),
        trained=trained,
    )
    _check(people, cohort, card)
    return people


def check_unseen(people: JudgedPeople, training: Cohort) -> None:
    """Refuse people whose person or whose whole record is also among the training people.

    Raises:
        SeenInTrainingError: there are such people; says how many, and names nobody.
    """
    same = len(set(people.persons) & set(training.persons.values()))
    read = {name for record in people.records for name in record.values}
    rows = {_row(known_to(record, read)) for record in training.records.values()}
    copies = sum(_row(record) in rows for record in people.records if record.values)
    if same or copies:
        raise SeenInTrainingError(
            f"Of {len(people)} people, {same} have the id of somebody in {training.folder.name} "
            f"and {copies} have exactly the record of somebody there. People who trained cannot "
            "judge: take them out, or give another cohort."
        )


def _label(cohort: Cohort, participant: str) -> bool:
    return cohort.labels[participant] is not None


def known_to(record: PatientRecord, schema: Collection[str]) -> PatientRecord:
    """The record with those findings alone that a schema has."""
    values = {name: value for name, value in record.values.items() if name in schema}
    return PatientRecord(patient=record.patient, values=values)


def _row(record: PatientRecord) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(record.values.items()))


def _own_parts(cohort: Cohort, card: BundleCard) -> "Parts | None":
    """The parts of the cohort, if it is dealt as the bundle's own was."""
    from ml.training.split import split_people

    try:
        parts = split_people(cohort, card.seed)
    except CohortError:  # too few to train on, so nobody trained on them
        return None
    return parts if split_hash(asdict(parts)) == card.training["split"] else None


def _check_no_donors(cohort: Cohort, ids: Sequence[str], bundle: Path, card: BundleCard) -> None:
    from ml.bundle import load_decoder

    donors = set(load_decoder(bundle, card).decoder.skip_bank.donor_keys.tolist())
    persons = sorted({cohort.persons[each] for each in ids})
    seen = sum(key in donors for key in person_keys(persons).tolist())
    if seen:
        raise SeenInTrainingError(
            f"{seen} of {len(persons)} people of {cohort.folder.name} have the id of somebody "
            f"whose scan trained {card.name} {card.version}. If they are other people whose ids "
            "happen to be the same, say so (--new); else give a cohort of others."
        )


def _check(people: JudgedPeople, cohort: Cohort, card: BundleCard) -> None:
    counts: Mapping[int, int] = Counter(people.labels.tolist())
    if len(people) < LEAST_PEOPLE or min(counts[0], counts[1]) < 2:
        raise CohortError(
            f"{cohort.folder.name} has {len(people)} people with a record and a diagnosis who may "
            f"judge, {counts[1]} of them with AD and {counts[0]} without. An evaluation needs "
            f"{LEAST_PEOPLE} people and two of each diagnosis: give a larger cohort."
        )
    if not any(record.values for record in people.records):
        raise BundleError(
            f"No record of {cohort.folder.name} has any of the {len(card.schema)} inputs of "
            f"{card.name} {card.version}: it was made for another schema. Give a cohort whose "
            "ehr.csv has those columns (`python -m ml card` lists them)."
        )
