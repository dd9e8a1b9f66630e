"""Regional volumes of a pseudo-MRI, beside what is usual for age and sex in the training cohort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.inference.models import PseudoMRI
from apps.patients.models import Patient
from ml.norms import Norms, NormsError

STRUCTURES = {
    "hippocampus": "Hippocampus, both",
    "amygdala": "Amygdala, both",
    "lateral ventricles": "Lateral ventricles",
    "cortex": "Cortex",
    "brain": "Brain",
}
FURTHER = {  # where CSF is, as the model's teacher reads it
    "left_ventricle_csf": "Lateral ventricle, left",
    "right_ventricle_csf": "Lateral ventricle, right",
    "left_temporal_horn_csf": "Beside the hippocampus, left (CSF)",
    "right_temporal_horn_csf": "Beside the hippocampus, right (CSF)",
    "frontal_csf": "Frontal sulci (CSF)",
    "parietal_csf": "Parietal sulci (CSF)",
    "temporal_csf": "Temporal sulci (CSF)",
    "occipital_csf": "Occipital sulci (CSF)",
    "tissue": "All tissue",
}


LABELS = STRUCTURES | FURTHER


@dataclass(frozen=True, slots=True)
class Usual:
    """What people of the same age and sex have.

    Attributes:
        low_ml, middle_ml, high_ml: 5th percentile, median and 95th percentile.
        percentile: of this volume among them, 0 to 100.
    """

    low_ml: float
    middle_ml: float
    high_ml: float
    percentile: float


@dataclass(frozen=True, slots=True)
class Volume:
    """One region of a pseudo-MRI.

    Attributes:
        name: of the region.
        is_further: whether a page shows it only on demand.
        volume_ml: what the picture shows, on the head of the template.
        error_ml: mean absolute error of such a reading; None where it is not known.
        usual: None where the card has no norms for this region, age or sex.
    """

    name: str
    is_further: bool
    volume_ml: float
    error_ml: float | None
    usual: Usual | None


def volumes_of(
    pseudo_mri: PseudoMRI, patient: Patient, card: Mapping[str, Any]
) -> Sequence[Volume]:
    """The regions that a decoding measured, in the order of the page."""
    found: Mapping[str, float] = pseudo_mri.volumes_ml
    norms = norms_of(card)
    return [
        Volume(
            name=label,
            is_further=name in FURTHER and not STRUCTURES.keys().isdisjoint(found),
            volume_ml=found[name],
            error_ml=pseudo_mri.volume_errors_ml.get(name),
            usual=_usual(norms, name, found[name], patient) if norms else None,
        )
        for name, label in LABELS.items()
        if name in found
    ]


def norms_of(card: Mapping[str, Any]) -> Norms | None:
    """The norms of a card; None if it has none that can be read."""
    entries = card.get("norms")
    if not entries:
        return None
    try:
        return Norms.from_entries(entries)
    except NormsError:
        return None


def _usual(norms: Norms, name: str, volume_ml: float, patient: Patient) -> Usual | None:
    age = patient.age_years
    sex = None if patient.female is None else ("F" if patient.female else "M")
    percentile = norms.percentile(name, volume_ml, age_years=age, sex=sex)
    low, middle, high = (
        norms.expected_ml(name, age_years=age, sex=sex, percentile=at) for at in (5.0, 50.0, 95.0)
    )
    if percentile is None or low is None or middle is None or high is None:
        return None
    return Usual(low, middle, high, percentile)


@dataclass(frozen=True, slots=True)
class Moved:
    """A region before and after a what-if; `before_ml` is None where nothing was decoded."""

    name: str
    before_ml: float | None
    after_ml: float


def moved_volumes(before: Mapping[str, float], after: Mapping[str, float]) -> list[Moved]:
    """Regions of a what-if beside those of the patient's own pseudo-MRI."""
    labels = LABELS if STRUCTURES.keys().isdisjoint(after) else STRUCTURES
    return [
        Moved(label, before.get(name), after[name])
        for name, label in labels.items()
        if name in after
    ]
