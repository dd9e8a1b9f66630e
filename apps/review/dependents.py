"""What studies keep of patients: the study copies, which go with the patient (ADR 20)."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from apps.patients.dependents import Amount, Leftover
from apps.patients.leftovers import is_old
from apps.patients.models import Cohort, Patient
from apps.review.models import Case, StudyState
from apps.review.runner import FOLDER

NOBODY: Mapping[str, Any] = {
    "file": "",
    "patient": None,
    "scan": None,
    "pseudo_mri": None,
    "age_years": None,
    "is_female": None,
    "is_ad": None,
}


class StudyCopies:
    """Cases of reader studies that show the patients of a cohort, or one of them."""

    def busy(self, cohort: Cohort, patient: Patient | None) -> str:
        if _cases(cohort, patient).filter(study__state=StudyState.FREEZING).exists():
            return (
                "A reader study with cases of it is being frozen. Wait until it is open, or take "
                "it back to draft."
            )
        return ""

    def amounts(self, cohort: Cohort, patient: Patient | None) -> Sequence[Amount]:
        n = _cases(cohort, patient).exclude(file="").count()
        return [
            Amount(
                n,
                "study copy in a reader study, whose case is withdrawn",
                "study copies in reader studies, whose cases are withdrawn",
            )
        ]

    def delete(self, cohort: Cohort, patient: Patient | None) -> Sequence[Path]:
        """In a draft the case goes; in an opened study it is withdrawn, and answers stay."""
        cases = _cases(cohort, patient)
        files = [Path(settings.MEDIA_ROOT) / name for name in _files(cases)]
        cases.filter(study__state=StudyState.DRAFT).delete()
        cases.update(withdrawn_at=timezone.now(), **NOBODY)
        return files


def leftover_copies() -> Iterator[Leftover]:
    """Study copies without a case, and cases whose copy is gone or another one than was made."""
    folder = Path(settings.MEDIA_ROOT) / FOLDER
    cases = Case.objects.exclude(file="").order_by("pk")
    named = set(_files(cases))
    for path in sorted(folder.glob("*")):
        name = path.relative_to(settings.MEDIA_ROOT).as_posix()
        if name not in named and is_old(path):
            yield Leftover(
                f"{name}: a study copy without a case", partial(path.unlink, missing_ok=True)
            )
    for pk, number, study, file, sha256 in cases.values_list(
        "pk", "number", "study", "file", "sha256"
    ):
        if problem := _problem_of(Path(settings.MEDIA_ROOT) / file, sha256):
            yield Leftover(
                f"case {number} of study {study}: {problem}; it is withdrawn",
                partial(_withdraw, pk),
            )


def _cases(cohort: Cohort, patient: Patient | None) -> QuerySet[Case]:
    if patient is not None:
        return Case.objects.filter(patient=patient)
    return Case.objects.filter(patient__cohort=cohort)


def _files(cases: QuerySet[Case]) -> list[str]:
    return list(cases.exclude(file="").values_list("file", flat=True))


def _problem_of(path: Path, sha256: str) -> str:
    if not path.is_file():
        return "its study copy is gone"
    with path.open("rb") as file:
        changed = hashlib.file_digest(file, "sha256").hexdigest() != sha256
    return "its study copy was changed" if changed else ""


def _withdraw(pk: int) -> None:
    """Nobody reads a case whose voxels are not those of the freeze."""
    case = Case.objects.filter(pk=pk)
    case.filter(study__state=StudyState.FREEZING).update(file="", sha256="")  # made again
    case.exclude(study__state=StudyState.FREEZING).update(withdrawn_at=timezone.now(), **NOBODY)
