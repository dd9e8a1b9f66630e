"""A child process in which a scan is parsed and preprocessed, with limits of memory and time.

What a hostile or merely huge file does, it does to the child. The child is told two folders and no
name, has no database and no key, and dies with the worker.
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from apps.errors import MirageError
from apps.jobs.child_process import end_child, memory_bytes_of, start_child
from apps.patients.scans.child import PICTURE, RESULT, VOLUME

MAX_MEMORY_BYTES = 4 * 10**9  # resident, of the child and what it starts
MAX_SECONDS = 10 * 60  # by the clock; a scan takes half a minute where nobody else works
_LOOK_EVERY_S = 0.2


class ScanLimitError(MirageError):
    """Preprocessing needs more than a scan may need."""


class ChildCrashedError(Exception):
    """The child met a bug; says where, and nothing of the scan."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the child has made.

    Attributes:
        refused: why the scan is no good, as a sentence; empty if it is.
        volume: the stripped volume on the grid; none if refused.
        picture: of the quality control; none if it did not get so far.
        qc: figures of the quality control.
        volumes_ml: regional volumes.
    """

    refused: str
    volume: Path | None
    picture: Path | None
    qc: Mapping[str, object] = field(default_factory=dict)
    volumes_ml: Mapping[str, float] = field(default_factory=dict)


def preprocess(
    source: Path,
    work: Path,
    *,
    still_wanted: Callable[[], None],
    max_seconds: float = MAX_SECONDS,
    max_memory_bytes: int = MAX_MEMORY_BYTES,
) -> Made:
    """Preprocess a scan in a child process.

    Args:
        source: the file as it came.
        work: an empty folder for what the child makes.
        still_wanted: called now and then; what it raises ends the child.
        max_seconds, max_memory_bytes: the limits.

    Raises:
        ScanLimitError: it took too long or too much memory.
        ChildCrashedError: it ended without a result.
    """
    process = _start(source, work)
    deadline = time.monotonic() + max_seconds
    try:
        while process.poll() is None:
            still_wanted()
            if time.monotonic() > deadline:
                raise ScanLimitError(
                    f"Preprocessing took longer than {max_seconds:.0f} seconds, the limit. Retry "
                    "it when the machine has less to do, or upload it at 1 mm."
                )
            if memory_bytes_of(process) > max_memory_bytes:
                raise ScanLimitError(
                    f"Preprocessing took more than {max_memory_bytes / 1e9:.1f} GB of memory, the "
                    "limit. Resample the scan to 1 mm and upload it again."
                )
            time.sleep(_LOOK_EVERY_S)
    finally:
        end_child(process)
    return _read(work, process.returncode)


def _start(source: Path, work: Path) -> "subprocess.Popen[bytes]":
    threads = str(settings.MIRAGE_TORCH_THREADS)
    return start_child(
        "apps.patients.scans.child",
        [str(source), str(work)],
        folder=work,
        environment={
            "HOME": str(work),
            "OMP_NUM_THREADS": threads,
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": threads,
        },
    )


def _read(work: Path, status: int) -> Made:
    """What the child says it has made."""
    try:
        said = json.loads((work / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if status in {-signal.SIGKILL, -signal.SIGXFSZ, -signal.SIGXCPU}:
            raise ScanLimitError(
                "Preprocessing was stopped because it took more memory, time or disk than a scan "
                "may take. Resample the scan to 1 mm and upload it again."
            ) from None
        raise ChildCrashedError(f"status {status}, without a result") from None
    if crash := said.get("crash"):
        raise ChildCrashedError(crash)
    volume, picture = work / VOLUME, work / PICTURE
    return Made(
        refused=said.get("refused", ""),
        volume=None if said.get("refused") else volume,
        picture=picture if picture.exists() else None,
        qc=said.get("qc", {}),
        volumes_ml=said.get("volumes_ml", {}),
    )
