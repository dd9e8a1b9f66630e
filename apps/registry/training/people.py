"""Who a training would learn from: counts of cohorts, who is set aside, what would be refused."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.jobs.models import JobState
from apps.patients.models import Cohort, Finding, Patient, Scan
from apps.registry.models import Holdout, TrainingRun
from apps.registry.training.snapshot import DIAGNOSES, DIAGNOSIS, person_of
from ml.card import sha256_of

FEWEST_OF_A_CLASS = 7
"""Scanned people with AD, and without: five of each must be among the three quarters that train."""


@dataclass(frozen=True, slots=True)
class Count:
    """A cohort, or several, as a training sees them.

    Attributes:
        patients: all of them.
        usable: those with a diagnosis of AD or CN, or a scan, who are not set aside.
        scans: usable people with a scan.
        ad, cn: usable people with this diagnosis and a scan.
        held_out: people who are set aside to judge bundles by.
    """

    patients: int
    usable: int
    scans: int
    ad: int
    cn: int
    held_out: int

    @property
    def unusable(self) -> str:
        """Why nothing can be learned from them at all; empty if something can."""
        if not self.patients:
            return "It has no patients."
        if self.held_out == self.patients:
            return "All its people are set aside to judge bundles by."
        if not self.usable:
            return "Nobody in it has a diagnosis of AD or CN, or a scan."
        return ""


def counts_of(cohorts: Iterable[Cohort]) -> dict[Any, Count]:
    """Cohort to its counts, by one question each."""
    return {cohort.pk: count_of([cohort]) for cohort in cohorts}


def count_of(cohorts: Sequence[Cohort]) -> Count:
    """What several cohorts are together."""
    patients = Patient.objects.filter(cohort__in=cohorts)
    newest = (
        Finding.objects.filter(patient__in=patients.values("pk"), concept=DIAGNOSIS)
        .newest()
        .values_list("patient_id", "value")
    )
    label = {patient: DIAGNOSES.get(value) for patient, value in newest}
    aside = _set_aside()
    found: Counter[str] = Counter()
    rows = patients.annotate(
        scanned=Exists(Scan.objects.filter(patient=OuterRef("pk"), state="succeeded")),
        aside=Q(identifier_hash__in=aside),
    )
    for key, scanned, held_out in rows.values_list("pk", "scanned", "aside"):
        found["patients"] += 1
        found["held_out"] += held_out
        if held_out or not (scanned or label.get(key)):
            continue
        found["usable"] += 1
        found["scans"] += scanned
        if scanned:
            found[label.get(key) or ""] += 1
    return Count(
        found["patients"], found["usable"], found["scans"],
        found["AD"], found["CN"], found["held_out"],
    )  # fmt: skip


def too_few(count: Count) -> str:
    """Why the engine would refuse them; empty if it may take them."""
    if min(count.ad, count.cn) >= FEWEST_OF_A_CLASS:
        return ""
    return (
        f"The chosen cohorts have {count.ad} scanned people with AD and {count.cn} without; "
        f"training needs at least {FEWEST_OF_A_CLASS} of each. Choose more cohorts, upload scans, "
        "or import diagnoses (column `diagnosis`)."
    )


def held_out(run: TrainingRun) -> list[str]:
    """Persons of a run's cohorts who are set aside, as its snapshot calls them."""
    patients = Patient.objects.filter(
        cohort__in=run.cohorts.all(), identifier_hash__in=_set_aside()
    )
    return sorted({person_of(patient) for patient in patients.only("pk", "identifier_hash")})


def counted(folder: Path, persons: Sequence[str]) -> int:
    """How many participants of a cohort folder are these persons."""
    wanted = set(persons)
    return sum(row["person_id"] in wanted for row in _participants(folder))


def described(folder: Path) -> dict[str, Any]:
    """What a snapshot of invented people says of itself, as `snapshot.write_cohort` does."""
    rows = _participants(folder)
    files = {name: sha256_of(folder / name) for name in ("participants.tsv", "ehr.csv")}
    made = json.loads((folder / "cohort.json").read_text(encoding="utf-8"))
    return {
        "people": len(rows),
        "scans": len(rows),
        "ad": sum(row["diagnosis"] == "AD" for row in rows),
        "cn": sum(row["diagnosis"] == "CN" for row in rows),
        "spacing_mm": made["spacing_mm"],
        "files": files,
        "sha256": hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest(),
    }


def _set_aside() -> QuerySet[Patient, str]:
    """Identifiers of everybody in a cohort of a holdout that judges, or that is being frozen."""
    judging = [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]
    holdouts = Holdout.objects.filter(retired_at=None, state__in=judging)
    cohorts = Cohort.objects.filter(holdouts__in=holdouts)
    return Patient.objects.filter(cohort__in=cohorts).values_list("identifier_hash", flat=True)


def _participants(folder: Path) -> list[dict[str, str]]:
    with (folder / "participants.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
