"""De-identification at the door: what identifies a person is recognised here and never enters.

Only numbers, concepts and moved dates are ever stored, so a name in a wrong column cannot get in;
this module says which columns are left out for it, so that nobody is asked what they mean.
"""

import re
from collections.abc import Sequence

from ml.concepts import normalise_name

OLDEST_AGE_YEARS = 89
OWN_RESULT = "mirageresearchresult"  # columns of our own export: an answer is no finding
AGE_OF_THE_OLDEST_YEARS = 90.0
_KINDS = {
    "name": "name|firstname|lastname|surname|givenname|familyname|middlename|initials|maidenname|"
    "fullname|patientname|forename|nickname|mothersname|fathersname|mothersmaidenname|nextofkin|"
    "contact|contactname|guardian|caregiver|informant",
    "staff": "doctor|doctorincharge|physician|attendingphysician|provider|nurse|clinician|gp|"
    "referringphysician|examiner|rater|operator|practitioner|enteredby|username|userid",
    "record number": "mrn|medicalrecordnumber|recordnumber|hospitalnumber|ssn|"
    "socialsecuritynumber|socialsecurity|nhsnumber|nationalid|insurancenumber|policynumber|accountnumber|passport|"
    "passportnumber|licence|license|driverslicense|accession|accessionnumber|encounterid|"
    "deviceid|serialnumber|caseid|episodeid|casenumber|healthplanid",
    "address": "address|street|city|town|zip|zipcode|postcode|postalcode|county|state|country|"
    "address1|address2|homeaddress|birthplace|residence|neighbourhood|latitude|longitude",
    "phone or e-mail": "phone|telephone|mobile|cell|cellphone|fax|email|mail|emailaddress|"
    "phonenumber|homephone|workphone|url|website|ip|ipaddress",
    "free text": "note|notes|comment|comments|remark|remarks|freetext|narrative|clinicalnote|"
    "report|description|history|impression|conclusion|summary|reasonforvisit|chiefcomplaint",
    "exact date": "dateofdeath|deathdate|admissiondate|dischargedate|createdat|updatedat|"
    "dateentered|modified|signeddate|dateofdiagnosis|diagnosisdate|onsetdate|consentdate",
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names.split("|")}
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[a-z]{2,}", re.IGNORECASE)
_PHONE = re.compile(r"\+?\(?\d[\d\s()./-]{6,}\d")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}.*|\d{1,2}[/.]\d{1,2}[/.]\d{4}.*")
_LONG_TEXT = 60
_MANY_WORDS = 5


def kind_by_header(header: str) -> str:
    """What kind of identity a column holds, by its name; empty if none.

    >>> kind_by_header("Doctor in charge"), kind_by_header("ZIP code"), kind_by_header("Weight")
    ('staff', 'address', '')
    """
    name = normalise_name(header)
    if name.startswith(OWN_RESULT):
        return "answer of MIRAGE"
    return _KIND_OF.get(name, "")


def kind_by_values(values: Sequence[str]) -> str:
    """What kind of identity an unknown column holds, by some of its cells; empty if none."""
    filled = [value.strip() for value in values if value.strip()]
    if not filled:
        return ""
    for kind, looks in (
        ("phone or e-mail", lambda v: bool(_EMAIL.fullmatch(v))),
        ("exact date", lambda v: bool(_DATE.fullmatch(v))),
        ("phone or e-mail", lambda v: bool(_PHONE.fullmatch(v)) and "." not in v),
        ("free text", lambda v: len(v) > _LONG_TEXT or len(v.split()) > _MANY_WORDS),
    ):
        if sum(map(looks, filled)) > 0.5 * len(filled):
            return kind
    return ""


def masked(identifier: str) -> str:
    """An identifier as a page may show it: its first letters, never all of it."""
    text = identifier.strip()
    return text[: min(2, len(text) // 3)] + "•••"


def capped(age_years: float) -> float:
    """Ages over 89 identify people (HIPAA Safe Harbor), so they are all 90."""
    return AGE_OF_THE_OLDEST_YEARS if age_years > OLDEST_AGE_YEARS else age_years
