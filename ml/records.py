"""What goes into a predictor and what comes out. Standard library only: no torch here."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """What the model says about one patient. Not knowing is an answer."""

    AD = "ad"
    CN = "cn"
    UNCERTAIN = "uncertain"
    OUTSIDE = "outside"
    TOO_FEW = "too_few"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRecord:
    """One patient's findings: the newest value of each concept that was observed.

    Attributes:
        patient: the caller's key for this patient; comes back unread in the `Prediction`.
        values: concept identifier (`ml.concepts`) to value, in the concept's unit. Binary findings
            are 0 or 1, ordinal and categorical ones the number of their level. What was not
            observed is not in the mapping.
    """

    patient: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The calibrated probability of Alzheimer's disease with its uncertainty, or why there is none.

    Attributes:
        patient: key of the record.
        answer: AD or CN where the conformal set holds one class, otherwise why it does not.
        probability: calibrated P(AD) in 0 to 1; None if the answer is OUTSIDE or TOO_FEW.
        low, high: bounds of the 95 % interval of `probability`; None with it.
        missing: identifiers of the schema's concepts that the record lacks, in schema order.
        reasons: plain sentences that explain an answer of OUTSIDE or TOO_FEW.
        bundle_version: version of the bundle that answered.
    """

    patient: str
    answer: Answer
    probability: float | None
    low: float | None
    high: float | None
    missing: tuple[str, ...]
    reasons: tuple[str, ...]
    bundle_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoMRIReading:
    """What is read off one pseudo-MRI, the paper's second way to a probability.

    Attributes:
        cnn_probability: calibrated P(AD) that a 3D CNN trained on real MRIs reads off the
            pseudo-MRI; None if the bundle has no CNN, or if the record gets no probability at all
            (`Prediction.answer` is OUTSIDE or TOO_FEW).
        fused_probability: calibrated P(AD) of surrogate and CNN together; None with it.
        volumes_ml: name of each region to its volume in the pseudo-MRI, in ml.
    """

    cnn_probability: float | None
    fused_probability: float | None
    volumes_ml: Mapping[str, float]
