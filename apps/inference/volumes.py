"""Regional volumes of a pseudo-MRI, beside what is usual in the training cohort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.inference.models import PseudoMRI
from apps.patients.models import Patient

BRAIN = "brain"
LABELS = {
    "left_ventricle_csf": "Lateral ventricle, left",
    "right_ventricle_csf": "Lateral ventricle, right",
    "left_temporal_horn_csf": "Beside the hippocampus, left (CSF)",
    "right_temporal_horn_csf": "Beside the hippocampus, right (CSF)",
    "frontal_csf": "Frontal sulci (CSF)",
    "parietal_csf": "Parietal sulci (CSF)",
    "temporal_csf": "Temporal sulci (CSF)",
    "occipital_csf": "Occipital sulci (CSF)",
    "tissue": "All tissue",
    "hippocampus": "Hippocampus, both",
    "amygdala": "Amygdala, both",
    "lateral ventricles": "Lateral ventricles",
    "cortex": "Cortex",
    "brain": "Brain",
}


@dataclass(frozen=True, slots=True)
class Volume:
    """One region of a pseudo-MRI.

    Attributes:
        name: of the region.
        volume_ml: what the picture shows.
        share: of the brain in the picture, 0 to 1; None for the brain itself.
    """

    name: str
    volume_ml: float
    share: float | None


def volumes_of(
    pseudo_mri: PseudoMRI, patient: Patient, card: Mapping[str, Any]
) -> Sequence[Volume]:
    """The regions that a decoding measured, in the order of the page."""
    del patient, card
    found: Mapping[str, float] = pseudo_mri.volumes_ml
    brain = found.get(BRAIN)
    return [
        Volume(
            name=label,
            volume_ml=found[name],
            share=found[name] / brain if brain and name != BRAIN else None,
        )
        for name, label in LABELS.items()
        if name in found
    ]


@dataclass(frozen=True, slots=True)
class Moved:
    """A region before and after a what-if; `before_ml` is None where nothing was decoded."""

    name: str
    before_ml: float | None
    after_ml: float


def moved_volumes(before: Mapping[str, float], after: Mapping[str, float]) -> list[Moved]:
    """Regions of a what-if beside those of the patient's own pseudo-MRI."""
    return [
        Moved(label, before.get(name), after[name])
        for name, label in LABELS.items()
        if name in after
    ]
