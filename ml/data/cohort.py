"""A cohort folder: who is in it, their EHR findings, their scans, and how people are split.

The layout is BIDS-like::

    participants.tsv    participant_id, age, sex (M, F), diagnosis (AD, CN, n/a), maybe person_id
    ehr.csv             patient, then one column per concept (ml/concepts.toml)
    sub-0001/anat/sub-0001_T1w.nii.gz     on a grid of ml.data.mri; not everybody has one; or .nii
    truth.tsv           phantoms only: severity, true state and volumes
    cohort.json         how it was made; spacing_mm in it says on which grid all scans are
"""

import csv
import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float16
from numpy import ndarray

from ml.data.ehr import Severity, read_ehr_csv
from ml.data.mri import Grid, brain_mask, coarsened, grid, normalise, read_volume
from ml.records import PatientRecord

MAX_PATIENTS = 1_000_000
DIAGNOSES = {"AD": 1, "CN": 0, "n/a": None}
SEXES = {"F", "M", "n/a"}


class CohortError(ValueError):
    """A cohort folder is incomplete or contradicts itself; the text names file, row and remedy."""


@dataclass(frozen=True, slots=True)
class Participant:
    """One row of participants.tsv.

    Attributes:
        id: participant_id, also the key of the row in ehr.csv and the name of the scan's folder.
        person: who this is; two visits of one person share it. Splits never separate them.
        age_years: age at the scan; None if not recorded.
        sex: "F", "M" or "n/a".
        label: 1 for AD, 0 for CN, None if nobody recorded a diagnosis.
    """

    id: str
    person: str
    age_years: float | None
    sex: str
    label: int | None


@dataclass(frozen=True, slots=True)
class Cohort:
    """The people of one cohort folder, in the order of participants.tsv.

    Attributes:
        folder: where it lies.
        participants: one a row of participants.tsv.
        records: participant id to findings; somebody without a row in ehr.csv has none.
        truth: for phantoms, participant id to severity, true state and volumes in ml; else empty.
        scans: participant id to T1 volume, for folders of another layout than the one above.
        scan_grid: grid of all scans, if they may be asked for on a coarser one; by default they
            must lie on the grid that is asked for.
    """

    folder: Path
    participants: tuple[Participant, ...]
    records: Mapping[str, PatientRecord]
    truth: Mapping[str, Mapping[str, float]]
    scans: Mapping[str, Path] = field(default_factory=dict)
    scan_grid: Grid | None = None

    @classmethod
    def load(cls, folder: Path) -> "Cohort":
        """Read the tables of a cohort folder; volumes are read when asked for.

        Raises:
            CohortError: a table is missing, a participant is doubled, a value is unknown, or
                ehr.csv has problems or names people who are not in participants.tsv.
        """
        participants = _read_participants(folder / "participants.tsv")
        ids = {participant.id for participant in participants}
        records = _read_records(folder / "ehr.csv")
        strangers = sorted(set(records) - ids)
        if strangers:
            raise CohortError(
                f"ehr.csv has {len(strangers)} patients that participants.tsv lacks. "
                "Every EHR row needs its row there, with diagnosis n/a if none is known."
            )
        truth = _read_truth(folder / "truth.tsv")
        return cls(folder, participants, records, truth, scan_grid=_grid_of(folder / "cohort.json"))

    @property
    def ids(self) -> tuple[str, ...]:
        """Participant ids in file order."""
        return tuple(participant.id for participant in self.participants)

    @property
    def labels(self) -> Mapping[str, int | None]:
        """Participant id to recorded diagnosis: 1 AD, 0 CN, None unknown."""
        return {participant.id: participant.label for participant in self.participants}

    @property
    def persons(self) -> Mapping[str, str]:
        """Participant id to the person it belongs to."""
        return {participant.id: participant.person for participant in self.participants}

    def without(self, persons: Collection[str]) -> "Cohort":
        """The same cohort without some persons, all their visits included."""
        away = set(persons)
        kept = tuple(each for each in self.participants if each.person not in away)
        ids = {each.id for each in kept}
        return replace(
            self,
            participants=kept,
            records={each: record for each, record in self.records.items() if each in ids},
            truth={each: truth for each, truth in self.truth.items() if each in ids},
        )

    def scan_path(self, participant_id: str) -> Path:
        """Where this participant's T1 volume lies, if there is one."""
        if participant_id in self.scans:
            return self.scans[participant_id]
        usual = self.folder / participant_id / "anat" / f"{participant_id}_T1w.nii.gz"
        plain = usual.with_suffix("")
        return plain if plain.exists() else usual

    def ids_with_scan(self) -> tuple[str, ...]:
        """Participants whose T1 volume exists, in file order."""
        return tuple(each for each in self.ids if self.scan_path(each).exists())

    def normalised_volumes(
        self,
        ids: Sequence[str],
        grid: Grid,
        progress: Callable[[int, int], None] | None = None,
    ) -> Float16[ndarray, "patients x y z"]:
        """Read and z-score the scans of some participants, in the order asked for.

        Half precision, because 300 scans at 2 mm are .5 GB that way and a z-score needs no more
        than its three digits.

        Raises:
            VolumeError: a scan is unreadable, off the grid or holds invalid voxels.
        """
        mask, stored = brain_mask(grid), self.scan_grid or grid
        volumes = np.empty((len(ids), *grid.shape), dtype=np.float16)
        for row, participant_id in enumerate(ids):
            voxels = read_volume(self.scan_path(participant_id), stored)
            volumes[row] = normalise(coarsened(voxels, stored, grid), mask)
            if progress is not None:
                progress(row + 1, len(ids))
        return volumes


def _grid_of(path: Path) -> Grid | None:
    """The grid that a cohort says its scans are on; None if it does not say."""
    if not path.exists():
        return None
    try:
        spacing_mm = json.loads(path.read_text(encoding="utf-8")).get("spacing_mm")
        return None if spacing_mm is None else grid(float(spacing_mm))
    except (ValueError, TypeError, AttributeError) as error:
        raise CohortError(
            f"{path.name} is no JSON object, or its spacing_mm is not the voxel edge of all scans: "
            "8, 4, 2 or 1."
        ) from error


def _read_tsv(path: Path, needed: Iterable[str]) -> list[dict[str, str]]:
    if not path.exists():
        raise CohortError(
            f"There is no {path.name} in the cohort folder {path.parent.name}. "
            "Make a cohort with `python -m ml phantom`, or see the layout in ml/data/cohort.py."
        )
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t")
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise CohortError(
                f"{path.name} lacks the column {', '.join(missing)}. "
                f"Its first line must name {', '.join(needed)}, separated by tabs."
            )
        return list(reader)


def _read_participants(path: Path) -> tuple[Participant, ...]:
    rows = _read_tsv(path, ("participant_id", "age", "sex", "diagnosis"))
    participants: dict[str, Participant] = {}
    for line, row in enumerate(rows, start=2):
        participant = _participant(row, f"{path.name}, line {line}")
        if participant.id in participants:
            raise CohortError(
                f"{path.name}, line {line}: {participant.id} is there twice. "
                "Give each visit its own participant_id and the same person_id."
            )
        participants[participant.id] = participant
    if not participants:
        raise CohortError(
            f"{path.name} has a header and nobody below it. Add one line a participant."
        )
    return tuple(participants.values())


def _participant(row: Mapping[str, str], where: str) -> Participant:
    participant_id = row["participant_id"] or ""
    if not participant_id.startswith("sub-") or not participant_id[4:].isalnum():
        raise CohortError(
            f"{where}: participant_id must be `sub-` and letters or digits, as in sub-0001."
        )
    for column, allowed in (("sex", SEXES), ("diagnosis", set(DIAGNOSES))):
        if row[column] not in allowed:
            raise CohortError(
                f"{where}: {column} is `{row[column]}`; "
                f"it must be one of {', '.join(sorted(allowed))}."
            )
    try:
        age = None if row["age"] == "n/a" else float(row["age"])
    except ValueError as error:
        raise CohortError(
            f"{where}: age is `{row['age']}`; it must be a number of years or n/a."
        ) from error
    if age is not None and not (math.isfinite(age) and 0 <= age <= 120):
        raise CohortError(f"{where}: age is {age}; it must lie between 0 and 120 years.")
    person = row.get("person_id") or participant_id
    return Participant(participant_id, person, age, row["sex"], DIAGNOSES[row["diagnosis"]])


def _read_records(path: Path) -> dict[str, PatientRecord]:
    if not path.exists():
        raise CohortError(f"There is no {path.name} in the cohort folder {path.parent.name}.")
    table = read_ehr_csv(path, max_rows=MAX_PATIENTS)
    if table.refused:
        first = next(p for p in table.problems if p.severity is Severity.ERROR)
        raise CohortError(f"{path.name} was refused: {first}")
    return {record.patient: record for record in table.records}


def _read_truth(path: Path) -> dict[str, dict[str, float]]:
    if not path.exists():
        return {}
    return {
        row["participant_id"]: {
            name: float(value) for name, value in row.items() if name != "participant_id"
        }
        for row in _read_tsv(path, ("participant_id",))
    }


def split_by_person(
    persons: Mapping[str, str], *, seed: int, fractions: Mapping[str, float]
) -> dict[str, tuple[str, ...]]:
    """Deal participants into named parts by a keyed hash of the person.

    A person's part depends on the person and the seed alone. So visits of one person stay
    together, adding or removing people moves nobody else, and the order of the file does not
    matter.

    Args:
        persons: participant id to person (`Cohort.persons`).
        seed: the key of the hash.
        fractions: name of a part to its expected share; the shares sum to 1.

    Raises:
        ValueError: a share is negative or they do not sum to 1.

    Example:
        >>> parts = split_by_person({"sub-1": "a", "sub-2": "a"}, seed=1, fractions={"train": 1.0})
        >>> parts
        {'train': ('sub-1', 'sub-2')}
    """
    shares = list(fractions.values())
    if min(shares) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-9):
        raise ValueError(f"The shares {dict(fractions)} must be 0 or more and sum to 1.")
    upper = np.cumsum(shares)
    upper[-1] = 1.0
    parts: dict[str, list[str]] = {name: [] for name in fractions}
    names = list(fractions)
    for participant_id, person in persons.items():
        part = names[int(np.searchsorted(upper, _uniform(person, seed), side="right"))]
        parts[part].append(participant_id)
    return {name: tuple(ids) for name, ids in parts.items()}


def _uniform(person: str, seed: int) -> float:
    digest = hashlib.blake2b(person.encode(), key=str(seed).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_hash(parts: Mapping[str, Sequence[str]]) -> str:
    """Fingerprint of who is in which part, for the card: equal splits have equal fingerprints."""
    canonical = json.dumps({name: sorted(ids) for name, ids in parts.items()}, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
