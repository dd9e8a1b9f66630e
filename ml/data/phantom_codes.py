"""Invented people as coded records, which is what an EHR really holds.

Diagnoses of ICD-10-CM, drugs and laboratory tests outside their range; tens of codes a person out
of about two thousand, nothing for what is absent. Four hidden states (vascular, frailty, mood,
lifestyle), age, sex and the severity of an imagined Alzheimer's disease decide which categories a
person has; what severity does stands in `phantom_codes.toml` and nowhere else. Which of the
sibling codes of a category is written down is a habit of the site and says nothing about the
person, and so does a part of how often a site writes a category down at all.

All effects are ours, not fitted to any data.
"""

import csv
import hashlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ml.concepts import Concept, Kind, dictionary
from ml.data.cohort import Cohort
from ml.icd10 import codes_below, describe_icd10
from ml.records import PatientRecord

MOST_SIBLINGS = 14
"""Codes of a category that are in use, spread evenly over all of them."""
SIBLING_CONCENTRATION = 0.3
"""Of the Dirichlet distribution of a site's habit: few codes of a category get most of the use."""
SITE_SPREAD = 0.3
"""Standard deviation between sites of how often a category is written down, in log-odds."""
FURTHER_CODES = (0.35, 0.15)
"""Probability that a person with a category has a second code of it, and a third."""
STATES = ("vascular", "frailty", "mood", "lifestyle")
DIAGNOSIS, DRUG, LAB = "ICD10CM", "drug", "LOINC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Codes that mean nearly the same, and how often a person has one of them.

    Attributes:
        id: identifier of what they have in common (`ICD10CM:I63`).
        name: what it is called.
        members: code to its name.
        related: families that the codes are given for or show, beside the hierarchy.
        share: of men of 75 years with the hidden states and the severity at zero.
        decade, female, states, severity: added log-odds; see `phantom_codes.toml`.
    """

    id: str
    name: str
    members: Mapping[str, str]
    share: float
    decade: float = 0.0
    female: float = 0.0
    states: Mapping[str, float] = field(default_factory=dict)
    severity: float = 0.0
    related: tuple[str, ...] = ()


@cache
def families() -> tuple[Family, ...]:
    """All of them: 168 categories of diagnoses, 22 classes of drugs, 25 laboratory tests."""
    with (Path(__file__).parent / "phantom_codes.toml").open("rb") as file:
        content = tomllib.load(file)
    return (
        *(each for block in content["planted"] for each in _categories(block)),
        *(each for block in content["background"] for each in _categories(block)),
        *(_drug_class(name, entry) for name, entry in content["drugs"].items()),
        *(_test(name, entry) for name, entry in content["labs"].items()),
    )


def _categories(block: Mapping[str, Any]) -> Iterator[Family]:
    common = {key: value for key, value in block.items() if key != "categories"}
    for category, figures in block["categories"].items():
        share, severity = figures if isinstance(figures, list) else (figures, 0.0)
        leaves = codes_below(category)
        step = max(1.0, len(leaves) / MOST_SIBLINGS)
        used = [leaves[int(place * step)] for place in range(min(len(leaves), MOST_SIBLINGS))]
        yield Family(
            id=f"{DIAGNOSIS}:{category}",
            name=describe_icd10(category),
            members={f"{DIAGNOSIS}:{code}": describe_icd10(code) for code in used},
            share=share,
            severity=severity,
            **common,
        )


def _drug_class(name: str, entry: Mapping[str, Any]) -> Family:
    given = {**entry, "related": tuple(f"{DIAGNOSIS}:{each}" for each in entry["treats"])}
    del given["treats"]
    given["members"] = {f"{DRUG}:{each}": each.capitalize() for each in entry["members"]}
    return Family(id=f"{DRUG} class:{name}", name=name, **given)


def _test(name: str, entry: Mapping[str, Any]) -> Family:
    concept = dictionary()[name]
    given = {key: value for key, value in entry.items() if key != "shows"}
    label = f"{concept.label} out of range"
    return Family(
        id=f"lab:{name}",
        name=label,
        members={f"{LAB}:{code}": label for code in concept.codes["loinc"]},
        related=tuple(f"{DIAGNOSIS}:{each}" for each in entry.get("shows", ())),
        **given,
    )


@cache
def code_concepts() -> tuple[Concept, ...]:
    """Age, sex and every code that a record may hold."""
    codes = {code: name for family in families() for code, name in family.members.items()}
    return (
        dictionary()["age"],
        dictionary()["female"],
        *(presence_concept(code, name) for code, name in codes.items()),
    )


def presence_concept(code: str, name: str) -> Concept:
    """A concept that is 1 where it is recorded; nobody records that a code is absent."""
    return Concept(
        id=code,
        label=name,
        group=code.partition(":")[0],
        kind=Kind.PRESENCE,
        low=1.0,
        high=1.0,
        source="coded record",
    )


def sample_codes(
    rng: np.random.Generator, *, age_years: float, female: bool, severity: float, site: str
) -> dict[str, float]:
    """Draw one person's coded record: age, sex and the codes that the site writes down.

    Every call draws the same number of random numbers, so two people, or one person at two sites,
    differ by their arguments alone if the generators agree.

    Args:
        rng: the only source of chance.
        age_years, female: the person.
        severity: of the imagined disease; about N(0, 1) in healthy people, higher in AD.
        site: name of the clinic; its habits follow from the name.
    """
    effects, habit = _effects(), _habit(site)
    states = rng.standard_normal(len(STATES))
    drawn = rng.random((1 + len(FURTHER_CODES), 2, len(effects.base)))  # written, which
    logits = (
        effects.base
        + effects.decade * (age_years - 75.0) / 10.0
        + effects.female * female
        + effects.states @ states
        + effects.severity * severity
        + habit.added
    )
    present = drawn[0, 0] < 1.0 / (1.0 + np.exp(-logits))
    values = {"age": round(age_years, 1), "female": float(female)}
    for (written, which), further in zip(drawn, (1.0, *FURTHER_CODES), strict=True):
        has = present if further == 1.0 else present & (written < further)
        for row in np.flatnonzero(has).tolist():
            member = int((habit.cumulative[row] < which[row]).sum())
            values[effects.codes[row][member]] = 1.0
    return values


@dataclass(frozen=True, slots=True)
class _Effects:
    base: Float[np.ndarray, " families"]
    decade: Float[np.ndarray, " families"]
    female: Float[np.ndarray, " families"]
    severity: Float[np.ndarray, " families"]
    states: Float[np.ndarray, "families 4"]
    codes: Sequence[Sequence[str]]


@cache
def _effects() -> _Effects:
    all_ = families()
    shares = np.array([family.share for family in all_])
    return _Effects(
        np.log(shares / (1.0 - shares)),
        np.array([family.decade for family in all_]),
        np.array([family.female for family in all_]),
        np.array([family.severity for family in all_]),
        np.array([[family.states.get(state, 0.0) for state in STATES] for family in all_]),
        [list(family.members) for family in all_],
    )


@dataclass(frozen=True, slots=True)
class _Habit:
    """What a site does beside the person: added log-odds, and shares of siblings, summed up."""

    added: Float[np.ndarray, " families"]
    cumulative: Float[np.ndarray, "families siblings"]


@cache
def _habit(site: str) -> _Habit:
    digest = hashlib.blake2b(site.encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    cumulative = np.ones((len(families()), MOST_SIBLINGS))
    for row, family in enumerate(families()):
        count = len(family.members)
        shares = rng.dirichlet(np.full(count, SIBLING_CONCENTRATION))
        cumulative[row, : count - 1] = np.cumsum(shares)[:-1]
    return _Habit(rng.normal(0.0, SITE_SPREAD, len(families())), cumulative)


def write_codes(cohort: Path, *, site: str, seed: int) -> Path:
    """Write the people of a phantom cohort as coded records into its folder: codes.csv.

    One line a code: patient, code, value. A person's codes depend on the person, the site and the
    seed alone. The truth stays in truth.tsv.

    Raises:
        CohortError: the folder holds no cohort.
        ValueError: its people are not phantoms, or one has no age.
    """
    people = Cohort.load(cohort)
    if not people.truth:
        raise ValueError(
            f"The cohort {cohort.name} has no truth.tsv: codes can be invented for phantoms only. "
            "Make some with `python -m ml phantom`."
        )
    records = []
    for person in people.participants:
        if person.age_years is None:
            raise ValueError("A participant has no age. Fill it in in participants.tsv.")
        digest = hashlib.blake2b(person.id.encode(), digest_size=8).digest()
        rng = np.random.default_rng((seed, int.from_bytes(digest, "big")))
        values = sample_codes(
            rng,
            age_years=person.age_years,
            female=person.sex == "F",
            severity=people.truth[person.id]["severity"],
            site=site,
        )
        records.append(PatientRecord(patient=person.id, values=values))
    path = cohort / "codes.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["patient", "code", "value"])
        for record in records:
            writer.writerows([record.patient, code, f"{v:g}"] for code, v in record.values.items())
    return path


def read_codes(path: Path) -> list[PatientRecord]:
    """Read coded records as `write_codes` writes them, patients in the order of the file.

    Raises:
        ValueError: the header is another, or a line has no number as its value.
        OSError: the file cannot be read.
    """
    values: dict[str, dict[str, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        if next(reader, None) != ["patient", "code", "value"]:
            raise ValueError(f"The first line of {path.name} must be: patient,code,value.")
        for row in reader:
            try:
                patient, code, value = row
                values.setdefault(patient, {})[code] = float(value)
            except ValueError as error:
                raise ValueError(
                    f"{path.name}, line {reader.line_num}: there must be a patient, a code and a "
                    "number, separated by commas."
                ) from error
    return [PatientRecord(patient=patient, values=each) for patient, each in values.items()]
