"""Units as files write them, in UCUM's spelling, and their conversion into a concept's own.

A table of our own, because what has to be converted depends on the substance (5.2 mmol/L of
cholesterol are 201 mg/dL, of glucose 94): each concept of the dictionary lists what it accepts.
"""

import re
import unicodedata

from ml.concepts import Concept

_SPELLINGS = {
    "[lb_av]": "lb lbs pound pounds",
    "[stone_av]": "st stone stones",
    "kg": "kg kgs kilogram kilograms kilo kilos",
    "g": "g gram grams",
    "cm": "cm centimetre centimetres centimeter centimeters",
    "mm": "mm millimetre millimeter",
    "m": "m metre metres meter meters",
    "[in_i]": "in inch inches",
    "[ft_i]": "ft foot feet",
    "[degF]": "f °f degf degreesf fahrenheit",
    "Cel": "c °c cel degc degreesc celsius",
    "K": "k kelvin",
    "mm[Hg]": "mmhg mm[hg] torr",
    "kPa": "kpa",
    "kg/m2": "kg/m2 kgm2 kg/m^2",
    "/min": "/min bpm permin perminute beats/min breaths/min {beats}/min {breaths}/min 1/min",
    "a": "a y yr yrs year years",
    "mo": "mo month months",
    "mg/dL": "mg/dl mgdl mg%",
    "mmol/L": "mmol/l mmoll",
    "umol/L": "umol/l umoll micromol/l",
    "nmol/L": "nmol/l",
    "pmol/L": "pmol/l",
    "mmol/mol": "mmol/mol",
    "meq/L": "meq/l meql",
    "g/dL": "g/dl gdl gm/dl",
    "g/L": "g/l",
    "mg/L": "mg/l",
    "ng/mL": "ng/ml ngml ug/l",
    "pg/mL": "pg/ml pgml",
    "ng/L": "ng/l",
    "U/L": "u/l iu/l",
    "m[IU]/L": "m[iu]/l miu/l mu/l",
    "u[IU]/mL": "u[iu]/ml uiu/ml uu/ml",
    "%": "% percent pct",
    "1": "1 fraction",
    "10*3/uL": "10*3/ul 10^3/ul k/ul thou/ul x10e3/ul",
    "10*9/L": "10*9/l 10^9/l x10e9/l",
    "10*6/uL": "10*6/ul 10^6/ul m/ul mil/ul x10e6/ul",
    "10*12/L": "10*12/l 10^12/l",
    "fL": "fl",
    "pg": "pg",
    "mL/min": "ml/min",
    "mL/min/{1.73_m2}": "ml/min/{1.73_m2} ml/min/1.73m2 ml/min/1.73m^2 ml/min/1.73sqm",
    "{score}": "{score} score (score) points point",
    "{T-score}": "{t-score} t-score",
    "{drink}/wk": "{drink}/wk drinks/week units/week",
    "h/wk": "h/wk hours/week",
    "mm3": "mm3 mm^3",
}
_UCUM = {text: unit for unit, texts in _SPELLINGS.items() for text in texts.split()}
LABELS = {
    "[lb_av]": "lb",
    "[stone_av]": "st",
    "[in_i]": "in",
    "[ft_i]": "ft",
    "[degF]": "°F",
    "Cel": "°C",
    "mm[Hg]": "mmHg",
    "a": "years",
    "mo": "months",
    "/min": "per minute",
    "kg/m2": "kg/m²",
    "mL/min/{1.73_m2}": "mL/min/1.73 m²",
    "{score}": "points",
    "{T-score}": "T-score",
    "{drink}/wk": "drinks a week",
    "h/wk": "hours a week",
    "umol/L": "µmol/L",
    "10*3/uL": "10³/µL",
    "10*6/uL": "10⁶/µL",
    "10*9/L": "10⁹/L",
    "10*12/L": "10¹²/L",
    "1": "fraction",
    "mm3": "mm³",
}
_BRACKETED = re.compile(r"(.+?)\s*[(\[]\s*([^()]+?)\s*[)\]]\s*", re.DOTALL)
_LAST_WORD = re.compile(r"(.+?)[\s_.-]+([^\s_]+)", re.DOTALL)


def ucum(text: str) -> str | None:
    """A unit in UCUM's spelling; None if it is not known.

    >>> ucum("lbs"), ucum("mmHg"), ucum("µmol/L"), ucum("furlong")
    ('[lb_av]', 'mm[Hg]', 'umol/L', None)
    """
    if text in _SPELLINGS:
        return text
    plain = unicodedata.normalize("NFKC", text).casefold().replace("μ", "u").replace("µ", "u")
    return _UCUM.get("".join(plain.split()))


def label_of(unit: str) -> str:
    """A unit as a page writes it."""
    return LABELS.get(unit, unit)


def conversion(concept: Concept, unit: str) -> tuple[float, float] | None:
    """Factor and offset from a unit into the concept's own; None if it does not accept it."""
    if unit == concept.unit:
        return 1.0, 0.0
    return concept.units.get(unit)


def split_unit(header: str) -> tuple[str, str | None]:
    """A header's name and the unit written after it, if there is one.

    >>> split_unit("Weight (lb)"), split_unit("WT_LB"), split_unit("Systolic BP")
    (('Weight', '[lb_av]'), ('WT', '[lb_av]'), ('Systolic BP', None))
    """
    for pattern in (_BRACKETED, _LAST_WORD):
        match = pattern.fullmatch(header.strip())
        if match and (unit := ucum(match[2])) is not None:
            return match[1], unit
    return header, None
