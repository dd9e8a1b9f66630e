"""Reader studies for tests, made by the real services from real files."""

import hashlib

import nibabel
import numpy
from django.conf import settings
from django.utils import timezone

from apps.accounts.models import User
from apps.inference.models import Prediction
from apps.jobs.models import JobState
from apps.patients.models import Membership, Patient
from apps.review import runner
from apps.review.models import StudyState
from apps.review.protocol import Protocol
from apps.review.services import setup
from ml.data.mri import brain_mask, grid
from tests.factories import (
    CohortFactory,
    FindingFactory,
    InferenceRunFactory,
    PatientFactory,
    PredictionFactory,
    PseudoMRIFactory,
    ScanFactory,
    UserFactory,
)

EDGES = {8.0: (23, 28, 23), 4.0: (46, 55, 46), 2.0: (91, 109, 91)}
AD, CN = 2.0, 0.0


def make_manager(**fields):
    return UserFactory(role=User.Role.STUDY_MANAGER, **fields)


def make_radiologist(**fields):
    return UserFactory(role=User.Role.RADIOLOGIST, **fields)


def make_volume(path, seed, *, spacing_mm=8.0, noise=0.02, scale=1.0, note=b""):
    """A brain-like ellipsoid of its own, on an MNI152 grid."""
    rng = numpy.random.default_rng(seed)
    shape = EDGES[spacing_mm]
    place = numpy.stack(numpy.meshgrid(*(numpy.linspace(-1, 1, n) for n in shape), indexing="ij"))
    radii = rng.uniform(0.72, 0.8, 3)[:, None, None, None]
    inside = 1 - ((place / radii) ** 2).sum(0)
    voxels = numpy.where(inside > 0, 0.4 + 0.5 * numpy.sqrt(numpy.maximum(inside, 0)), 0)
    voxels = scale * (voxels + (inside > 0) * rng.normal(0, noise, shape)).clip(0)
    affine = numpy.diag([-spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = (90.0, -126.0, -72.0)
    image = nibabel.Nifti1Image(voxels.astype(numpy.float32), affine)
    image.header.set_data_dtype(numpy.int16)
    image.set_sform(affine, code=4)
    image.set_qform(affine, code=4)
    image.header["descrip"] = note
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    content = path.read_bytes()
    return {
        "file": path.relative_to(settings.MEDIA_ROOT).as_posix(),
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }


ENDED = {"state": JobState.SUCCEEDED, "attempt": 1, "tries": 1}


def make_person(cohort, *, has_ad=None, age_years=70.0, is_female=True):
    number = cohort.patients.count() + 1
    patient = PatientFactory(cohort=cohort, number=number)
    FindingFactory(patient=patient, concept="age", value=age_years)
    FindingFactory(patient=patient, concept="female", value=float(is_female), unit="")
    if has_ad is not None:
        FindingFactory(patient=patient, concept="diagnosis", value=AD if has_ad else CN, unit="")
    return Patient.objects.get(pk=patient.pk)  # with what triggers keep


def give_scan(patient, *, spacing_mm=8.0):
    """A preprocessed scan: noisy, as scanners are."""
    path = settings.MEDIA_ROOT / "scans" / f"{patient.pk}.nii"
    made = make_volume(path, patient.number, spacing_mm=spacing_mm, noise=0.05, scale=0.9)
    return ScanFactory(
        patient=patient, number=1, head_kept=False, finished_at=timezone.now(), **ENDED, **made
    )


def give_pseudo_mri(patient, run, *, spacing_mm=8.0):
    """A decoded pseudo-MRI: smooth, and marked in its header."""
    path = settings.MEDIA_ROOT / "pseudo_mri" / f"{patient.pk}.nii"
    made = make_volume(
        path, patient.number, spacing_mm=spacing_mm, noise=0.0, note=b"SYNTHETIC: pseudo-MRI"
    )
    prediction = PredictionFactory(
        run=run, patient=patient, answer="ad", probability=0.7, created_at=timezone.now()
    )
    return PseudoMRIFactory(
        prediction=Prediction.objects.get(pk=prediction.pk),
        finished_at=timezone.now(),
        **ENDED,
        **made,
    )


def make_cohort(manager, *, real=0, pseudo=0, spacing_mm=8.0, name="Memory clinic"):
    """A cohort that the manager belongs to; people with a scan, then people with a pseudo-MRI.

    Every second person has AD, and ages and sexes are mixed.
    """
    cohort = CohortFactory(name=name)
    Membership.objects.create(cohort=cohort, user=manager, role=Membership.Role.VIEWER)
    run = InferenceRunFactory(cohort=cohort, finished_at=timezone.now(), **ENDED)
    for count, give in ((real, give_scan), (pseudo, None)):
        for place in range(count):
            patient = make_person(
                cohort,
                has_ad=place % 2 == 0,
                age_years=62.0 + 7 * (place // 2 % 4),
                is_female=place // 2 % 2 == 0,
            )
            if give:
                give(patient, spacing_mm=spacing_mm)
            else:
                give_pseudo_mri(patient, run, spacing_mm=spacing_mm)
    return cohort


def make_draft(*, readers=2, cases_per_arm=4, practice_cases=2, cohort=None, users=None, **parts):
    """A draft with its cases drawn and its readers invited: only the freeze is missing.

    Args:
        readers: how many radiologists are invited.
        cases_per_arm, practice_cases: of the protocol.
        cohort: drawn from; made with just enough people if None.
        users: invited instead of new radiologists.
        parts: further parts of the protocol.
    """
    parts = {"spacing_mm": 8.0, "minimum_viewing_s": 0, **parts}
    protocol = Protocol(cases_per_arm=cases_per_arm, practice_cases=practice_cases, **parts)
    manager, now = make_manager(), timezone.now()
    if cohort is None:
        spare = (practice_cases + 1) // 2
        cohort = make_cohort(manager, real=cases_per_arm + spare, pseudo=cases_per_arm + spare)
    elif not cohort.memberships.filter(user=manager).exists():
        Membership.objects.create(cohort=cohort, user=manager, role=Membership.Role.VIEWER)
    study = setup.create_study(title="Expert study", manager=manager, protocol=protocol, now=now)
    setup.draw_cases(study=study, cohorts=[cohort], drawn_by=manager, now=now)
    for user in users or [make_radiologist() for _ in range(readers)]:
        setup.invite_reader(study=study, user=user, invited_by=manager, now=now)
    return study


def freeze(study):
    """Freeze a draft as a worker does, and give it back as it is then."""
    brain_mask(grid(study.plan.spacing_mm))  # slow once: longer than a lease that nobody extends
    job = setup.request_freeze(study=study, requested_by=study.manager, now=timezone.now())
    runner.freeze(freeze_id=job.pk)
    study.refresh_from_db()
    job.refresh_from_db()
    assert study.state == StudyState.OPEN, job.reason
    return study


def make_open_study(*, readers=2, cases_per_arm=4, practice_cases=2, **more):
    """An open study: protocol, draw, invitations and freeze by the real services.

    Takes what `make_draft` takes. Its readers are `study.readers`, its manager `study.manager`.
    """
    return freeze(
        make_draft(
            readers=readers, cases_per_arm=cases_per_arm, practice_cases=practice_cases, **more
        )
    )
