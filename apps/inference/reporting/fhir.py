"""A result as a FHIR R4 RiskAssessment (https://hl7.org/fhir/R4/riskassessment.html).

Written by hand, because it is one small resource; the tests read it back with fhir.resources, which
knows every rule of the standard. The patient is a pseudonym. Nothing in it is a diagnosis, so no
Condition is made, and the status is preliminary: no clinician has stood behind it.
"""

from typing import Any

from apps.inference.models import Prediction
from apps.inference.reporting.words import ANSWERS, COVERAGE, SYNTHETIC, WHAT_IT_IS
from apps.inference.results import Head, Result

SNOMED = "http://snomed.info/sct"
ALZHEIMERS = {
    "coding": [{"system": SNOMED, "code": "26929004", "display": "Alzheimer's disease"}],
    "text": "Alzheimer's disease",
}
UCUM = "http://unitsofmeasure.org"
PSEUDONYM = "urn:mirage:pseudonym"
FINGERPRINT = "urn:mirage:bundle-sha256"


def risk_assessment_of(result: Result) -> dict[str, Any]:
    """One RiskAssessment with the model as a contained Device.

    A decimal probability is in percent, as R4 wants it, and a range stands for its 95 % interval.
    A refusal has the reasons and no probability.
    """
    prediction = result.prediction
    return {
        "resourceType": "RiskAssessment",
        "id": str(prediction.pk),
        "contained": [_model(result)],
        "status": "preliminary",
        "method": {"text": "Learned from health records and brain MRIs; a calibrated probability"},
        "code": {"text": "Probability that this record is that of a person with Alzheimer's"},
        "subject": {
            "type": "Patient",
            "identifier": {"system": PSEUDONYM, "value": result.patient.pseudonym},
        },
        "occurrenceDateTime": prediction.created_at.isoformat(timespec="seconds"),
        "performer": {"reference": "#model"},
        "prediction": _predictions(prediction, result),
        "note": [{"text": text} for text in _notes(result)],
    }


def _model(result: Result) -> dict[str, Any]:
    bundle = result.bundle
    device: dict[str, Any] = {
        "resourceType": "Device",
        "id": "model",
        "identifier": [{"system": FINGERPRINT, "value": bundle.fingerprint}],
        "deviceName": [{"name": f"MIRAGE {bundle.name}", "type": "model-name"}],
        "version": [{"value": bundle.version}],
    }
    if result.card["limits"]:  # FHIR allows no empty text
        device["note"] = [{"text": result.card["limits"]}]
    return device


def _predictions(prediction: Prediction, result: Result) -> list[dict[str, Any]]:
    answer = ANSWERS[prediction.answer]
    if prediction.probability is None or prediction.low is None or prediction.high is None:
        reasons = " ".join([answer, *prediction.reasons])
        return [{"outcome": ALZHEIMERS, "rationale": reasons}]
    surrogate, *others = result.heads
    return [
        {
            "outcome": ALZHEIMERS,
            "probabilityDecimal": _percent(surrogate.probability),
            "rationale": f"{answer} {COVERAGE}",
        },
        {
            "outcome": ALZHEIMERS,
            "probabilityRange": {
                "low": _quantity(prediction.low),
                "high": _quantity(prediction.high),
            },
            "rationale": "The 95 % interval of the probability above.",
        },
        *(_other(head) for head in others),
    ]


def _other(head: Head) -> dict[str, Any]:
    return {
        "outcome": ALZHEIMERS,
        "probabilityDecimal": _percent(head.probability),
        "rationale": f"{head.name}. {SYNTHETIC}",
    }


def _percent(probability: float) -> float:
    return round(100 * probability, 2)


def _quantity(probability: float) -> dict[str, Any]:
    return {"value": _percent(probability), "unit": "%", "system": UCUM, "code": "%"}


def _notes(result: Result) -> list[str]:
    people, rate = result.card["reference"]["n"], result.card["base_rate"]
    notes = [
        WHAT_IT_IS,
        f"Reference population: {people:,} people, {100 * rate:.0f} % with AD. "
        f"{result.card['reference']['description']}",
        f"{result.given} of {result.inputs} inputs were known.",
    ]
    if result.prediction.input_sha256:
        notes.append(f"Input snapshot sha256 {result.prediction.input_sha256}.")
    if result.stale:
        notes.append(f"Stale: {result.stale}.")
    return notes
