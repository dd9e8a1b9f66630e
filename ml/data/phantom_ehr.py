"""Invented health records whose causes are known.

One record is drawn from four hidden states (vascular, frailty, mood, lifestyle), the person's age,
sex, education and APOE genotype, and the severity of an imagined Alzheimer's disease. What severity
does is in `SEVERITY_EFFECTS` and nowhere else, so that explanations can be checked against it.

Prevalences are those of a memory clinic's study volunteers of about 75 years, in round figures (the
order of magnitude of ADNI's published baseline tables); they are ours, not fitted to any data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float

from ml.concepts import dictionary, schema

# What one unit of severity does: added log-odds of a finding, added units of a measurement.
# A person with AD has a severity about 1.6 higher than one without. These are the planted causes.
SEVERITY_EFFECTS: Mapping[str, float] = MappingProxyType(
    {
        "wandering": 1.10,
        "exam_consciousness": 0.80,
        "hachinski_emotional": 0.85,
        "exam_gait": 0.75,
        "hachinski_stepwise": 0.70,
        "depressed_mood": 0.70,
        "falls": 0.60,
        "low_energy": 0.55,
        "drowsiness": 0.55,
        "exam_finger_to_nose": 0.50,
        "exam_heel_to_shin": 0.50,
        "crying": 0.50,
        "urinary_frequency": 0.45,
        "exam_plantar_reflexes": 0.40,
        "hachinski_abrupt_onset": 0.40,
        "history_psychiatric": 0.40,
        "exam_tendon_reflexes": 0.40,
        "exam_auditory": 0.40,
        "dizziness": 0.40,
        "insomnia": 0.35,
        "stroke": 0.30,
        "hypertension": 0.20,
        "diabetes": 0.20,
        "muscle_pain": -0.35,  # reported less, not felt less
        "headache": -0.30,
        "weight_kg": -2.5,
        "systolic_mmhg": 1.5,
        "pulse_per_min": 1.0,
    }
)
# Never an effect of severity but of the genotype: log-odds per APOE e4 allele.
_APOE_EFFECTS = {"mother_dementia": 0.5, "father_dementia": 0.4, "sibling_dementia": 0.5}

_VASCULAR, _FRAILTY, _MOOD, _LIFESTYLE = range(4)


@dataclass(frozen=True, slots=True)
class _Finding:
    """How often a finding is present.

    Attributes:
        share: of men of 75 years with the hidden states and the severity at zero.
        per_decade: added log-odds per ten years of age.
        female: added log-odds for women.
        loads: hidden state to added log-odds per unit of it.
    """

    share: float
    per_decade: float = 0.0
    female: float = 0.0
    loads: Mapping[int, float] = field(default_factory=dict)


_FINDINGS: Mapping[str, _Finding] = {
    "history_psychiatric": _Finding(0.25, -0.1, 0.4, {_MOOD: 1.0}),
    "history_neurologic": _Finding(0.25, 0.1, 0.0, {_FRAILTY: 0.3}),
    "history_head_ent": _Finding(0.55, 0.3, 0.0, {_FRAILTY: 0.2}),
    "history_cardiovascular": _Finding(0.30, 0.3, -0.3, {_VASCULAR: 0.9}),
    "history_respiratory": _Finding(0.18, 0.1, 0.0, {_LIFESTYLE: 0.5}),
    "history_hepatic": _Finding(0.04, 0.0, -0.1, {_LIFESTYLE: 0.5}),
    "history_dermatologic": _Finding(0.38, 0.1, -0.2),
    "history_musculoskeletal": _Finding(0.62, 0.3, 0.4, {_FRAILTY: 0.5}),
    "history_endocrine": _Finding(0.20, 0.0, 0.5, {_VASCULAR: 0.4}),
    "history_gastrointestinal": _Finding(0.42, 0.1, 0.2, {_FRAILTY: 0.2}),
    "history_haematologic": _Finding(0.08, 0.2, 0.0, {_FRAILTY: 0.3}),
    "history_renal": _Finding(0.45, 0.3, -0.5, {_FRAILTY: 0.2}),
    "history_allergy": _Finding(0.35, 0.0, 0.4),
    "history_alcohol": _Finding(0.05, -0.3, -1.0, {_LIFESTYLE: 1.0}),
    "history_drug_abuse": _Finding(0.008, -0.4, -0.5, {_LIFESTYLE: 1.0}),
    "history_smoking": _Finding(0.42, -0.1, -0.5, {_LIFESTYLE: 1.2}),
    "history_malignancy": _Finding(0.20, 0.4, -0.1, {_LIFESTYLE: 0.2}),
    "history_surgery": _Finding(0.75, 0.2, 0.2, {_FRAILTY: 0.2}),
    "history_other": _Finding(0.20),
    "diabetes": _Finding(0.11, 0.1, -0.3, {_VASCULAR: 1.0}),
    "high_cholesterol": _Finding(0.48, 0.0, 0.0, {_VASCULAR: 0.7}),
    "sleep_apnoea": _Finding(0.12, 0.0, -0.9, {_VASCULAR: 0.6}),
    "nausea": _Finding(0.03, 0.0, 0.5, {_FRAILTY: 0.7}),
    "vomiting": _Finding(0.012, 0.0, 0.3, {_FRAILTY: 0.7}),
    "diarrhoea": _Finding(0.08, 0.0, 0.2, {_FRAILTY: 0.5}),
    "constipation": _Finding(0.09, 0.2, 0.3, {_FRAILTY: 0.6}),
    "abdominal_discomfort": _Finding(0.07, 0.0, 0.3, {_FRAILTY: 0.6}),
    "sweating": _Finding(0.04, -0.2, 0.4, {_MOOD: 0.3}),
    "dizziness": _Finding(0.09, 0.3, 0.2, {_FRAILTY: 0.6}),
    "low_energy": _Finding(0.17, 0.2, 0.1, {_FRAILTY: 0.5, _MOOD: 0.7}),
    "drowsiness": _Finding(0.08, 0.2, 0.0, {_FRAILTY: 0.4, _MOOD: 0.4}),
    "blurred_vision": _Finding(0.07, 0.3, 0.0, {_FRAILTY: 0.4}),
    "headache": _Finding(0.12, -0.3, 0.4, {_MOOD: 0.5}),
    "dry_mouth": _Finding(0.10, 0.1, 0.3, {_FRAILTY: 0.4}),
    "shortness_of_breath": _Finding(0.10, 0.3, 0.0, {_VASCULAR: 0.5, _LIFESTYLE: 0.3}),
    "cough": _Finding(0.13, 0.1, 0.0, {_LIFESTYLE: 0.5}),
    "palpitations": _Finding(0.05, 0.1, 0.2, {_VASCULAR: 0.4}),
    "chest_pain": _Finding(0.03, 0.0, -0.1, {_VASCULAR: 0.6}),
    "urinary_discomfort": _Finding(0.03, 0.1, 0.3, {_FRAILTY: 0.4}),
    "urinary_frequency": _Finding(0.28, 0.3, -0.3, {_FRAILTY: 0.4}),
    "ankle_swelling": _Finding(0.11, 0.4, 0.4, {_VASCULAR: 0.5}),
    "muscle_pain": _Finding(0.52, 0.1, 0.2, {_FRAILTY: 0.6}),
    "rash": _Finding(0.10),
    "insomnia": _Finding(0.15, 0.0, 0.3, {_MOOD: 0.8}),
    "depressed_mood": _Finding(0.12, -0.1, 0.3, {_MOOD: 1.4}),
    "crying": _Finding(0.05, 0.0, 1.0, {_MOOD: 1.4}),
    "elevated_mood": _Finding(0.012, 0.0, 0.0, {_MOOD: 0.3}),
    "wandering": _Finding(0.006),
    "falls": _Finding(0.08, 0.5, 0.2, {_FRAILTY: 0.8}),
    "symptom_other": _Finding(0.10),
    "exam_visual": _Finding(0.06, 0.5, 0.0, {_FRAILTY: 0.3}),
    "exam_auditory": _Finding(0.18, 0.8, -0.6, {_FRAILTY: 0.2}),
    "exam_tremor": _Finding(0.06, 0.4, -0.2, {_FRAILTY: 0.2}),
    "exam_consciousness": _Finding(0.005),
    "exam_cranial_nerves": _Finding(0.04, 0.2, 0.0, {_VASCULAR: 0.3}),
    "exam_motor_strength": _Finding(0.04, 0.4, 0.0, {_FRAILTY: 0.7}),
    "exam_finger_to_nose": _Finding(0.025, 0.2, 0.0, {_FRAILTY: 0.4}),
    "exam_heel_to_shin": _Finding(0.035, 0.3, 0.0, {_FRAILTY: 0.5}),
    "exam_sensory": _Finding(0.12, 0.4, -0.3, {_VASCULAR: 0.3}),
    "exam_tendon_reflexes": _Finding(0.13, 0.3, -0.2, {_FRAILTY: 0.2}),
    "exam_plantar_reflexes": _Finding(0.04, 0.2, 0.0, {_VASCULAR: 0.3}),
    "exam_gait": _Finding(0.10, 0.7, 0.0, {_FRAILTY: 0.9}),
    "hachinski_abrupt_onset": _Finding(0.012, 0.0, 0.0, {_VASCULAR: 0.5}),
    "hachinski_stepwise": _Finding(0.012, 0.0, 0.0, {_VASCULAR: 0.5}),
    "hachinski_somatic": _Finding(0.10, 0.0, 0.2, {_MOOD: 0.5, _FRAILTY: 0.4}),
    "hachinski_emotional": _Finding(0.04, 0.0, 0.3, {_MOOD: 0.8}),
    "hypertension": _Finding(0.46, 0.3, 0.0, {_VASCULAR: 1.1}),
    "stroke": _Finding(0.015, 0.5, -0.2, {_VASCULAR: 1.0}),
    "focal_symptoms": _Finding(0.015, 0.2, 0.0),
    "focal_signs": _Finding(0.015, 0.2, 0.0),
    "mother_dementia": _Finding(0.28),
    "father_dementia": _Finding(0.15),
    "sibling_dementia": _Finding(0.12, 0.5, 0.0),
}
# A finding makes another likelier: added log-odds. Causes stand before effects in _FINDINGS or
# are drawn first, so one pass over this table is enough.
_CONSEQUENCES: Mapping[str, Mapping[str, float]] = {
    "hypertension": {"stroke": 0.9, "history_cardiovascular": 2.5},
    "diabetes": {"stroke": 0.6, "history_endocrine": 4.0, "exam_sensory": 0.8},
    "high_cholesterol": {"history_endocrine": 1.0},
    "sleep_apnoea": {"history_respiratory": 1.5, "drowsiness": 0.8},
    "history_smoking": {"history_respiratory": 0.5},
    "stroke": {
        "history_neurologic": 2.5,
        "focal_symptoms": 3.0,
        "focal_signs": 2.5,
        "exam_motor_strength": 1.5,
        "exam_plantar_reflexes": 1.5,
        "hachinski_stepwise": 1.5,
        "exam_gait": 0.8,
    },
}
# Share of records without the group at all, then share of single values missing from it.
_MISSING: Mapping[str, tuple[float, float]] = {
    "Demographics and genetics": (0.0, 0.05),
    "Vitals": (0.03, 0.07),
    "Medical history": (0.04, 0.06),
    "Symptom checklist": (0.06, 0.05),
    "Neurological examination": (0.08, 0.05),
    "Modified Hachinski": (0.08, 0.04),
    "Family history": (0.06, 0.08),
}
_ALWAYS_KNOWN = ("age", "female")


def sample_ehr(
    rng: np.random.Generator,
    *,
    age_years: float,
    female: bool,
    education_years: float,
    apoe4: int,
    severity: float,
) -> dict[str, float]:
    """Draw one person's findings: concept to value, in schema order, what is missing left out.

    Every call draws the same number of random numbers, so two people differ by their arguments
    alone if the generators agree. About one value in ten is absent at random, singly or with its
    whole group; age and sex never are.

    Args:
        rng: the only source of chance.
        age_years, female, education_years, apoe4: the person; APOE as the number of e4 alleles.
        severity: of the imagined disease; about N(0, 1) in healthy people, higher in AD.
    """
    states = rng.standard_normal(4)
    findings = _findings(rng.random(len(_FINDINGS)), states, age_years, female, apoe4, severity)
    values = {
        "age": round(age_years, 1),
        "female": float(female),
        "education_years": float(round(education_years)),
        "apoe4": float(apoe4),
        **_background(rng.random(3), age_years, female),
        **_vitals(rng.standard_normal(8), states, findings, age_years, female, severity),
        **findings,
    }
    known = _known(rng.random(len(_GROUPS)), rng.random(len(schema())))
    return {name: values[name] for name, kept in zip(schema(), known, strict=True) if kept}


def _findings(
    draws: Float[np.ndarray, " findings"],
    states: Float[np.ndarray, " 4"],
    age_years: float,
    female: bool,
    apoe4: int,
    severity: float,
) -> dict[str, float]:
    """Present or absent, in an order in which causes come before consequences."""
    logits = (
        _BASE
        + _PER_DECADE * (age_years - 75.0) / 10.0
        + _FEMALE * female
        + _PER_ALLELE * apoe4
        + _PER_SEVERITY * severity
        + _LOADS @ states
    )
    thresholds = np.log(draws) - np.log1p(-draws)  # P(threshold < logit) is the logistic of logit
    present = thresholds < logits
    for cause, effects in _CAUSES:
        if present[cause]:
            for effect, added in effects:
                logits[effect] += added
                present[effect] = thresholds[effect] < logits[effect]
    return dict(zip(_FINDINGS, present.astype(float).tolist(), strict=True))


def _background(draws: Float[np.ndarray, " 3"], age_years: float, female: bool) -> dict[str, float]:
    """Ethnicity, race and marital status, as a North American study recruits them."""
    race = int(np.searchsorted((0.003, 0.025, 0.027, 0.075, 0.985), draws[1])) + 1
    widowed = min(0.6, (0.16 if female else 0.05) * 1.8 ** ((age_years - 75.0) / 10.0))
    shares = np.cumsum((1.0 - widowed - 0.13, widowed, 0.09))
    return {
        "hispanic": float(draws[0] < 0.035),
        "racial_group": float(race),
        "marital_status": float(np.searchsorted(shares, draws[2]) + 1),
    }


def _vitals(
    draws: Float[np.ndarray, " 8"],
    states: Float[np.ndarray, " 4"],
    findings: Mapping[str, float],
    age_years: float,
    female: bool,
    severity: float,
) -> dict[str, float]:
    """Measurements with the rounding of a clinic's form.

    Weight follows height, the vascular state and age; the pressures share a term and follow
    hypertension, half of which is treated away.
    """
    decades = (age_years - 75.0) / 10.0
    height = round((161.0 if female else 175.5) - 1.5 * decades + 6.5 * draws[0], 1)
    bmi = 26.5 - 0.8 * decades + 1.6 * states[_VASCULAR] + 3.3 * draws[1]
    weight = bmi * (height / 100.0) ** 2 + SEVERITY_EFFECTS["weight_kg"] * severity
    weight = round(max(38.0, weight), 1)
    pressure = draws[2] + 0.5 * findings["hypertension"]
    systolic = 131.0 + 2.0 * decades + 11.0 * pressure + 9.0 * draws[3]
    systolic = round(systolic + SEVERITY_EFFECTS["systolic_mmhg"] * severity)
    diastolic = round(min(73.0 - 2.0 * decades + 6.0 * pressure + 6.0 * draws[4], systolic - 15))
    pulse = 64.0 + 2.0 * female + states[_MOOD] + 9.0 * draws[5]
    pulse += SEVERITY_EFFECTS["pulse_per_min"] * severity
    respiration = 16.5 + 0.5 * draws[5] + 2.3 * draws[6]
    measured = {
        "weight_kg": weight,
        "height_cm": height,
        "bmi": round(weight / (height / 100.0) ** 2, 1),
        "systolic_mmhg": systolic,
        "diastolic_mmhg": diastolic,
        "pulse_per_min": 2 * round(pulse / 2),  # counted over half a minute
        "respiration_per_min": 2 * round(respiration / 2),
        "temperature_c": round(36.4 + 0.35 * draws[7], 1),
    }
    return {name: _inside(name, float(value)) for name, value in measured.items()}


def _inside(name: str, value: float) -> float:
    """The value, or the end of the plausible range that a far tail has crossed."""
    low, high = _RANGES[name]
    return min(max(value, low), high)


def _known(
    group_draws: Float[np.ndarray, " groups"], draws: Float[np.ndarray, " inputs"]
) -> Bool[np.ndarray, " inputs"]:
    """Which inputs were recorded: a group may be absent as a whole, a value on its own."""
    known: np.ndarray = (group_draws >= _GROUP_MISSING)[_GROUP_OF] & (draws >= _VALUE_MISSING)
    return known


_CONCEPTS = [dictionary()[name] for name in schema()]
_RANGES = {c.id: (c.low, c.high) for c in _CONCEPTS}
_ROW = {name: row for row, name in enumerate(_FINDINGS)}
_SHARES = np.array([f.share for f in _FINDINGS.values()])
_BASE = np.log(_SHARES / (1.0 - _SHARES))
_PER_DECADE = np.array([f.per_decade for f in _FINDINGS.values()])
_FEMALE = np.array([f.female for f in _FINDINGS.values()])
_LOADS = np.array([[f.loads.get(state, 0.0) for state in range(4)] for f in _FINDINGS.values()])
_PER_SEVERITY = np.array([SEVERITY_EFFECTS.get(name, 0.0) for name in _FINDINGS])
_PER_ALLELE = np.array([_APOE_EFFECTS.get(name, 0.0) for name in _FINDINGS])
_CAUSES = [
    (_ROW[cause], [(_ROW[effect], added) for effect, added in effects.items()])
    for cause, effects in _CONSEQUENCES.items()
]
_GROUPS = list(_MISSING)
_GROUP_OF = np.array([_GROUPS.index(c.group) for c in _CONCEPTS])
_GROUP_MISSING = np.array([share for share, _ in _MISSING.values()])
_VALUE_MISSING = np.array(
    [0.0 if c.id in _ALWAYS_KNOWN else _MISSING[c.group][1] for c in _CONCEPTS]
)
