"""What else is kept of patients, so that deleting and archiving know of it.

Apps above this one keep predictions, volumes and the like. They register here when Django starts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from apps.jobs.models import ACTIVE_STATES
from apps.patients.importing.folder import ImportFolder
from apps.patients.models import Cohort, EhrImport, Finding, ImportStep, MappingTemplate, Patient


@dataclass(frozen=True, slots=True)
class Amount:
    """How many of one kind of thing would go: `Amount(2, "volume", "volumes")`."""

    n: int
    one: str
    many: str

    def __str__(self) -> str:
        return f"{self.n:,} {self.one if self.n == 1 else self.many}"


class Dependent(Protocol):
    """What one app keeps of the patients of a cohort, or of one of them."""

    def busy(self, cohort: Cohort, patient: Patient | None) -> str:
        """Which work is under way, and what to do about it; empty if there is none."""
        ...

    def amounts(self, cohort: Cohort, patient: Patient | None) -> Sequence[Amount]:
        """What would go."""
        ...

    def delete(self, cohort: Cohort, patient: Patient | None) -> Sequence[Path]:
        """Delete the rows, in the caller's transaction; returns the files to delete after it."""
        ...


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file without its row, or a row without its file.

    Attributes:
        what: in words, without a word about a patient.
        remove: takes it away.
    """

    what: str
    remove: Callable[[], None]


Search = Callable[[], Iterator[Leftover]]
_dependents: list[Dependent] = []
_searches: list[Search] = []


def register(dependent: Dependent) -> None:
    """Have something asked before patients go, and told when they do."""
    _dependents.append(dependent)


def register_search(search: Search) -> None:
    """Have something look for its leftovers when `manage.py fsck` runs."""
    _searches.append(search)


def busy(*, cohort: Cohort, patient: Patient | None) -> str:
    """Which work on a cohort or a patient is under way; empty if none is."""
    for dependent in _dependents:
        if reason := dependent.busy(cohort, patient):
            return reason
    return ""


def amounts(*, cohort: Cohort, patient: Patient | None) -> list[Amount]:
    """What goes with a cohort or a patient, in the order of registration."""
    return [a for dependent in _dependents for a in dependent.amounts(cohort, patient)]


def delete(*, cohort: Cohort, patient: Patient | None) -> list[Path]:
    """Delete what depends on patients, the last registered first; returns the files to delete."""
    return [p for dependent in reversed(_dependents) for p in dependent.delete(cohort, patient)]


def leftovers() -> Iterator[Leftover]:
    """Files without rows and rows without files."""
    for search in _searches:
        yield from search()


class FindingsAndImports:
    """What this app keeps."""

    def busy(self, cohort: Cohort, patient: Patient | None) -> str:
        steps = ImportStep.objects.filter(
            ehr_import__cohort=cohort, state__in=[str(state) for state in ACTIVE_STATES]
        )
        if steps.exists():
            return "An import into it is under way. Wait until it ends, or cancel it."
        return ""

    def amounts(self, cohort: Cohort, patient: Patient | None) -> Sequence[Amount]:
        if patient is not None:
            n = Finding.objects.filter(patient=patient).count()
            return [Amount(n, "finding", "findings")]
        return [
            Amount(cohort.patients.count(), "patient", "patients"),
            Amount(Finding.objects.filter(patient__cohort=cohort).count(), "finding", "findings"),
            Amount(
                EhrImport.objects.filter(cohort=cohort).count(),
                "import with its file, if that is still kept",
                "imports with their files, as far as those are still kept",
            ),
            Amount(
                MappingTemplate.objects.filter(cohort=cohort).count(),
                "saved mapping",
                "saved mappings",
            ),
        ]

    def delete(self, cohort: Cohort, patient: Patient | None) -> Sequence[Path]:
        """Patients' rows go in the end, by the caller; a trigger takes their findings along."""
        if patient is not None:
            return []
        imports = EhrImport.objects.filter(cohort=cohort).values_list("pk", flat=True)
        return [ImportFolder(pk).path for pk in imports]
