"""What went into a training, by hash: whoever has the data can tell whether it is the same."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from ml.card import sha256_of
from ml.data.cohort import Cohort

AT_ONCE = 4
"""Files read at the same time; hashing leaves Python's lock free."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The data of a training.

    Attributes:
        people: hash of everybody's person, age, sex and diagnosis.
        records: hash of their EHR findings.
        scans: participant id to SHA-256 of the scan's file.
        split: hash of who trains and who tests.
    """

    people: str
    records: str
    scans: Mapping[str, str]
    split: str

    @classmethod
    def of(cls, cohort: Cohort, split: str) -> "Snapshot":
        """Hash a cohort as it lies on the disk, without the people who were left out of it.

        What was read of the tables is hashed, not their bytes: people who are left out must not
        show, and another order of columns is no other data.
        """
        scanned = cohort.ids_with_scan()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            hashes = pool.map(sha256_of, [cohort.scan_path(each) for each in scanned])
            scans = dict(zip(scanned, hashes, strict=True))
        return cls(
            _hash([asdict(each) for each in cohort.participants]),
            _hash({each: dict(record.values) for each, record in cohort.records.items()}),
            scans,
            split,
        )

    @property
    def sha256(self) -> str:
        """One hash for all of it."""
        return _hash(asdict(self))

    def to_json(self) -> str:
        """All hashes, for the folder of a run; it names participants, so it never leaves that."""
        return json.dumps({"sha256": self.sha256, **asdict(self)}, indent=2) + "\n"


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
