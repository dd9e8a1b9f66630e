"""Every ICD-10-CM code and what it means, from the files inside the PyPI package simple-icd-10-cm.

The package's own module builds a tree of all 98,000 codes when it is imported, which takes four
seconds and 190 MB; reading its two files takes a fifth of a second. Standard library only.
"""

import re
from functools import cache
from html import unescape
from importlib.util import find_spec
from pathlib import Path

from ml.concepts import dictionary

_ENTRY = re.compile(r"<name>([A-Z][0-9][0-9A-Z.]*)</name>\s*<desc>([^<]*)</desc>")


def normalise_icd10(text: str) -> str | None:
    """The code as ICD-10-CM writes it, if it is one.

    >>> normalise_icd10("i10"), normalise_icd10("G3184"), normalise_icd10("B99X")
    ('I10', 'G31.84', None)
    """
    bare = text.strip().upper().replace(".", "")
    if bare not in _codes():
        return None
    return bare if len(bare) <= 3 else f"{bare[:3]}.{bare[3:]}"


def describe_icd10(code: str) -> str:
    """What a code means; for one with an encounter's seventh character, what it extends.

    >>> describe_icd10("I10")
    'Essential (primary) hypertension'
    """
    listed = listed_icd10(code)
    return _descriptions()[listed] if listed else ""


def listed_icd10(code: str) -> str | None:
    """The code itself if the tabular list has it, else the one that it extends.

    >>> listed_icd10("I63.9"), listed_icd10("S06.0X0A"), listed_icd10("Q")
    ('I63.9', 'S06.0X0', None)
    """
    names = _descriptions()
    while code and code not in names:
        code = code[:-1].rstrip(".X")
    return code or None


def concept_of_icd10(code: str) -> str | None:
    """The dictionary's concept that a code falls under: the longest of its codes that begins it.

    >>> concept_of_icd10("E11.9"), concept_of_icd10("G30.1"), concept_of_icd10("A00.0")
    ('diabetes', 'dementia_code', None)
    """
    stems = _stems()
    for length in range(len(code), 0, -1):
        if code[:length] in stems:
            return stems[code[:length]]
    return None


def codes_below(category: str) -> tuple[str, ...]:
    """The codes of a category that no further code divides, in the order of the tabular list.

    >>> codes_below("R26"), codes_below("I10")
    (('R26.0', 'R26.1', 'R26.2', 'R26.81', 'R26.89', 'R26.9'), ('I10',))
    """
    listed = [code for code in _by_category().get(category[:3], ()) if code.startswith(category)]
    divided = {code[:length].rstrip(".") for code in listed for length in range(3, len(code))}
    return tuple(code for code in listed if code not in divided)


@cache
def _by_category() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for code in _descriptions():
        found.setdefault(code[:3], []).append(code)
    return found


@cache
def _stems() -> dict[str, str]:
    return {
        stem: concept.id
        for concept in dictionary().values()
        for stem in concept.codes.get("icd10", ())
    }


@cache
def _codes() -> frozenset[str]:
    [path] = _folder().glob("code-list-*.txt")
    words = path.read_text(encoding="ascii").split()
    return frozenset(word for word in words if len(word) >= 3 and "-" not in word)


@cache
def _descriptions() -> dict[str, str]:
    found = _ENTRY.findall(tabular_file().read_text(encoding="utf-8"))
    return {code: unescape(text).strip() for code, text in found}


def tabular_file() -> Path:
    """The tabular list: every code under its category, block and chapter, in XML."""
    [path] = _folder().glob("icd10c-tabular-*.xml")
    return path


def _folder() -> Path:
    spec = find_spec("simple_icd_10_cm")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The package simple-icd-10-cm is not installed: make install.")
    return Path(spec.origin).parent / "data"
