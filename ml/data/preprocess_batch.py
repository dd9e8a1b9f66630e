"""Preprocess many scans: in parallel, each in a process of its own, resumable.

A file that crashes its reader, hangs or eats memory costs its own result and nothing else.
"""

import json
import multiprocessing
import os
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from ml.data.preprocessing import VERSION, ScanError, preprocess, scan_name, sha256_of
from ml.data.registration import use_threads
from ml.data.scan_file import ENDINGS, ScanFileError, check_scan_name

SCAN_S = 600
"""A scan takes half a minute; one that takes this long never ends."""
SCAN_BYTES = 8 * 2**30
"""Address space of one process: libraries reserve several times what they use."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes:
        source: the file, relative to the folder that was given.
        state: "done", "skipped" (done before), "refused" (not usable, `reason` says why) or
            "failed" (the process died or a bug showed itself).
        reason: a sentence; empty if done.
    """

    source: str
    state: str
    reason: str = ""

    @property
    def went_in(self) -> bool:
        """Whether a registered volume is there."""
        return self.state in {"done", "skipped"}


@dataclass(frozen=True, slots=True)
class _Job:
    source: Path
    name: str
    out: Path
    spacing_mm: int
    threads: int


def scans_in(source: Path) -> list[Path]:
    """The scan files of a folder and its folders, in order; or the file itself.

    Raises:
        ScanError: there is none.
    """
    if source.is_file():
        return [source]
    found = sorted(
        path
        for path in source.rglob("*")
        if path.is_file() and path.name.lower().endswith(ENDINGS) and path.name[0] != "."
    )
    if not found:
        raise ScanError(
            f"There is no scan in {source}. Give a file or a folder with files that end in one of "
            f"{', '.join(ENDINGS)}."
        )
    return found


def preprocess_all(
    source: Path,
    out: Path,
    *,
    spacing_mm: int = 2,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Outcome]:
    """Preprocess a file or all scans of a folder, into the same folders below `out`.

    A scan whose NAME_qc.json has the file's hash, this version and this spacing is skipped,
    whether it was taken or refused.

    Args:
        source: a scan or a folder of scans.
        out: folder for the results.
        spacing_mm: voxel edge of the registered volumes, 2 or 1.
        workers: scans at a time; as many as processors if None.
        progress: called with scans ended and scans in all.

    Raises:
        ScanError: there is no scan.
    """
    paths = scans_in(source)
    root = source if source.is_dir() else source.parent
    processors = len(os.sched_getaffinity(0))
    at_a_time = max(1, min(workers or processors, len(paths)))
    jobs = [
        _Job(
            path,
            str(path.relative_to(root)),
            out / path.parent.relative_to(root),
            spacing_mm,
            max(1, processors // at_a_time),
        )
        for path in paths
    ]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ml.data.preprocessing"])
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(at_a_time) as pool:
        waiting = {pool.submit(_one, job, context): job for job in jobs}
        for ended in as_completed(waiting):
            outcomes[waiting[ended].name] = ended.result()
            if progress is not None:
                progress(len(outcomes), len(jobs))
    return [outcomes[job.name] for job in jobs]


def _one(job: _Job, context: Any) -> Outcome:
    before = _done_before(job)
    if before is not None:
        return before
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(there, job))
    process.start()
    there.close()
    try:
        state, reason = here.recv() if here.poll(SCAN_S) else ("failed", f"No end in {SCAN_S} s.")
    except EOFError:
        process.join()
        state = "failed"
        reason = f"Its process ended with status {process.exitcode} and gave no reason."
    finally:
        process.kill()
        process.join()
        here.close()
    return Outcome(job.name, state, reason)


def _done_before(job: _Job) -> Outcome | None:
    name = scan_name(job.source)
    try:
        report = json.loads((job.out / f"{name}_qc.json").read_text(encoding="utf-8"))
        same = (report["version"], report["spacing_mm"]) == (VERSION, job.spacing_mm)
        if not same or report["source_sha256"] != sha256_of(job.source):
            return None
        if not report["passed"]:
            there = (job.out / f"{name}_qc.png").exists()
            return Outcome(job.name, "refused", " ".join(report["problems"])) if there else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    volume = job.out / f"{name}_mni152_{job.spacing_mm}mm.nii.gz"
    whole = volume.exists() and (job.out / f"{name}_mask.nii.gz").exists()
    return Outcome(job.name, "skipped") if whole else None


def _work(there: Connection, job: _Job) -> None:
    """Run in the child: limits first, then the scan."""
    resource.setrlimit(resource.RLIMIT_AS, (SCAN_BYTES, SCAN_BYTES))
    torch.set_num_threads(job.threads)
    use_threads(job.threads)
    try:
        check_scan_name(job.source.name)
        preprocess(job.source, job.out, spacing_mm=job.spacing_mm)
    except (ScanError, ScanFileError) as error:
        there.send(("refused", str(error)))
    except MemoryError:
        there.send(("failed", f"It needs more than {SCAN_BYTES // 2**30} GiB of memory."))
    else:
        there.send(("done", ""))


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Counts by state, then every file that did not go in, for people and for --json."""
    states = [outcome.state for outcome in outcomes]
    return {
        "scans": len(outcomes),
        "counts": {state: states.count(state) for state in sorted(set(states))},
        "not_in": [asdict(outcome) for outcome in outcomes if not outcome.went_in],
    }
