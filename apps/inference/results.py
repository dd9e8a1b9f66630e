"""Everything that is said about one patient's newest prediction, gathered once.

The page, the report and the FHIR resource are three ways to write the same `Result`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from apps.inference.explaining import Explained, explained
from apps.inference.filters import staleness
from apps.inference.models import Explanation, Prediction, PseudoMRI
from apps.inference.volumes import Volume, norms_of, volumes_of
from apps.jobs.models import JobState
from apps.patients.models import Patient
from apps.registry.models import Bundle
from ml.concepts import Concept, dictionary


@dataclass(frozen=True, slots=True)
class Group:
    """Concepts under one heading of the dictionary."""

    name: str
    entries: Sequence[Concept]


@dataclass(frozen=True, slots=True)
class Head:
    """One way to a probability.

    Attributes:
        name: what it is read from.
        probability: calibrated P(AD).
        low, high: of its 95 % interval; None where the bundle gives none.
    """

    name: str
    probability: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A prediction with all that belongs to it.

    Attributes:
        stale: why it is no longer the answer, as words after "Stale: "; empty if it is.
        inputs: how many the bundle reads.
        heads: ways to a probability; one alone unless a picture was decoded and read.
        agreement: what the ways agree on, as a sentence; empty where there is one way.
        volumes: of the pseudo-MRI; empty unless one was decoded.
        norms_people: whom the volumes are compared with, in words; empty if with nobody.
    """

    patient: Patient
    prediction: Prediction
    bundle: Bundle
    card: Mapping[str, Any]
    stale: str
    inputs: int
    missing: Sequence[Group]
    explanation: Explanation | None
    explained: Explained | None
    pseudo_mri: PseudoMRI | None
    heads: Sequence[Head]
    agreement: str
    volumes: Sequence[Volume]
    norms_people: str

    @property
    def has_further_volumes(self) -> bool:
        return any(volume.is_further for volume in self.volumes)

    @property
    def given(self) -> int:
        return self.inputs - len(self.prediction.missing)


def newest_prediction(patient: Patient) -> Prediction | None:
    """The prediction that the pages of a patient speak of."""
    return (
        Prediction.objects.filter(patient=patient)
        .select_related("run__bundle", "run__requested_by", "pseudo_mri", "explanation")
        .order_by("-created_at", "-pk")
        .first()
    )


def result_of(patient: Patient, prediction: Prediction, champion: Bundle | None) -> Result:
    """Gather what is known; reads nothing from the database that was not loaded already."""
    bundle = prediction.run.bundle
    explanation: Explanation | None = getattr(prediction, "explanation", None)
    pseudo_mri: PseudoMRI | None = getattr(prediction, "pseudo_mri", None)
    is_decoded = pseudo_mri is not None and pseudo_mri.state == JobState.SUCCEEDED
    norms = norms_of(bundle.card)
    volumes = volumes_of(pseudo_mri, patient, bundle.card) if is_decoded and pseudo_mri else []
    heads = _heads(prediction, pseudo_mri if is_decoded else None)
    return Result(
        patient=patient,
        prediction=prediction,
        bundle=bundle,
        card=bundle.card,
        stale=staleness(prediction, patient, champion),
        inputs=len(bundle.card["schema"]),
        missing=grouped_concepts(prediction.missing),
        explanation=explanation,
        explained=_explained(prediction, explanation),
        pseudo_mri=pseudo_mri,
        heads=heads,
        agreement=_agreement(heads, bundle.card["base_rate"]),
        volumes=volumes,
        norms_people=norms.people if norms and any(volume.usual for volume in volumes) else "",
    )


def _explained(prediction: Prediction, explanation: Explanation | None) -> Explained | None:
    if prediction.probability is None or explanation is None or explanation.content is None:
        return None
    return explained(explanation.content)


def grouped_concepts(concepts: Iterable[str]) -> list[Group]:
    """Under the dictionary's headings, in its order; what it does not know is left out."""
    order = {concept: place for place, concept in enumerate(dictionary())}
    known = [dictionary()[name] for name in concepts if name in dictionary()]
    ordered = sorted(known, key=lambda concept: (concept.group, order[concept.id]))
    groups = [Group(n, list(e)) for n, e in groupby(ordered, key=lambda concept: concept.group)]
    return sorted(groups, key=lambda group: order[group.entries[0].id])


def _heads(prediction: Prediction, pseudo_mri: PseudoMRI | None) -> list[Head]:
    if prediction.probability is None:
        return []
    heads = [
        Head("From the surrogate", prediction.probability, prediction.low, prediction.high),
    ]
    if pseudo_mri is not None and pseudo_mri.cnn_probability is not None:
        heads.append(Head("From the pseudo-MRI", pseudo_mri.cnn_probability))
    if pseudo_mri is not None and pseudo_mri.fused_probability is not None:
        heads.append(Head("Both together", pseudo_mri.fused_probability))
    return heads


def _agreement(heads: Sequence[Head], base_rate: float) -> str:
    """Whether the two ways lie on the same side of what is known without any input."""
    if len(heads) < 2:
        return ""
    surrogate, picture = heads[0], heads[1]
    sides = [head.probability >= base_rate for head in (surrogate, picture)]
    inside = (
        surrogate.low is not None
        and surrogate.high is not None
        and surrogate.low <= picture.probability <= surrogate.high
    )
    if sides[0] != sides[1]:
        return (
            "The two ways disagree: one lies above the base rate, the other below it. Read the "
            "number with care."
        )
    side = "above" if sides[0] else "below"
    interval = "inside" if inside else "outside"
    return (
        f"Both ways lie {side} the base rate, and the picture’s number lies {interval} the "
        "surrogate’s interval."
    )
