"""Codes of LOINC, SNOMED CT, ICD-10-CM and RxNorm: recognised, checked, and tied to concepts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from ml.concepts import Concept, dictionary, normalise_name
from ml.icd10 import concept_of_icd10, describe_icd10, normalise_icd10

MAX_CONCEPT_CHARACTERS = 64


class System(StrEnum):
    """A code system; its value begins the identifiers of concepts that are codes."""

    LOINC = "loinc"
    SNOMED = "snomed"
    ICD10 = "icd10cm"
    RXNORM = "rxnorm"


LABELS = {
    System.LOINC: "LOINC",
    System.SNOMED: "SNOMED CT",
    System.ICD10: "ICD-10",
    System.RXNORM: "RxNorm",
}
_URIS = {
    "http://loinc.org": System.LOINC,
    "http://snomed.info/sct": System.SNOMED,
    "http://hl7.org/fhir/sid/icd-10-cm": System.ICD10,
    "http://hl7.org/fhir/sid/icd-10": System.ICD10,
    "http://www.nlm.nih.gov/research/umls/rxnorm": System.RXNORM,
    "urn:oid:2.16.840.1.113883.6.1": System.LOINC,
    "urn:oid:2.16.840.1.113883.6.96": System.SNOMED,
    "urn:oid:2.16.840.1.113883.6.90": System.ICD10,
    "urn:oid:2.16.840.1.113883.6.88": System.RXNORM,
}
_NAMES = {
    "loinc": System.LOINC,
    "snomed": System.SNOMED,
    "snomedct": System.SNOMED,
    "sct": System.SNOMED,
    "icd10": System.ICD10,
    "icd10cm": System.ICD10,
    "icd": System.ICD10,
    "rxnorm": System.RXNORM,
    "rxcui": System.RXNORM,
}
_SYSTEM_AND_CODE = re.compile(r"([A-Za-z][A-Za-z0-9 -]*?)[\s:|_#/-]+([A-Za-z]?\d[\dA-Za-z.-]*)")
_BARE_LOINC = re.compile(r"\d{1,7}-\d")
_BARE_ICD10 = re.compile(r"[A-PRSUZ]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?")  # Q10, T1, V04 are questions
_DIGITS = re.compile(r"[1-9]\d{0,17}")
_PARENTHESES = re.compile(r"\s*\((disorder|finding|situation|procedure|observable entity)\)\s*$")


@dataclass(frozen=True, slots=True)
class Code:
    """A code and its system, written as the system writes it."""

    system: System
    code: str

    @property
    def concept(self) -> str:
        """The identifier of the concept that is this code and nothing else."""
        return f"{self.system}:{self.code}"

    def __str__(self) -> str:
        return f"{LABELS[self.system]} {self.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a code stands for.

    Attributes:
        concept: the dictionary's concept; empty if it has none for this code.
        own: the concept that is the code itself; empty where the dictionary's is the same thing.
        by: "code", or "name" for a drug found by its name in the display.
        label: what a page calls it.
        label_proximal: whether it is a near-copy of the diagnosis.
    """

    concept: str
    own: str
    by: str
    label: str
    label_proximal: bool


def system_of(text: str) -> System | None:
    """The code system that a URI or a name stands for."""
    return _URIS.get(text.strip().rstrip("/")) or _NAMES.get(normalise_name(text))


def make_code(system: System, text: str) -> Code | None:
    """A code of a system, if it is well-formed (ICD-10-CM: if it exists)."""
    text = text.strip()
    if system is System.ICD10:
        found = normalise_icd10(text)
        return Code(system, found) if found else None
    pattern = _BARE_LOINC if system is System.LOINC else _DIGITS
    if not pattern.fullmatch(text) or (system is System.LOINC and not _check_digit_fits(text)):
        return None
    return Code(system, text)


def code_in(header: str) -> Code | None:
    """The code that a header, or a cell that says what was measured, is.

    >>> str(code_in("8480-6")), str(code_in("ICD10: e11.9")), code_in("Q10"), code_in("8480-7")
    ('LOINC 8480-6', 'ICD-10 E11.9', None, None)
    """
    text = header.strip()
    if _BARE_LOINC.fullmatch(text):
        return make_code(System.LOINC, text)
    match = _SYSTEM_AND_CODE.fullmatch(text)
    system = _NAMES.get(normalise_name(match[1])) if match else None
    if match and system is not None:
        return make_code(system, match[2])
    if _BARE_ICD10.fullmatch(text.upper()):
        return make_code(System.ICD10, text)
    return None


def meaning_of(code: Code, display: str = "") -> Meaning:
    """The dictionary's concept for a code, and the concept that the code is by itself."""
    label = plain(display) or str(code)
    if code.system is System.ICD10:
        label = describe_icd10(code.code) or label
        concept = concept_of_icd10(code.code)
    else:
        concept = _by_code().get((code.system, code.code))
    by = "code"
    if concept is None and code.system is System.RXNORM:
        concept, by = _drug_named_in(display), "name"
    known = dictionary()[concept] if concept else None
    return Meaning(
        concept=concept or "",
        own="" if concept and code.system is System.LOINC else code.concept,
        by=by,
        label=known.label if known else label,
        label_proximal=known.label_proximal if known else False,
    )


def concept_by_code(code: Code) -> Concept | None:
    """The dictionary's concept for a code."""
    found = meaning_of(code).concept
    return dictionary()[found] if found else None


def plain(display: str) -> str:
    """A code's display without the kind that SNOMED CT appends, at most 120 characters."""
    return _PARENTHESES.sub("", " ".join(display.split()))[:120]


def _check_digit_fits(loinc: str) -> bool:
    number, check = loinc.split("-")
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (2 - place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return (10 - total % 10) % 10 == int(check)


@cache
def _by_code() -> Mapping[tuple[System, str], str]:
    return {
        (System(system), code): concept.id
        for concept in dictionary().values()
        for system in (System.LOINC, System.SNOMED, System.RXNORM)
        for code in concept.codes.get(system, ())
    }


@cache
def _drug_names() -> Mapping[str, str]:
    drugs = [c for c in dictionary().values() if c.group == "Dementia drugs"]
    return {word.casefold(): c.id for c in drugs for word in (c.label, *c.synonyms)}


def _drug_named_in(display: str) -> str | None:
    """A dementia drug whose name is a word of a product's: product codes are too many to list."""
    words = re.findall(r"[a-z]+", display.casefold())
    return next((_drug_names()[word] for word in words if word in _drug_names()), None)
