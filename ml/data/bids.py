"""A BIDS folder as a cohort, and any cohort as a folder of ours.

The layout (bids-specification.readthedocs.io)::

    participants.tsv                            participant_id, then anything
    sub-01/sub-01_sessions.tsv                  session_id, then anything; not everybody has one
    sub-01/ses-M00/anat/sub-01_ses-M00_T1w.nii.gz   or without sessions

Columns that the concept dictionary knows become findings; what a session's table says stands before
what the participants' table says. The scans must lie on a grid of `ml.data.mri`: raw heads go
through preprocessing first. Clinica writes ADNI in this form.
"""

import csv
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ml.concepts import Concept, concepts_by_name, normalise_name, schema
from ml.data.cells import NOT_OBSERVED, CellReader, Refusal
from ml.data.cohort import Cohort, CohortError, Participant
from ml.data.mri import Grid, coarsened, grid, grid_of, read_volume, write_volume
from ml.records import PatientRecord

PARTICIPANTS = "participants.tsv"
DIAGNOSES: Mapping[str, int | None] = {
    **dict.fromkeys(("ad", "dementia", "alzheimer's disease"), 1),
    **dict.fromkeys(("cn", "nc", "hc", "control", "cognitively normal"), 0),
    **dict.fromkeys(("mci", "emci", "lmci", "smc", "other", *NOT_OBSERVED), None),
}
_DIAGNOSIS_COLUMNS = ("diagnosis", "diagnosis_sc", "group", "dx")
_KEYS = ("participant_id", "session_id", "person_id")


class BidsError(CohortError):
    """The folder is no BIDS folder that can be read; the text names file, line and remedy."""


@dataclass(slots=True)
class BidsCohort:
    """A BIDS folder as a cohort, and what was left out of it.

    Attributes:
        cohort: one participant a session, or a person where there are no sessions. The label is 1
            for AD, 0 for CN and None for everything else.
        left_out: columns that are no concept of the dictionary.
        further_scans: T1 volumes of sessions that have one already.
    """

    cohort: Cohort
    left_out: tuple[str, ...]
    further_scans: int


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    participants: list[Participant] = field(default_factory=list)
    records: dict[str, PatientRecord] = field(default_factory=dict)
    scans: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, None] = field(default_factory=dict)
    further_scans: int = 0


def read_bids(folder: Path) -> BidsCohort:
    """Read the tables and find the scans; volumes are read when asked for.

    Raises:
        BidsError: a table is missing or holds what is no value, or a person is doubled.
        OffGridError: the first scan is on no grid of `ml.data.mri`.
    """
    reading = _Reading()
    seen: set[str] = set()
    for line, row in _rows(folder / PARTICIPANTS, "participant_id"):
        person = row["participant_id"]
        if not person.startswith("sub-") or not person[4:].isalnum():
            raise BidsError(
                f"{PARTICIPANTS}, line {line}: participant_id must be `sub-` and letters or "
                "digits, as in sub-01."
            )
        if person in seen:
            raise BidsError(
                f"{PARTICIPANTS}, line {line}: this person is there twice. Sessions belong into "
                "sub-*_sessions.tsv."
            )
        seen.add(person)
        for session, visit in _sessions(folder / person, person).items():
            _add(reading, folder / person, person, session, {**row, **visit}, line)
    first = next(iter(reading.scans.values()), None)
    cohort = Cohort(
        folder,
        tuple(reading.participants),
        reading.records,
        {},
        reading.scans,
        None if first is None else grid_of(first),
    )
    return BidsCohort(cohort, tuple(reading.left_out), reading.further_scans)


def _sessions(folder: Path, person: str) -> dict[str, dict[str, str]]:
    """Session to its own row, if it has one; "" for a person without sessions."""
    folders = (each for each in sorted(folder.glob("ses-*")) if each.is_dir())
    found: dict[str, dict[str, str]] = {each.name: {} for each in folders}
    table = folder / f"{person}_sessions.tsv"
    if table.exists():
        found |= {
            row["session_id"]: {name: text for name, text in row.items() if _says(text)}
            for _, row in _rows(table, "session_id")
        }
    return found or {"": {}}


def _says(text: str) -> bool:
    return text.strip().casefold() not in NOT_OBSERVED


def _add(
    reading: _Reading,
    folder: Path,
    person: str,
    session: str,
    row: Mapping[str, str],
    line: int,
) -> None:
    identifier = person + "".join(letter for letter in session if letter.isalnum())
    values: dict[str, float] = {}
    for header, cell in row.items():
        if header in _KEYS or header in _DIAGNOSIS_COLUMNS:
            continue
        concept = concepts_by_name().get(normalise_name(header))
        if concept is None:
            reading.left_out[header] = None
            continue
        value = _value(concept, header, cell, line)
        if value is not None:
            values[concept.id] = value
    sex = {0.0: "M", 1.0: "F"}.get(values.get("female", -1.0), "n/a")
    label = _label(row, line)
    reading.participants.append(Participant(identifier, person, values.get("age"), sex, label))
    reading.records[identifier] = PatientRecord(patient=identifier, values=values)
    scans = sorted((folder / session / "anat").glob("*_T1w.nii*"))
    if scans:
        reading.scans[identifier] = scans[0]
        reading.further_scans += len(scans) - 1


def _value(concept: Concept, header: str, cell: str, line: int) -> float | None:
    value = CellReader(concept, header).read(cell)
    if isinstance(value, Refusal):
        raise BidsError(f"{PARTICIPANTS}, line {line}, column {header}: {value.message}")
    return value


def _label(row: Mapping[str, str], line: int) -> int | None:
    column = next((name for name in _DIAGNOSIS_COLUMNS if name in row), None)
    word = "" if column is None else row[column].strip().casefold()
    if word not in DIAGNOSES:
        raise BidsError(
            f"{PARTICIPANTS}, line {line}, column {column}: the diagnosis is not known. Write AD, "
            "CN, MCI, other or n/a."
        )
    return DIAGNOSES[word]


def _rows(path: Path, key: str) -> Iterator[tuple[int, dict[str, str]]]:
    if not path.exists():
        raise BidsError(f"There is no {path.name} in the folder; BIDS puts it at the top.")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", restval="")
        if key not in (reader.fieldnames or []):
            raise BidsError(f"{path.name} lacks the column {key}, separated by tabs.")
        for row in reader:
            if None in row:
                raise BidsError(
                    f"{path.name}, line {reader.line_num}: there are more cells than columns."
                )
            yield reader.line_num, row


def write_cohort(cohort: Cohort, out: Path, spacing_mm: float | None = None) -> Grid | None:
    """Write a cohort folder of ours (`ml.data.cohort`), which training reads.

    Only inputs of the model are written: near-copies of the label stay behind.

    Args:
        cohort: of whatever source.
        out: new folder.
        spacing_mm: of its scans; by default they are copied as they are.

    Returns:
        The grid of the scans, if there are any.

    Raises:
        CohortError: the folder is there already.
        VolumeError: a scan cannot be read, or its grid is coarser than the one asked for.
    """
    if out.exists():
        raise CohortError(f"{out.name} is there already. Choose a new folder.")
    out.mkdir(parents=True)
    words = {1: "AD", 0: "CN", None: "n/a"}
    with (out / PARTICIPANTS).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(("participant_id", "age", "sex", "diagnosis", "person_id"))
        for each in cohort.participants:
            age = "n/a" if each.age_years is None else f"{each.age_years:g}"
            table.writerow((each.id, age, each.sex, words[each.label], each.person))
    used = [name for name in schema() if any(name in r.values for r in cohort.records.values())]
    with (out / "ehr.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("patient", *used))
        for record in cohort.records.values():
            cells = (record.values.get(name) for name in used)
            rows.writerow((record.patient, *("" if c is None else f"{c:.10g}" for c in cells)))
    stored = cohort.scan_grid
    wanted = stored if spacing_mm is None else grid(spacing_mm)
    for name in cohort.ids_with_scan():
        target = out / name / "anat" / f"{name}_T1w.nii.gz"
        target.parent.mkdir(parents=True)
        if stored is None or wanted is None or stored == wanted:
            shutil.copyfile(cohort.scan_path(name), target)
            continue
        voxels = coarsened(read_volume(cohort.scan_path(name), stored), stored, wanted)
        write_volume(target, np.asarray(voxels), wanted, synthetic=False, description="T1")
    return wanted
