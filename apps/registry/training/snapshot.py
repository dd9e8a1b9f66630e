"""The people of cohorts as they were known at one moment, as a folder that the engine reads.

What is in it names nobody: a participant is `sub-` and the random key of the patient's row, a
person is a keyed hash that two cohorts have in common if they hold the same person. Nothing that
is nearly the diagnosis goes in beside the diagnosis itself.
"""

import csv
import hashlib
import hmac
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from apps.errors import MirageError
from apps.patients.models import Cohort, Patient, Scan
from apps.patients.selectors import records_of
from ml.card import sha256_of
from ml.concepts import dictionary, schema
from ml.data.ehr import contradictions

SCAN_SPACING_MM = 2.0
"""Voxel edge of the volumes that preprocessing keeps (apps.patients.scans)."""
DIAGNOSIS = "diagnosis"
DIAGNOSES = {0.0: "CN", 2.0: "AD"}
"""Mild cognitive impairment (1) is neither, so such a person has no label."""
AT_ONCE = 2_000


class SnapshotError(MirageError):
    """A snapshot cannot be written; the text says why and what to do."""


def inputs() -> tuple[str, ...]:
    """Concepts that a training may read: the schema without what is nearly the diagnosis."""
    return tuple(name for name in schema() if not dictionary()[name].label_proximal)


def participant_of(patient: Patient) -> str:
    """What a patient is called in a snapshot."""
    return f"sub-{patient.pk.hex}"


def person_of(patient: Patient) -> str:
    """Who a patient is, the same in every cohort and in every snapshot of this installation."""
    key = settings.MIRAGE_IDENTIFIER_KEY.encode()
    text = f"training:{patient.identifier_hash}".encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:32]


def write_cohort(
    folder: Path, cohorts: Iterable[Cohort], *, as_known_at: datetime
) -> dict[str, Any]:
    """Write a cohort folder (`ml.data.cohort`): findings, diagnoses, and scans as links.

    People with neither a diagnosis of AD or CN nor a scan are left out: nothing can be learned
    from them, nor judged on them.

    Args:
        folder: a new folder.
        cohorts: whose patients.
        as_known_at: what was stored later is not there.

    Returns:
        Counts, and the hashes of what was written; `sha256` is that of all the others.

    Raises:
        SnapshotError: nobody is left, a volume is not the one that was stored, the disk refuses.
    """
    keys = sorted(cohort.pk for cohort in cohorts)
    try:
        return _write(folder, keys, as_known_at)
    except OSError as error:
        raise SnapshotError(
            f"The snapshot of the cohorts could not be written ({error.strerror}). Make room on "
            "the disk of the data folder, then resume."
        ) from error


def _write(folder: Path, cohorts: Sequence[Any], as_known_at: datetime) -> dict[str, Any]:
    folder.mkdir(parents=True, mode=0o700)
    counts: Counter[str] = Counter()
    scans = hashlib.sha256()
    with (
        _table(folder / "participants.tsv") as participants,
        _table(folder / "ehr.csv") as findings,
    ):
        people = csv.writer(participants, delimiter="\t", lineterminator="\n")
        people.writerow(("participant_id", "age", "sex", "diagnosis", "person_id"))
        ehr = csv.writer(findings, lineterminator="\n")
        ehr.writerow(("patient", *inputs()))
        for patient, values, diagnosis, scan in _people(cohorts, as_known_at, counts):
            name = participant_of(patient)
            people.writerow((name, *_demographics(values), diagnosis, person_of(patient)))
            ehr.writerow((name, *(_cell(values.get(each)) for each in inputs())))
            if scan is not None:
                _place(scan, folder / name / "anat" / f"{name}_T1w.nii")
                scans.update(f"{name} {scan.sha256}\n".encode())
    if not counts["people"]:
        shutil.rmtree(folder)
        raise SnapshotError(
            "Nobody in the chosen cohorts has findings together with a diagnosis of AD or CN or a "
            "scan. Import diagnoses (column `diagnosis`) or upload scans, or choose other cohorts."
        )
    (folder / "cohort.json").write_text(
        json.dumps({"spacing_mm": SCAN_SPACING_MM, "people": counts["people"]}, indent=2) + "\n",
        encoding="utf-8",
    )
    files = {
        name: sha256_of(folder / name) for name in ("participants.tsv", "ehr.csv", "cohort.json")
    }
    hashes = {**files, "scans": scans.hexdigest()}
    return {
        "as_known_at": as_known_at.isoformat(timespec="seconds"),
        "people": counts["people"],
        "scans": counts["scans"],
        "ad": counts["AD"],
        "cn": counts["CN"],
        "unused": counts["unused"],
        "contradictions": counts["contradictions"],
        "spacing_mm": SCAN_SPACING_MM,
        "files": hashes,
        "sha256": hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest(),
    }


def _table(path: Path) -> IO[str]:
    return path.open("w", encoding="utf-8", newline="")


def _people(
    cohorts: Sequence[Any], as_known_at: datetime, counts: Counter[str]
) -> Iterator[tuple[Patient, dict[str, float], str, Scan | None]]:
    """Everybody something can be learned from, with findings, diagnosis and newest scan."""
    patients = Patient.objects.filter(cohort__in=cohorts, created_at__lte=as_known_at)
    ordered = list(patients.order_by("cohort", "number").only("pk", "identifier_hash"))
    for start in range(0, len(ordered), AT_ONCE):
        some = ordered[start : start + AT_ONCE]
        keys = [patient.pk for patient in some]
        known = records_of(keys, concepts=(*inputs(), DIAGNOSIS), as_known_at=as_known_at)
        newest = _newest_scans(keys, as_known_at)
        for patient in some:
            values = dict(known[patient.pk].values)
            diagnosis = DIAGNOSES.get(values.pop(DIAGNOSIS, -1.0), "n/a")
            scan = newest.get(patient.pk)
            if not values or (scan is None and diagnosis == "n/a"):
                counts["unused"] += 1
                continue
            _drop_contradictions(values, counts)
            counts["people"] += 1
            counts["scans"] += scan is not None
            counts[diagnosis] += 1
            yield patient, values, diagnosis, scan


def _newest_scans(patients: Sequence[Any], as_known_at: datetime) -> dict[Any, Scan]:
    scans = Scan.objects.filter(
        patient__in=patients, state="succeeded", finished_at__lte=as_known_at
    )
    return {scan.patient_id: scan for scan in scans.order_by("patient", "number")}


def _drop_contradictions(values: dict[str, float], counts: Counter[str]) -> None:
    """Values of two uploads may contradict each other, which the engine refuses of one table.

    Nobody can tell which of them is wrong, so both sides of it are left out, and counted.
    """
    for problem in contradictions(values, 0):
        sides = _SIDES.get(problem.column or "", (problem.column or "",))
        for side in sides:
            counts["contradictions"] += values.pop(side, None) is not None


_SIDES = {
    "diastolic_mmhg": ("systolic_mmhg", "diastolic_mmhg"),
    "bmi": ("bmi", "weight_kg", "height_cm"),
    "weight_kg": ("weight_kg", "height_cm"),
}


def _demographics(values: dict[str, float]) -> tuple[str, str]:
    age, female = values.get("age"), values.get("female")
    sex = "n/a" if female is None else "F" if female else "M"
    return ("n/a" if age is None else f"{age:g}", sex)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def _place(scan: Scan, target: Path) -> None:
    """Link a volume, or copy it where the disks differ, once its bytes are those of its row."""
    source = Path(settings.MEDIA_ROOT) / scan.file
    if not source.is_file() or sha256_of(source) != scan.sha256:
        raise SnapshotError(
            f"The volume of scan {scan.pk} is gone or is not the one that was stored. Run "
            "`manage.py fsck`, or delete the scan, then resume."
        )
    target.parent.mkdir(parents=True)
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
