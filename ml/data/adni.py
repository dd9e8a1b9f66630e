"""ADNI as a cohort: ADNIMERGE.csv for the records, Clinica's BIDS folder for the scans.

ADNIMERGE.csv lies at the top of the BIDS folder that Clinica wrote (`clinica convert
adni-to-bids`). A visit of the table and a session of the folder are the same if person and month
are: PTID 002_S_0295 with VISCODE m06 is sub-ADNI002S0295, ses-M006 (ses-M06 before Clinica 0.8).
ADNI's data cannot be had without an agreement, so all of this follows its public documentation and
was tried on tables written by hand.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml.concepts import concepts_by_name, normalise_name
from ml.data.cells import NOT_OBSERVED, CellReader, Refusal
from ml.data.cohort import Cohort, CohortError, Participant
from ml.data.mri import grid_of
from ml.records import PatientRecord

TABLE = "ADNIMERGE.csv"
NEEDED = ("PTID", "VISCODE", "DX", "AGE")
DIAGNOSES: Mapping[str, int | None] = {"Dementia": 1, "CN": 0, "MCI": None}
_PERSON = re.compile(r"(\d{3})_S_(\d{4,5})")
_SESSION = re.compile(r"ses-M(\d{2,3})")
_MONTH = re.compile(r"m(\d{1,3})")
_KEYS = {"RID", "PTID", "VISCODE", "DX", "AGE", "ORIGPROT", "COLPROT", "SITE", "EXAMDATE"}
_AT_BASELINE = re.compile(r"_bl$", re.IGNORECASE)


class AdniError(CohortError):
    """The table or the folder is not ADNI's; the text names line, column and remedy."""


@dataclass(frozen=True, slots=True)
class AdniCohort:
    """ADNI as a cohort, and what was left out of it.

    Attributes:
        cohort: one participant a visit. The label is 1 for dementia, 0 for CN, None for MCI and
            for visits without a diagnosis.
        left_out: columns that are no concept of the dictionary.
        without_visit: sessions with a scan that the table has no visit for.
    """

    cohort: Cohort
    left_out: tuple[str, ...]
    without_visit: tuple[str, ...]


def read_adni(folder: Path) -> AdniCohort:
    """Read the table and find the scans; volumes are read when asked for.

    Raises:
        AdniError: the table is missing, lacks a column, has a visit twice, or holds what is no
            value.
        OffGridError: the first scan is on no grid of `ml.data.mri`: raw heads go through
            `python -m ml preprocess` first.
    """
    scans = _scans(folder)
    participants: list[Participant] = []
    records: dict[str, PatientRecord] = {}
    left_out: dict[str, None] = {}
    found: dict[str, Path] = {}
    for line, row in _rows(folder / TABLE):
        visit = _visit(row, line)
        if visit is None:
            continue
        person, month = visit
        identifier = f"{person}M{month:03d}"
        if identifier in records:
            raise AdniError(
                f"{TABLE}, line {line}: this visit is there twice. Keep one row a person and month."
            )
        values = _values(row, line, month, left_out)
        sex = {0.0: "M", 1.0: "F"}.get(values.get("female", -1.0), "n/a")
        label = _label(row, line)
        participants.append(Participant(identifier, person, values.get("age"), sex, label))
        records[identifier] = PatientRecord(patient=identifier, values=values)
        if visit in scans:
            found[identifier] = scans.pop(visit)
    if not participants:
        raise AdniError(
            f"{TABLE} has no visit that can be read. Give the table as ADNI hands it out."
        )
    first = next(iter(found.values()), None)
    cohort = Cohort(
        folder,
        tuple(participants),
        records,
        {},
        found,
        None if first is None else grid_of(first),
    )
    strangers = tuple(f"{person} month {month}" for person, month in scans)
    return AdniCohort(cohort, tuple(left_out), strangers)


def _scans(folder: Path) -> dict[tuple[str, int], Path]:
    """Person and month to the first T1 volume of that session."""
    found: dict[tuple[str, int], Path] = {}
    for session in sorted(folder.glob("sub-ADNI*/ses-M*")):
        month = _SESSION.fullmatch(session.name)
        volumes = sorted((session / "anat").glob("*_T1w.nii*"))
        if month and volumes:
            found[session.parent.name, int(month[1])] = volumes[0]
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if not path.exists():
        raise AdniError(
            f"There is no {TABLE} in the folder. Put it beside Clinica's sub-* folders."
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restval="")
        missing = [name for name in NEEDED if name not in (reader.fieldnames or [])]
        if missing:
            raise AdniError(
                f"{TABLE} lacks the column {', '.join(missing)}. Its first line must name "
                f"{', '.join(NEEDED)}, as ADNI hands it out."
            )
        for row in reader:
            if None in row:
                raise AdniError(f"{TABLE}, line {reader.line_num}: more cells than columns.")
            yield reader.line_num, row


def _visit(row: Mapping[str, str], line: int) -> tuple[str, int] | None:
    """Person and month since baseline; None for a screening call, which is no visit."""
    person = _PERSON.fullmatch(row["PTID"].strip())
    if person is None:
        raise AdniError(f"{TABLE}, line {line}: PTID must look like 002_S_0295.")
    code = row["VISCODE"].strip().casefold()
    month = _MONTH.fullmatch(code)
    if code != "bl" and month is None:
        return None
    return f"sub-ADNI{person[1]}S{person[2]}", int(month[1]) if month else 0


def _values(
    row: Mapping[str, str], line: int, month: int, left_out: dict[str, None]
) -> dict[str, float]:
    """Findings of a visit. Columns of the baseline say nothing of it; age is counted on."""
    values: dict[str, float] = {}
    for header, cell in row.items():
        if (header in _KEYS and header != "AGE") or _AT_BASELINE.search(header):
            continue
        concept = concepts_by_name().get(normalise_name(header))
        if concept is None:
            left_out[header] = None
            continue
        value = CellReader(concept, header).read(cell)
        if isinstance(value, Refusal):
            raise AdniError(f"{TABLE}, line {line}, column {header}: {value.message}")
        if value is not None:
            values[concept.id] = value
    if "age" in values:
        values["age"] = round(values["age"] + month / 12, 2)
    return values


def _label(row: Mapping[str, str], line: int) -> int | None:
    word = row["DX"].strip()
    if word.casefold() in NOT_OBSERVED:
        return None
    if word not in DIAGNOSES:
        raise AdniError(
            f"{TABLE}, line {line}, column DX: the diagnosis is not known. ADNI writes CN, MCI or "
            "Dementia."
        )
    return DIAGNOSES[word]
