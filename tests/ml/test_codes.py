"""The codes and units of the dictionary are real ones, and each belongs to one concept."""

import pytest

from ml.concepts import Kind, dictionary
from ml.icd10 import normalise_icd10

CONCEPTS = list(dictionary().values())
_D = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
]
_P = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
    [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
    [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
    [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
    [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
    [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
    [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
]


def of(system):
    return [(c.id, code) for c in CONCEPTS for code in c.codes.get(system, ())]


def luhn_is_right(code):
    """LOINC's check digit: the usual mod-10 over the number before the dash."""
    number, check = code.split("-")
    doubled = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(number))]
    return (10 - sum(d - 9 if d > 9 else d for d in doubled) % 10) % 10 == int(check)


def verhoeff_is_right(code):
    """SNOMED CT's check digit."""
    check = 0
    for i, digit in enumerate(reversed(code)):
        check = _D[check][_P[i % 8][int(digit)]]
    return check == 0


@pytest.mark.parametrize(("concept", "code"), of("loinc"))
def test_loinc_codes_have_the_right_check_digit(concept, code):
    assert luhn_is_right(code)


@pytest.mark.parametrize(("concept", "code"), of("snomed"))
def test_snomed_codes_have_the_right_check_digit(concept, code):
    assert verhoeff_is_right(code)


@pytest.mark.parametrize(("concept", "code"), [e for e in of("icd10") if len(e[1]) > 1])
def test_icd_10_codes_are_in_the_current_edition(concept, code):
    assert normalise_icd10(code) == code


def test_no_code_belongs_to_two_concepts():
    for system in ("loinc", "snomed", "icd10", "rxnorm"):
        codes = [code for _, code in of(system)]
        assert len(codes) == len(set(codes)), system


def test_codings_and_answers_in_codes_are_snomed_ones():
    codes = [a for c in CONCEPTS for a in c.answers if a.isdigit()]
    assert codes
    assert all(map(verhoeff_is_right, codes))


def test_only_measurements_have_units_and_their_own_is_not_among_the_others():
    for concept in CONCEPTS:
        if concept.units:
            assert concept.kind is Kind.CONTINUOUS
            assert concept.unit
            assert concept.unit not in concept.units


@pytest.mark.parametrize(
    ("concept", "unit", "theirs", "ours"),
    [
        ("weight_kg", "[lb_av]", 150, 68.04),
        ("height_cm", "[in_i]", 70, 177.8),
        ("temperature_c", "[degF]", 98.6, 37.0),
        ("cholesterol_total", "mmol/L", 5.2, 201.1),
        ("glucose", "mmol/L", 5.5, 99.1),
        ("hba1c", "mmol/mol", 48, 6.54),
        ("creatinine", "umol/L", 88.4, 1.0),
    ],
)
def test_other_units_convert_to_ours(concept, unit, theirs, ours):
    factor, offset = dictionary()[concept].units[unit]

    assert theirs * factor + offset == pytest.approx(ours, rel=2e-3)


def test_critical_bounds_lie_within_the_plausible_range():
    for concept in CONCEPTS:
        for bound in (concept.critical_low, concept.critical_high):
            assert bound is None or concept.low <= bound <= concept.high
