"""A small installation for tests of pages: one cohort, its people, a model, an answer."""

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy
from django.utils import timezone

from apps.accounts.models import User
from apps.inference.models import Explanation, InferenceRun, Prediction, PseudoMRI, WhatIf
from apps.jobs.models import JobState
from apps.patients.models import Cohort, EhrImport, Membership, Patient
from apps.registry.models import Bundle
from ml.concepts import schema
from tests.factories import (
    BundleFactory,
    CohortFactory,
    DeploymentFactory,
    EhrImportFactory,
    ExplanationFactory,
    FindingFactory,
    InferenceRunFactory,
    PatientFactory,
    PredictionFactory,
    PseudoMRIFactory,
    UserFactory,
    WhatIfFactory,
)

CARD = {
    "name": "demo",
    "version": "0.1",
    "created_at": "2026-01-01T00:00:00+00:00",
    "command": "python -m ml train",
    "seed": 7,
    "profile": "tiny",
    "spacing_mm": 8.0,
    "schema": list(schema()),
    "reference": {
        "n": 1175,
        "n_ad": 400,
        "age_low_years": 55.0,
        "age_high_years": 90.0,
        "description": "1,175 made-up people",
    },
    "base_rate": 0.34,
    "min_inputs": 30,
    "metrics": {"auc": {"value": 0.8, "low": 0.75, "high": 0.84, "n": 353}},
    "training": {},
    "limits": "For tests.",
    "files": {},
}
STEPS = ["Gait disturbance", "Abnormality of the nervous system", "Alzheimer disease"]
EXPLAINED = {  # as engine.explain stores it
    "probability": 0.71,
    "effects": [
        {"concept": "apoe4", "value": 1.0, "change": 0.11, "log_odds": 0.5},
        {"concept": "exam_gait", "value": 1.0, "change": 0.08, "log_odds": 0.4},
        {"concept": "age", "value": 78.0, "change": 0.05, "log_odds": 0.2},
        {"concept": "nausea", "value": 0.0, "change": -0.02, "log_odds": -0.1},
        {"concept": "cough", "value": 0.0, "change": -0.0001, "log_odds": -0.0005},
    ],
    "deletions": [
        {
            "toward_ad": True, "removed": ["apoe4"], "change": -0.11, "random_change": -0.03,
            "random_low": -0.08, "random_high": 0.0, "outdone": 1.0, "passed": True,
        },
    ],
    "missing": [
        {"concept": "weight_kg", "low": 0.63, "high": 0.78, "at_low": 90.0, "at_high": 50.0},
        {"concept": "height_cm", "low": 0.7, "high": 0.72, "at_low": 150.0, "at_high": 180.0},
    ],
    "distance": 3.0,
    "limit": 6.0,
    "passed": True,
    "paths": {
        "apoe4": {
            "concept": "apoe4",
            "steps": [
                {"id": "APOE", "name": "APOE gene", "kind": "gene", "read": False},
                {"id": "HP:3", "name": STEPS[2], "kind": "disease", "read": False},
            ],
            "shared": 0,
        },
        "exam_gait": {
            "concept": "exam_gait",
            "steps": [
                {"id": "HP:1", "name": STEPS[0], "kind": "phenotype", "read": True},
                {"id": "HP:2", "name": STEPS[1], "kind": "phenotype", "read": True},
                {"id": "HP:3", "name": STEPS[2], "kind": "disease", "read": False},
            ],
            "shared": 1,
        },
    },
    "own_graph": True,
    "spans_are_percentiles": True,
}  # fmt: skip
ROLES = ("anonymous", "stranger", "viewer", "clinician", "owner")


@dataclass
class World:
    """One of everything, and a user for each role."""

    users: dict[str, User]
    cohort: Cohort
    patient: Patient
    bundle: Bundle
    run: InferenceRun
    prediction: Prediction
    pseudo_mri: PseudoMRI
    explanation: Explanation
    what_if: WhatIf
    ehr_import: EhrImport
    membership: Membership


def make_world(media: Path) -> World:
    cohort = CohortFactory(name="Memory clinic")
    users = {"owner": cohort.created_by, "stranger": CohortFactory(name="Elsewhere").created_by}
    for role in (Membership.Role.CLINICIAN, Membership.Role.VIEWER):
        users[role.value] = UserFactory()
        Membership.objects.create(cohort=cohort, user=users[role.value], role=role)
    patient = PatientFactory(cohort=cohort, number=1)
    FindingFactory(patient=patient, concept="age", value=78.0)
    FindingFactory(patient=patient, concept="female", value=1.0, unit="")
    bundle = BundleFactory(card=CARD)
    DeploymentFactory(bundle=bundle)
    run = succeeded_run(cohort, bundle, number=1)
    prediction = PredictionFactory(
        run=run, patient=patient, answer="ad", probability=0.71, low=0.55, high=0.83,
        missing=["weight_kg", "height_cm"], created_at=timezone.now(),
    )  # fmt: skip
    return World(
        users=users,
        cohort=cohort,
        patient=patient,
        bundle=bundle,
        run=run,
        prediction=prediction,
        pseudo_mri=decoded(prediction, media),
        explanation=explained(prediction),
        what_if=WhatIfFactory(prediction=prediction, requested_at=timezone.now()),
        ehr_import=EhrImportFactory(cohort=cohort),
        membership=Membership.objects.create(
            cohort=cohort, user=UserFactory(), role=Membership.Role.VIEWER
        ),
    )


def succeeded_run(cohort: Cohort, bundle: Bundle, number: int) -> InferenceRun:
    return InferenceRunFactory(
        cohort=cohort, bundle=bundle, number=number, total=1, done=1,
        state=JobState.SUCCEEDED, attempt=1, tries=1, finished_at=timezone.now(),
    )  # fmt: skip


def decoded(prediction: Prediction, media: Path) -> PseudoMRI:
    """A pseudo-MRI whose file is a real volume: bright on the person's right side."""
    name = "pseudo_mri/one.nii"
    (media / name).parent.mkdir(parents=True, exist_ok=True)
    write_volume(media / name)
    return PseudoMRIFactory(
        prediction=prediction, state=JobState.SUCCEEDED, attempt=1, tries=1,
        finished_at=timezone.now(), file=name, sha256="a" * 64, bytes=(media / name).stat().st_size,
    )  # fmt: skip


def explained(prediction: Prediction) -> Explanation:
    return ExplanationFactory(
        prediction=prediction, state=JobState.SUCCEEDED, attempt=1, tries=1,
        finished_at=timezone.now(), content=EXPLAINED,
    )  # fmt: skip


def write_volume(path: Path) -> None:
    affine = numpy.diag([-8.0, 8.0, 8.0, 1.0])
    affine[:3, 3] = [90, -126, -72]
    voxels = numpy.zeros((23, 28, 23), dtype=numpy.float32)
    voxels[4:19, 5:23, 4:19] = 0.5
    voxels[4:10, 5:23, 4:19] = 1.0  # small x is +90 mm, the right
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_data_dtype(numpy.int16)
    image.set_sform(affine, code=4)
    nibabel.save(image, path)
