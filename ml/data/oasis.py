"""OASIS-1 as it is handed out: one table, and one registered scan a session, as a cohort.

The folder holds::

    oasis_cross-sectional.csv   ID, M/F, Age, Educ, SES, MMSE, CDR, eTIV, nWBV ...
    registration_qc.csv         ID, corr_mni: correlation of each scan with the template
    volumes/OAS1_0001_MR1.nii.gz    on a grid of ml.data.mri, skull-stripped

A session is one row and one scan; OAS1_0001_MR1 and OAS1_0001_MR2 are the same person. Marcus et
al. 2007, doi 10.1162/jocn.2007.19.9.1498.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.concepts import dictionary
from ml.data.cells import CellReader, Refusal
from ml.data.cohort import Cohort, CohortError, Participant
from ml.data.mri import Grid, grid_of
from ml.records import PatientRecord

TABLE, QUALITY, SCANS = "oasis_cross-sectional.csv", "registration_qc.csv", "volumes"
LEAST_CORRELATION = 0.45
"""A scan less like the template than this was registered wrongly."""
RECORD = {
    "Age": "age",
    "M/F": "female",
    "Educ": "education_level",
    "SES": "socioeconomic_status",
}
LABEL_PROXIMAL = {"MMSE": "mmse", "CDR": "cdr"}
MEASURED_ON_MRI = {"nWBV": "brain_fraction", "eTIV": "icv_mm3"}
_COLUMNS = RECORD | LABEL_PROXIMAL | MEASURED_ON_MRI
_IN_OUR_UNIT = {"eTIV": 1000.0}  # written in cm3, kept in mm3
_SESSION = re.compile(r"(OAS1_\d{4})_MR(\d)", re.ASCII)


class OasisError(CohortError):
    """The folder is not OASIS-1 as it is handed out; the text names file, line and remedy."""


@dataclass(frozen=True, slots=True)
class OasisCohort:
    """OASIS-1 as a cohort, and what was left out of it.

    Attributes:
        cohort: one participant a session. The label is 1 where CDR is above 0, 0 where it is 0 and
            None where nobody assessed it. Records hold the label-proximal MMSE and CDR and what was
            measured on the MRI too: whoever reads them names the concepts to use.
        refused: sessions whose scan was registered wrongly; their records stay.
        without_scan: sessions in the table that have no volume.
    """

    cohort: Cohort
    refused: tuple[str, ...]
    without_scan: tuple[str, ...]


def read_oasis(folder: Path) -> OasisCohort:
    """Read the tables; volumes are read when asked for, on their own grid or a coarser one.

    Raises:
        OasisError: a file or column is missing, a cell is no value, a session is doubled or
            strange, or a scan has no row in one of the tables.
        OffGridError: the scans are on no grid of `ml.data.mri`.
    """
    rows = _rows(folder / TABLE, ("ID", *_COLUMNS))
    correlation = _correlations(folder / QUALITY)
    volumes = {path.name.removesuffix(".nii.gz"): path for path in _volumes(folder / SCANS)}
    unknown = [name for name in volumes if name not in rows or name not in correlation]
    if unknown:
        raise OasisError(
            f"{len(unknown)} of {len(volumes)} scans in {SCANS} lack a row in {TABLE} or "
            f"{QUALITY}, so nobody knows whose they are or how well they were registered. "
            "Remove them, or add their rows."
        )
    participants, records, scans = [], {}, {}
    refused, without_scan = [], []
    for session, (line, row) in rows.items():
        participant, record = _session(session, row, line)
        participants.append(participant)
        records[participant.id] = record
        if session not in volumes:
            without_scan.append(participant.id)
        elif correlation[session] < LEAST_CORRELATION:
            refused.append(participant.id)
        else:
            scans[participant.id] = volumes[session]
    cohort = Cohort(folder, tuple(participants), records, {}, scans, _grid(volumes))
    return OasisCohort(cohort, tuple(refused), tuple(without_scan))


def _grid(volumes: Mapping[str, Path]) -> Grid | None:
    return grid_of(next(iter(volumes.values()))) if volumes else None


def _volumes(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise OasisError(f"There is no folder {SCANS} beside {TABLE}. Put the scans there.")
    return sorted(folder.glob("*.nii.gz"))


def _rows(path: Path, needed: Sequence[str]) -> dict[str, tuple[int, dict[str, str]]]:
    """Session to line and row."""
    if not path.exists():
        raise OasisError(
            f"There is no {path.name} in the folder. Give the folder that holds {TABLE}, {QUALITY} "
            f"and {SCANS}."
        )
    found: dict[str, tuple[int, dict[str, str]]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise OasisError(
                f"{path.name} lacks the column {', '.join(missing)}. Its first line must name "
                f"{', '.join(needed)}, as OASIS-1 hands it out."
            )
        for row in reader:
            session = (row["ID"] or "").strip()
            where = f"{path.name}, line {reader.line_num}"
            if not _SESSION.fullmatch(session):
                raise OasisError(
                    f"{where}: ID must be a session of OASIS-1, as in OAS1_0001_MR1. "
                    "Tables of OASIS-2 and OASIS-3 are other tables."
                )
            if session in found:
                raise OasisError(f"{where}: this session is there twice. Keep one row a session.")
            found[session] = reader.line_num, row
    if not found:
        raise OasisError(f"{path.name} has a header and no row below it.")
    return found


def _correlations(path: Path) -> dict[str, float]:
    found = {}
    for session, (line, row) in _rows(path, ("ID", "corr_mni")).items():
        try:
            found[session] = float(row["corr_mni"])
        except ValueError as error:
            raise OasisError(
                f"{path.name}, line {line}: corr_mni must be a number between -1 and 1."
            ) from error
        if not -1 <= found[session] <= 1:
            raise OasisError(
                f"{path.name}, line {line}: corr_mni must be a number between -1 and 1."
            )
    return found


def _session(session: str, row: Mapping[str, str], line: int) -> tuple[Participant, PatientRecord]:
    values: dict[str, float] = {}
    for header, name in _COLUMNS.items():
        value = CellReader(dictionary()[name], header).read(row[header] or "")
        if isinstance(value, Refusal):
            raise OasisError(f"{TABLE}, line {line}, column {header}: {value.message}")
        if value is not None:
            values[name] = value * _IN_OUR_UNIT.get(header, 1.0)
    person, visit = _SESSION.fullmatch(session).groups()  # type: ignore[union-attr]
    identifier = f"sub-{person.replace('_', '')}MR{visit}"
    sex = {0.0: "M", 1.0: "F"}.get(values.get("female", -1.0), "n/a")
    label = int(values["cdr"] > 0) if "cdr" in values else None
    participant = Participant(identifier, person, values.get("age"), sex, label)
    return participant, PatientRecord(patient=identifier, values=values)
