"""Imagined people with records and no scan: thousands in seconds, for what needs no image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy.random import SeedSequence

from ml.data.phantom import Person, PhantomConfig, sample_person
from ml.data.phantom_codes import sample_codes
from ml.data.phantom_ehr import sample_ehr
from ml.records import PatientRecord


@dataclass(frozen=True, slots=True)
class People:
    """Some imagined people.

    Attributes:
        persons: who they are, the hidden truth included.
        records: what a record says of each.
    """

    persons: tuple[Person, ...]
    records: list[PatientRecord]

    def __len__(self) -> int:
        return len(self.persons)

    @property
    def label(self) -> Int[np.ndarray, " people"]:
        """Recorded diagnosis: 1 AD, 0 CN."""
        return np.array([person.label for person in self.persons])

    @property
    def state(self) -> Int[np.ndarray, " people"]:
        """True state: 1 AD, 0 CN."""
        return np.array([person.state for person in self.persons])

    def first(self, count: int) -> "People":
        """The first so many of them."""
        return People(self.persons[:count], self.records[:count])


def dense_people(count: int, *, entropy: Sequence[int], config: PhantomConfig) -> People:
    """People with the 88 inputs of the schema, as `make_phantom_cohort` gives its people.

    Args:
        count: how many; the first N of more people are the same N.
        entropy: numbers that decide everything that is drawn.
        config: how the disease works.
    """
    persons, records = [], []
    for number, seed in enumerate(SeedSequence(entropy).spawn(count)):
        hidden, _, record = (np.random.default_rng(part) for part in seed.spawn(3))
        person = sample_person(f"p{number}", hidden, config)
        values = sample_ehr(
            record,
            age_years=person.age_years,
            female=person.female,
            education_years=person.education_years,
            apoe4=person.apoe4,
            severity=person.severity,
        )
        persons.append(person)
        records.append(PatientRecord(patient=person.id, values=values))
    return People(tuple(persons), records)


def coded_people(count: int, *, site: str, entropy: Sequence[int], config: PhantomConfig) -> People:
    """People as coded records of one site.

    Args:
        count: how many; the first N of more people are the same N.
        site: its habits follow from its name.
        entropy: numbers that decide everything else that is drawn.
        config: how the disease works.
    """
    persons, records = [], []
    for number, seed in enumerate(SeedSequence(entropy).spawn(count)):
        hidden, _, _, codes = (np.random.default_rng(part) for part in seed.spawn(4))
        person = sample_person(f"p{number}", hidden, config)
        values = sample_codes(
            codes,
            age_years=person.age_years,
            female=person.female,
            severity=person.severity,
            site=site,
        )
        persons.append(person)
        records.append(PatientRecord(patient=person.id, values=values))
    return People(tuple(persons), records)
