"""The same people as another clinic would write them down: other field names, words and units.

Some names are in the concept dictionary, most are not and have to be linked by their text. Weight
is in pounds, height in inches and temperature in degrees Fahrenheit, yes and no are words.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ml.concepts import dictionary
from ml.records import PatientRecord

UNIT_IN_HEADER: Mapping[str, str] = MappingProxyType(
    {"lb": "[lb_av]", "in": "[in_i]", "degF": "[degF]"}
)
"""Spelling of a unit in a header to its UCUM code, the key of a concept's `units`."""

OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "age": "Age at visit",
        "female": "Gender",
        "education_years": "Years of schooling",
        "hispanic": "Hispanic or Latino",
        "racial_group": "Racial category",
        "marital_status": "Civil status",
        "apoe4": "Number of APOE e4 alleles",
        "weight_kg": "Body weight (lb)",
        "height_cm": "Stature (in)",
        "bmi": "Quetelet index of body mass",
        "systolic_mmhg": "Blood pressure, systolic reading",
        "diastolic_mmhg": "Blood pressure, diastolic reading",
        "pulse_per_min": "Heart beats per minute",
        "respiration_per_min": "Breaths per minute",
        "temperature_c": "Temp of the body (degF)",
        "history_psychiatric": "Past mental illness",
        "history_neurologic": "Past neurological illness",
        "history_head_ent": "Past trouble of eyes, ears, nose or throat",
        "history_cardiovascular": "Past heart or vessel disease",
        "history_respiratory": "Past lung disease",
        "history_hepatic": "Past liver disease",
        "history_dermatologic": "Past skin disease",
        "history_musculoskeletal": "Past disease of joints or muscles",
        "history_endocrine": "Past hormonal or metabolic disease",
        "history_gastrointestinal": "Past stomach or bowel disease",
        "history_haematologic": "Past blood or lymph disease",
        "history_renal": "Past kidney or urinary disease",
        "history_allergy": "Known allergies",
        "history_alcohol": "Alcoholism",
        "history_drug_abuse": "Abuse of drugs",
        "history_smoking": "Smoker, now or ever",
        "history_malignancy": "Past cancer",
        "history_surgery": "Operations",
        "history_other": "Any other past illness",
        "diabetes": "Diabetic",
        "high_cholesterol": "Raised cholesterol",
        "sleep_apnoea": "Apnoea during sleep",
        "nausea": "Feels sick",
        "vomiting": "Vomits",
        "diarrhoea": "Loose stools (diarrhea)",
        "constipation": "Constipated",
        "abdominal_discomfort": "Belly pain",
        "sweating": "Sweats a lot",
        "dizziness": "Feels dizzy",
        "low_energy": "Tired, without energy",
        "drowsiness": "Sleepy by day",
        "blurred_vision": "Sees blurred",
        "headache": "Pain in the head",
        "dry_mouth": "Mouth feels dry",
        "shortness_of_breath": "Short of breath",
        "cough": "Coughs",
        "palpitations": "Heart palpitations",
        "chest_pain": "Pain in the chest",
        "urinary_discomfort": "Discomfort passing urine",
        "urinary_frequency": "Passes urine often",
        "ankle_swelling": "Ankles swell",
        "muscle_pain": "Aching muscles",
        "rash": "Rash of the skin",
        "insomnia": "Cannot sleep",
        "depressed_mood": "Depressed",
        "crying": "Cries easily",
        "elevated_mood": "Mood too high",
        "falls": "Has fallen",
        "symptom_other": "Any other symptom",
        "exam_visual": "Vision impaired on examination",
        "exam_auditory": "Hearing impaired on examination",
        "exam_tremor": "Trembling (tremor)",
        "exam_consciousness": "Consciousness on examination",
        "exam_cranial_nerves": "Cranial nerve examination",
        "exam_motor_strength": "Strength of the muscles",
        "exam_finger_to_nose": "Finger-nose test",
        "exam_heel_to_shin": "Heel-shin test",
        "exam_sensory": "Sensation on examination",
        "exam_tendon_reflexes": "Tendon jerks",
        "exam_plantar_reflexes": "Plantar response",
        "exam_gait": "Walking (gait) on examination",
        "hachinski_somatic": "Complaints about the body (somatic)",
        "hachinski_emotional": "Emotions not under control (incontinence)",
        "hypertension": "Hypertensive",
        "stroke": "Stroke in the past",
        "focal_symptoms": "Neurological symptoms, focal",
        "focal_signs": "Neurological signs, focal",
    }
)
"""What the other clinic calls the inputs that do not lean on the diagnosis."""


def second_cohort(
    records: Sequence[PatientRecord],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the other clinic's table; a cell is empty where nothing was observed.

    Values lose a little in their rounding to one decimal of the other unit.
    """
    names = list(OTHER_NAMES)
    return tuple(OTHER_NAMES.values()), [
        tuple(_cell(name, record.values.get(name)) for name in names) for record in records
    ]


def unit_of(header: str) -> str | None:
    """UCUM unit that a header states, if it states one.

    >>> unit_of("Body weight (lb)"), unit_of("Loose stools (diarrhea)")
    ('[lb_av]', None)
    """
    stated = header.rpartition("(")[2].removesuffix(")")
    return UNIT_IN_HEADER.get(stated)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    concept = dictionary()[name]
    unit = unit_of(OTHER_NAMES[name])
    if unit is not None:
        factor, offset = concept.units[unit]
        return f"{(value - offset) / factor:.1f}"
    if concept.levels:
        return concept.levels[int(value)]
    return f"{value:g}"
