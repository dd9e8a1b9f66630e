"""What is given, missing and how it is distributed, counted by the database."""

from datetime import timedelta

import numpy
import pytest

from apps.patients import profiling
from apps.patients.models import CodeConcept, Finding
from ml.concepts import schema
from tests.factories import NOW, CohortFactory, FindingFactory, PatientFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def cohort():
    return CohortFactory()


def give(cohort, concept, values, first=1):
    """One finding each for as many patients, made where they are missing."""
    for number, value in enumerate(values, start=first):
        patient = cohort.patients.filter(number=number).first()
        patient = patient or PatientFactory(cohort=cohort, number=number)
        if value is not None:
            FindingFactory(patient=patient, concept=concept, value=value)


def profile(cohort, group):
    sample = profiling.sample_of(cohort)
    groups = {g.slug: g for g in profiling.missingness(cohort, sample)}
    found = profiling.distributions(cohort, sample, profiling.concepts_of(group))
    return groups, {d.concept.id: d for d in found}


def test_missing_is_counted_by_patient_however_often_they_were_seen(cohort):
    give(cohort, "weight_kg", [70.0] * 6 + [None] * 4)
    first = cohort.patients.get(number=1)
    FindingFactory(
        patient=first, concept="weight_kg", value=71.0, observed_at=NOW + timedelta(days=9)
    )

    groups, _ = profile(cohort, "vitals")

    weight = next(c for c in groups["vitals"].concepts if c.id == "weight_kg")
    assert (weight.n, weight.of, weight.missing) == (6, 10, 0.4)


def test_every_input_is_listed_even_if_nobody_has_it(cohort):
    give(cohort, "age", [70.0])

    groups, _ = profile(cohort, "vitals")

    listed = {c.id for g in groups.values() for c in g.concepts if c.is_input}
    assert listed == set(schema())


def test_bars_hold_the_newest_value_of_each_patient_once(cohort):
    rng = numpy.random.default_rng(3)
    values = numpy.round(rng.normal(75, 12, size=120), 1)
    give(cohort, "weight_kg", values.tolist())
    for patient in cohort.patients.filter(number__lte=60):
        FindingFactory(
            patient=patient, concept="weight_kg", value=200.0, observed_at=NOW - timedelta(days=1)
        )

    _, found = profile(cohort, "vitals")

    weight = found["weight_kg"]
    step = weight.bars[0].high - weight.bars[0].low
    shown = {bar.low: bar.n for bar in weight.bars}
    starts, counts = numpy.unique(numpy.floor(values / step) * step, return_counts=True)
    assert set(shown) == set(starts)
    for start, count in zip(starts, counts, strict=True):
        assert shown[start] in {count, None}
        assert shown[start] == count or count < 5 or count == min(c for c in counts if c >= 5)
    assert weight.n == 120
    assert weight.quartiles == pytest.approx(numpy.percentile(values, [25, 50, 75]))


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ([12, 0, 40], [12, 0, 40]),
        ([12, 3, 2, 40], [12, None, None, 40]),
        ([12, 3, 40], [None, None, 40]),
        ([9, 4], [None, None]),
    ],
)
def test_few_people_are_neither_shown_nor_left_to_be_calculated(counts, shown):
    assert profiling.without_few(counts) == shown


def test_what_fewer_than_five_people_have_is_not_drawn(cohort):
    give(cohort, "weight_kg", [70.0, 71.0, 72.0, 73.0] + [None] * 20)

    _, found = profile(cohort, "vitals")

    assert found["weight_kg"].n is None
    assert found["weight_kg"].bars == ()
    assert found["weight_kg"].quartiles is None


def test_quartiles_need_twenty_people(cohort):
    give(cohort, "weight_kg", [70.0 + n for n in range(19)])
    assert profile(cohort, "vitals")[1]["weight_kg"].quartiles is None

    give(cohort, "weight_kg", [90.0], first=20)
    assert profile(cohort, "vitals")[1]["weight_kg"].quartiles is not None


def test_levels_are_named_and_never_split(cohort):
    give(cohort, "female", [1.0] * 12 + [0.0] * 8)

    _, found = profile(cohort, "demographics-and-genetics")

    female = found["female"]
    assert [(bar.label, bar.n) for bar in female.bars] == [("Male", 8), ("Female", 12)]
    assert female.levels


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-6, 1e9])
def test_one_value_for_everybody_is_one_bar(cohort, value):
    give(cohort, "weight_kg", [value] * 7)

    [bar] = profile(cohort, "vitals")[1]["weight_kg"].bars

    assert bar.n == 7
    assert bar.low <= value < bar.high or bar.low == pytest.approx(value)


def test_codes_are_listed_by_system_under_what_they_mean(cohort):
    CodeConcept.objects.create(id="icd10cm:I10", label="Essential (primary) hypertension")
    give(cohort, "icd10cm:I10", [1.0] * 6)
    give(cohort, "rxnorm:161", [1.0] * 5)

    groups, _ = profile(cohort, "vitals")

    assert [c.label for c in groups["codes-icd-10-cm"].concepts] == [
        "Essential (primary) hypertension (I10)"
    ]
    assert [c.label for c in groups["codes-rxnorm"].concepts] == ["rxnorm:161"]


def test_of_a_large_cohort_every_kth_patient_is_looked_at(cohort, monkeypatch):
    monkeypatch.setattr(profiling, "MOST_PATIENTS", 10)
    give(cohort, "weight_kg", [float(n) for n in range(1, 31)])

    sample = profiling.sample_of(cohort)
    groups, found = profile(cohort, "vitals")

    assert (sample.patients, sample.every, sample.n, sample.is_all) == (30, 3, 10, False)
    assert next(c for c in groups["vitals"].concepts if c.id == "weight_kg").n == 10
    assert found["weight_kg"].n == 10


def test_another_cohort_is_not_counted(cohort):
    give(cohort, "weight_kg", [70.0] * 5)
    give(CohortFactory(), "weight_kg", [90.0] * 50)

    assert profile(cohort, "vitals")[1]["weight_kg"].n == 5


def test_the_database_counts_and_not_python(cohort, django_assert_max_num_queries):
    give(cohort, "weight_kg", [70.0] * 30)
    assert Finding.objects.count() == 30

    with django_assert_max_num_queries(5):
        profile(cohort, "vitals")
