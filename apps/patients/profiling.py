"""What is given and what is missing in a cohort, and how the values are distributed.

Everything is counted by PostgreSQL. Of a cohort with more than `MOST_PATIENTS` patients every k-th
by number is looked at, so that a page of 100,000 patients takes no longer than one of 10,000; the
page says so.

Members may look at each patient of their cohort, so nothing here is hidden from them. But such a
page is shown on a wall and pasted into a report: a bar of fewer than five people is therefore not
given as a number, nor is it left to be calculated from the others, quartiles need twenty people,
and no smallest or largest value is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils.text import slugify

from apps.patients.models import CodeConcept, Cohort
from ml.concepts import Concept, Kind, dictionary

MOST_PATIENTS = 10_000
FEWEST_SHOWN = 5
FEWEST_FOR_QUARTILES = 20
MOST_CODES = 50
CODE_SYSTEMS = {
    "icd10cm": "Codes: ICD-10-CM",
    "rxnorm": "Codes: RxNorm",
    "loinc": "Codes: LOINC",
    "snomed": "Codes: SNOMED CT",
}
OTHER_CODES = "Other codes"

_LOOKED_AT = """
    SELECT count(*) FROM patients_patient WHERE cohort_id = %(cohort)s AND number %% %(every)s = 0
"""
_GIVEN = """
    SELECT concept, count(*) FROM (
        SELECT DISTINCT patient_id, concept FROM patients_finding WHERE patient_id IN (
            SELECT id FROM patients_patient
            WHERE cohort_id = %(cohort)s AND number %% %(every)s = 0)
    ) AS given GROUP BY concept
"""
# Steps of 1, 2 or 5 times a power of ten: about one for each eight people, at least five and at
# most twenty over the range. Whole numbers are never split. A level is its own step.
_BARS = """
    WITH newest AS MATERIALIZED (
        SELECT DISTINCT ON (patient_id, concept) concept, value FROM patients_finding
        WHERE concept = ANY (%(concepts)s) AND patient_id IN (
            SELECT id FROM patients_patient
            WHERE cohort_id = %(cohort)s AND number %% %(every)s = 0)
        ORDER BY patient_id, concept, observed_at DESC
    ), about AS (
        SELECT concept, count(*) AS n,
            percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY value) AS quartiles,
            (max(value) - min(value)) / least(20, greatest(5, count(*) / 8)) AS raw,
            bool_and(value = floor(value)) AS whole
        FROM newest GROUP BY concept
    ), scaled AS (
        SELECT *, CASE WHEN raw > 0 THEN power(10, floor(log(raw::numeric)))::float8
            ELSE 1 END AS ten
        FROM about
    ), stepped AS MATERIALIZED (
        SELECT *, CASE WHEN concept = ANY (%(levelled)s) THEN 1.0 ELSE greatest(
            CASE WHEN raw <= ten THEN ten WHEN raw <= 2 * ten THEN 2 * ten
                WHEN raw <= 5 * ten THEN 5 * ten ELSE 10 * ten END,
            CASE WHEN whole THEN 1.0 ELSE 0.0 END) END AS step
        FROM scaled
    )
    SELECT concept, stepped.n, quartiles, step, floor(value / step) AS place, count(*)
    FROM newest JOIN stepped USING (concept)
    GROUP BY concept, stepped.n, quartiles, step, place ORDER BY concept, place
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Which patients were looked at.

    Attributes:
        patients: how many there are.
        every: every k-th of them was looked at.
        n: how many those are.
    """

    patients: int
    every: int
    n: int

    @property
    def is_all(self) -> bool:
        return self.every == 1


@dataclass(frozen=True, slots=True)
class Given:
    """For how many of the patients looked at a concept is given."""

    id: str
    label: str
    is_input: bool
    n: int
    of: int

    @property
    def missing(self) -> float:
        """Share of patients without it."""
        return 1 - self.n / self.of if self.of else 1.0

    @property
    def few(self) -> str:
        """Which side is too small to be counted out: "given", "missing" or neither."""
        if 0 < self.n < FEWEST_SHOWN:
            return "given"
        return "missing" if 0 < self.of - self.n < FEWEST_SHOWN else ""


@dataclass(frozen=True, slots=True)
class Group:
    """Concepts under one heading."""

    slug: str
    name: str
    concepts: tuple[Given, ...]
    left_out: int = 0

    @property
    def missing(self) -> float:
        """Mean share of patients without them."""
        return sum(c.missing for c in self.concepts) / len(self.concepts)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a distribution: `n` is None where it is one to four people."""

    label: str
    low: float
    high: float
    n: int | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """The newest values of one concept.

    Attributes:
        n: of how many patients; None where it is one to four, and then there are no bars.
        levels: whether the bars are levels, not steps.
        quartiles: lower, median, upper; None with too few people.
    """

    concept: Concept
    n: int | None
    levels: bool
    bars: tuple[Bar, ...]
    quartiles: tuple[float, float, float] | None


def sample_of(cohort: Cohort) -> Sample:
    """Whom the profile of a cohort looks at."""
    patients = cohort.patients.count()
    every = max(1, -(-patients // MOST_PATIENTS))
    return Sample(
        patients=patients, every=every, n=patients if every == 1 else _looked_at(cohort, every)
    )


def missingness(cohort: Cohort, sample: Sample) -> list[Group]:
    """Groups of concepts with how often each is given: the dictionary's, then codes.

    A group is there if it has inputs of the model or if anything of it was found.
    """
    with connection.cursor() as cursor:
        cursor.execute(_GIVEN, {"cohort": cohort.pk, "every": sample.every})
        found: dict[str, int] = dict(cursor.fetchall())
    groups: dict[str, list[Given]] = {}
    for concept in dictionary().values():
        if concept.in_schema or concept.id in found:
            n = found.pop(concept.id, 0)
            given = Given(concept.id, concept.label, concept.in_schema, n, sample.n)
            groups.setdefault(concept.group, []).append(given)
    return [
        *(Group(slugify(name), name, tuple(entries)) for name, entries in groups.items()),
        *_codes(found, sample),
    ]


def concepts_of(slug: str) -> list[Concept]:
    """The dictionary's concepts of a group; none if there is no such group."""
    return [c for c in dictionary().values() if slugify(c.group) == slug]


def distributions(
    cohort: Cohort, sample: Sample, concepts: Sequence[Concept]
) -> list[Distribution]:
    """The newest values of each of some concepts that is given at all."""
    if not concepts:
        return []
    levelled = [concept.id for concept in concepts if concept.kind is not Kind.CONTINUOUS]
    with connection.cursor() as cursor:
        cursor.execute(
            _BARS,
            {
                "cohort": cohort.pk,
                "every": sample.every,
                "concepts": [concept.id for concept in concepts],
                "levelled": levelled,
            },
        )
        rows: dict[str, list[Any]] = {}
        for concept_id, *row in cursor.fetchall():
            rows.setdefault(concept_id, []).append(row)
    return [_distribution(concept, rows[concept.id]) for concept in concepts if concept.id in rows]


def without_few(counts: Sequence[int]) -> list[int | None]:
    """Counts with None for one to four people, so that no hidden one follows from the sum.

    A single hidden count would be the total less the others: then the smallest other goes too.

    >>> without_few([12, 3, 0, 40]), without_few([12, 3, 2, 40])
    ([None, None, 0, 40], [12, None, None, 40])
    """
    hidden = [0 < n < FEWEST_SHOWN for n in counts]
    if sum(hidden) == 1:
        others = [(n, place) for place, n in enumerate(counts) if n and not hidden[place]]
        if others:
            hidden[min(others)[1]] = True
    return [None if gone else n for n, gone in zip(counts, hidden, strict=True)]


def _looked_at(cohort: Cohort, every: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_LOOKED_AT, {"cohort": cohort.pk, "every": every})
        return int(cursor.fetchone()[0])


def _codes(found: Mapping[str, int], sample: Sample) -> list[Group]:
    """Codes that are concepts of their own, the most frequent of each system."""
    labels = dict(CodeConcept.objects.filter(pk__in=list(found)).values_list("pk", "label"))
    systems: dict[str, list[Given]] = {}
    for concept, n in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        name = CODE_SYSTEMS.get(concept.partition(":")[0], OTHER_CODES)
        label = f"{labels[concept]} ({concept.partition(':')[2]})" if concept in labels else concept
        systems.setdefault(name, []).append(Given(concept, label, False, n, sample.n))
    return [
        Group(slugify(name), name, tuple(entries[:MOST_CODES]), max(0, len(entries) - MOST_CODES))
        for name, entries in systems.items()
    ]


def _distribution(concept: Concept, rows: Sequence[Any]) -> Distribution:
    n, quartiles, step, *_ = rows[0]
    levels = concept.kind is not Kind.CONTINUOUS
    if n < FEWEST_SHOWN:
        return Distribution(concept, None, levels, (), None)
    counts = without_few([count for *_, count in rows])
    bars = [
        Bar(_label(concept, place, step, levels), place * step, (place + 1) * step, count)
        for (*_, place, _), count in zip(rows, counts, strict=True)
    ]
    return Distribution(
        concept=concept,
        n=n,
        levels=levels,
        bars=tuple(bars),
        quartiles=tuple(quartiles) if n >= FEWEST_FOR_QUARTILES and not levels else None,
    )


def _label(concept: Concept, place: float, step: float, levels: bool) -> str:
    if levels:
        words = "yes" if place else "no"
        default = words if concept.kind is Kind.BINARY else f"{place:g}"
        return concept.levels.get(int(place), default)
    return f"{place * step:.10g} to under {(place + 1) * step:.10g}"
