"""Questions about studies: which volumes could become cases, how a draw is balanced, how far
readers are."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Max, Q, QuerySet, Sum

from apps.accounts.models import User
from apps.inference.models import Prediction, PseudoMRI
from apps.jobs.models import JobState
from apps.patients.models import Cohort, Finding, Membership, Scan
from apps.review.drawing import Candidate
from apps.review.models import Case, Reader, ReaderStudy
from apps.review.protocol import Arm

CN, AD = 0.0, 2.0  # the concept "diagnosis"
CDR_OF_AD = 1.0  # from mild dementia on; 0.5 is neither
NO_RECONSTRUCTION = (
    "The model in use holds no encoder: a bundle keeps the decoder alone, so a real scan cannot be "
    "sent through the autoencoder."
)
PIXDIM_AT, PIXDIM_END = 80, 84


def candidates_of(cohorts: Sequence[Cohort]) -> list[Candidate]:
    """Everyone's newest preprocessed scan and the pseudo-MRI of their newest answer."""
    ids = [cohort.pk for cohort in cohorts]
    is_ad = _diagnoses(ids)
    return [*_scans(ids, is_ad), *_pseudo_mris(ids, is_ad)]


@dataclass(frozen=True, slots=True)
class Stock:
    """How many people of a cohort have a preprocessed scan, and how many a decoded pseudo-MRI."""

    scans: int
    pseudo_mris: int


def stock_of(cohorts: Sequence[UUID]) -> dict[UUID, Stock]:
    """What each cohort has to draw from, whatever its grid."""
    scans = Scan.objects.filter(patient__cohort__in=cohorts, state=JobState.SUCCEEDED)
    volumes = PseudoMRI.objects.filter(
        prediction__patient__cohort__in=cohorts,
        prediction__is_newest=True,
        state=JobState.SUCCEEDED,
    )
    with_scan = _people(scans, "patient__cohort", "patient")
    decoded = _people(volumes, "prediction__patient__cohort", "prediction__patient")
    return {pk: Stock(with_scan.get(pk, 0), decoded.get(pk, 0)) for pk in cohorts}


def _people(rows: QuerySet[Any], cohort: str, patient: str) -> dict[UUID, int]:
    counted = rows.order_by().values(cohort).annotate(n=Count(patient, distinct=True))
    return {row[cohort]: row["n"] for row in counted}


def _scans(cohorts: Sequence[UUID], is_ad: Mapping[UUID, bool]) -> Iterator[Candidate]:
    newest = (
        Scan.objects.filter(patient__cohort__in=cohorts, state=JobState.SUCCEEDED)
        .select_related("patient")
        .order_by("patient_id", "-number")
        .distinct("patient_id")
    )
    for scan in newest:
        if spacing_mm := _spacing_mm(scan.file):
            yield Candidate(
                arm=Arm.REAL,
                patient=scan.patient_id,
                source=scan.pk,
                sha256=scan.sha256,
                spacing_mm=spacing_mm,
                is_ad=is_ad.get(scan.patient_id),
                age_years=scan.age_years or scan.patient.age_years,
                is_female=_is_female(scan.patient.female),
            )


def _pseudo_mris(cohorts: Sequence[UUID], is_ad: Mapping[UUID, bool]) -> Iterator[Candidate]:
    newest = Prediction.objects.filter(patient__cohort__in=cohorts).newest().order_by()
    decoded = PseudoMRI.objects.filter(
        state=JobState.SUCCEEDED, prediction__in=newest.values("pk")
    ).select_related("prediction__patient")
    for volume in decoded.order_by("pk"):
        patient = volume.prediction.patient
        if spacing_mm := _spacing_mm(volume.file):
            yield Candidate(
                arm=Arm.PSEUDO_MRI,
                patient=patient.pk,
                source=volume.pk,
                sha256=volume.sha256,
                spacing_mm=spacing_mm,
                is_ad=is_ad.get(patient.pk),
                age_years=patient.age_years,
                is_female=_is_female(patient.female),
            )


def _spacing_mm(file: str) -> float | None:
    """Of a stored volume, from its header; None if there is no such file."""
    try:
        with (Path(settings.MEDIA_ROOT) / file).open("rb") as volume:
            start = volume.read(PIXDIM_END)
        return float(struct.unpack_from("<f", start, PIXDIM_AT)[0])
    except (OSError, struct.error):
        return None


def _diagnoses(cohorts: Sequence[UUID]) -> dict[UUID, bool]:
    """Who has AD and who is cognitively normal, by the diagnosis or else by the CDR.

    Others, such as people with mild cognitive impairment, are not in it.
    """
    found: dict[UUID, bool | None] = {}
    for patient, value in _newest(cohorts, "cdr"):
        found[patient] = True if value >= CDR_OF_AD else (False if value == 0 else None)
    for patient, value in _newest(cohorts, "diagnosis"):
        found[patient] = {AD: True, CN: False}.get(value)
    return {patient: is_ad for patient, is_ad in found.items() if is_ad is not None}


def _newest(cohorts: Sequence[UUID], concept: str) -> list[tuple[UUID, float]]:
    findings = Finding.objects.filter(patient__cohort__in=cohorts, concept=concept).newest()
    return list(findings.values_list("patient_id", "value"))


def _is_female(value: float | None) -> bool | None:
    return None if value is None else bool(value)


@dataclass(frozen=True, slots=True)
class Balance:
    """One row of the table of a draw: how many of each arm, in the order of the arms."""

    group: str
    name: str
    counts: Sequence[int]

    @property
    def spread(self) -> int:
        """By how many cases the arms differ."""
        return max(self.counts) - min(self.counts)


def balance_of(study: ReaderStudy) -> list[Balance]:
    """Diagnosis, sex and decades of age of the drawn cases, practice left out."""
    arms = [str(arm) for arm in study.plan.arms]
    cases = list(study.cases.filter(is_practice=False))
    rows: list[Balance] = []

    def add(group: str, names: Mapping[object, str], values: Mapping[int, object]) -> None:
        for value, name in names.items():
            counts = [
                sum(case.arm == arm and values[case.pk] == value for case in cases) for arm in arms
            ]
            if any(counts):
                rows.append(Balance(group, name, counts))

    add(
        "Diagnosis",
        {True: "Alzheimer disease", False: "Cognitively normal", None: "Not known, or neither"},
        {case.pk: case.is_ad for case in cases},
    )
    add(
        "Sex",
        {True: "Female", False: "Male", None: "Not known"},
        {case.pk: case.is_female for case in cases},
    )
    decades = {case.pk: _decade(case.age_years) for case in cases}
    add("Age, years", {d: _decade_words(d) for d in sorted(set(decades.values()))}, decades)
    return rows


def _decade(age_years: float | None) -> int:
    return 1000 if age_years is None else int(age_years // 10) * 10


def _decade_words(decade: int) -> str:
    return "Not known" if decade == 1000 else f"{decade} to {decade + 9}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one reader of an opened study is. Nothing by arm."""

    reader: Reader
    total: int
    done: int
    active_ms: int
    last_at: object
    became_member: bool

    @property
    def mean_s(self) -> float | None:
        """Active seconds for a submitted case."""
        return self.active_ms / 1000 / self.done if self.done else None


def progress_of(study: ReaderStudy) -> list[Progress]:
    """Submitted presentations of each reader; those of withdrawn cases nobody read do not count."""
    submitted = Q(slots__reading__submitted_at__isnull=False)
    gone = Q(slots__case__withdrawn_at__isnull=False) & ~submitted
    members = _members(study)
    readers = (
        study.readers.select_related("user")
        .annotate(
            total=Count("slots", filter=~gone),
            done=Count("slots", filter=submitted),
            active_ms=Sum("slots__reading__active_ms", filter=submitted, default=0),
            last_at=Max("slots__reading__saved_at"),
        )
        .order_by("number")
    )
    return [
        Progress(
            reader=reader,
            total=reader.total,
            done=reader.done,
            active_ms=reader.active_ms,
            last_at=reader.last_at,
            became_member=reader.user_id in members and not reader.knows_cases,
        )
        for reader in readers
    ]


def cohorts_of(study: ReaderStudy) -> list[Cohort]:
    """The cohorts that the cases of a study come from."""
    patients = Case.objects.filter(study=study, patient__isnull=False).values("patient__cohort")
    return list(Cohort.objects.filter(pk__in=patients).order_by("name"))


def known_cohorts(study: ReaderStudy, user: User) -> list[Cohort]:
    """Cohorts of the cases that a user belongs to, and whose patients they may therefore know."""
    return [c for c in cohorts_of(study) if c.memberships.filter(user=user).exists()]


def _members(study: ReaderStudy) -> set[int]:
    found = Membership.objects.filter(cohort__in=cohorts_of(study))
    return set(found.values_list("user_id", flat=True))
