"""What was found in a patient over time, and which import each finding came with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from itertools import groupby
from operator import attrgetter

from django.utils import timezone

from apps.patients.models import CodeConcept, EhrImport, Finding, Patient
from apps.patients.profiling import CODE_SYSTEMS, OTHER_CODES
from ml.concepts import Concept, Kind, dictionary

MOST_FINDINGS = 5_000
DAYS_SHOWN = 6


@dataclass(frozen=True)
class History:
    """The findings of one concept, oldest first."""

    concept: Concept
    findings: Sequence[Finding]

    @property
    def newest(self) -> Finding:
        return self.findings[-1]

    @property
    def mark(self) -> str:
        """What is to be said about the newest value; empty if nothing is."""
        return mark_of(self.concept, self.newest.value)

    @property
    def is_repeated(self) -> bool:
        return len({finding.observed_at for finding in self.findings}) > 1

    @cached_property
    def by_day(self) -> dict[date, Finding]:
        """The last finding of each day."""
        return {day_of(finding.observed_at): finding for finding in self.findings}


@dataclass(frozen=True, slots=True)
class HistoryGroup:
    """Concepts under one heading."""

    name: str
    histories: Sequence[History]


@dataclass(frozen=True, slots=True)
class Visits:
    """Repeated findings as a table: a column for each of the newest days.

    Attributes:
        days: oldest first.
        earlier: how many days before them are left out.
        rows: a history and its finding of each day, None where there is none.
    """

    days: Sequence[date]
    earlier: int
    rows: Sequence[tuple[History, Sequence[Finding | None]]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where findings came from: an import, or none that is still known."""

    recorded_at: datetime
    ehr_import: EhrImport | None
    findings: int


def day_of(moment: datetime) -> date:
    return timezone.localtime(moment).date()


def mark_of(concept: Concept, value: float) -> str:
    """Whether a value lies where a clinician would be alarmed."""
    if concept.critical_low is not None and value < concept.critical_low:
        return "critically low"
    if concept.critical_high is not None and value > concept.critical_high:
        return "critically high"
    return ""


def histories_of(patient: Patient) -> dict[str, History]:
    """Every concept that was found in a patient, in the dictionary's order, codes last."""
    newest_first = Finding.objects.filter(patient=patient).order_by("-observed_at", "concept")
    findings = sorted(newest_first[:MOST_FINDINGS], key=attrgetter("concept", "observed_at"))
    found = {
        concept: list(of_concept)
        for concept, of_concept in groupby(findings, key=attrgetter("concept"))
    }
    codes = _codes(concept for concept in found if concept not in dictionary())
    known = {**dictionary(), **codes}
    return {
        concept: History(known[concept], found[concept]) for concept in known if concept in found
    }


def grouped(histories: Iterable[History]) -> list[HistoryGroup]:
    """Under the dictionary's headings."""
    groups: dict[str, list[History]] = {}
    for history in histories:
        groups.setdefault(history.concept.group, []).append(history)
    return [HistoryGroup(name, entries) for name, entries in groups.items()]


def visits_of(histories: Iterable[History]) -> Visits | None:
    """What was observed more than once; None if nothing was."""
    repeated = [history for history in histories if history.is_repeated]
    days = sorted({day for history in repeated for day in history.by_day})
    if len(days) < 2:
        return None
    shown = days[-DAYS_SHOWN:]
    rows = [(h, [h.by_day.get(day) for day in shown]) for h in repeated]
    return Visits(days=shown, earlier=len(days) - len(shown), rows=rows)


def sources_of(patient: Patient, findings: Iterable[Finding]) -> list[Source]:
    """Imports that findings came with, newest first."""
    counts: dict[datetime, int] = {}
    for finding in findings:
        counts[finding.recorded_at] = counts.get(finding.recorded_at, 0) + 1
    imports = {
        found.committed_at: found
        for found in EhrImport.objects.filter(
            cohort=patient.cohort_id, committed_at__in=list(counts)
        ).select_related("requested_by")
    }
    return [Source(at, imports.get(at), counts[at]) for at in sorted(counts, reverse=True)]


def _codes(concepts: Iterable[str]) -> dict[str, Concept]:
    """Codes that are concepts of their own, as the dictionary would describe them."""
    wanted = sorted(concepts)
    named = CodeConcept.objects.in_bulk(wanted)
    described = {}
    for concept in wanted:
        system, _, code = concept.partition(":")
        row = named.get(concept)
        described[concept] = Concept(
            id=concept,
            label=f"{row.label} ({code})" if row else concept,
            group=CODE_SYSTEMS.get(system, OTHER_CODES),
            kind=Kind.CONTINUOUS if row and row.unit else Kind.BINARY,
            unit=row.unit if row else "",
            low=0.0,
            high=1.0,
            in_schema=False,
            source="a code of the file",
        )
    return described
