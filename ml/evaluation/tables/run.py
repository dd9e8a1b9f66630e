"""Make the cells of a run: two at a time, each after what it needs, and again only what changed."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from ml.evaluation.tables.cells import Bench, with_needs
from ml.evaluation.tables.registry import CELLS, ROWS
from ml.evaluation.tables.settings import TablesError, TableSettings

Job = tuple[int, str]
"""Seed and cell."""
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Outcome:
    """What became of the cells of a run.

    Attributes:
        made, kept: how many were made now, and how many there were already.
        failed: what went wrong, by seed and cell.
        left_out: cells that need one that failed.
    """

    made: int = 0
    kept: int = 0
    failed: dict[Job, str] = field(default_factory=dict)
    left_out: list[Job] = field(default_factory=list)


def chosen_rows(names: Sequence[str]) -> list[str]:
    """The rows that were asked for; all if none were.

    Raises:
        TablesError: there is no such row.
    """
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise TablesError(f"There is no row `{unknown[0]}`; there are {', '.join(ROWS)}.")
    return list(names) or list(ROWS)


def make_cells(
    out: Path,
    settings: TableSettings,
    seeds: Sequence[int],
    cells: Sequence[str],
    *,
    workers: int,
    progress: Progress,
) -> Outcome:
    """Make what is not there yet; a cell that fails stops only those that need it.

    Args:
        out: folder of the run.
        seeds: in this order; the cells of the first are made first.
        cells: that are wanted; what they need is made too.
        workers: processes; 1 makes everything in this one.
        progress: called with a line about the cell, cells done and cells in all.
    """
    bench = Bench(out, settings, CELLS)
    ordered = with_needs(CELLS, cells)
    jobs = [(seed, name) for seed in seeds for name in ordered]
    todo = [job for job in jobs if not bench.is_made(job[1], job[0])]
    outcome, clock = Outcome(kept=len(jobs) - len(todo)), _Clock(bench, seeds, len(jobs), progress)
    clock.start(todo, outcome.kept)
    if workers == 1:
        for job in todo:
            if _is_blocked(job, outcome):
                outcome.left_out.append(job)
                continue
            try:
                bench.make(job[1], job[0])
                outcome.made += 1
            except (TablesError, ValueError, OSError, RuntimeError) as error:
                outcome.failed[job] = f"{type(error).__name__}: {error}"
            clock.tell(job)
        return outcome
    # "spawn", because forking a process in which torch has started threads can hang.
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start, (out, settings)
    ) as pool:
        _run_in_pool(pool, workers, todo, outcome, clock)
    return outcome


def _run_in_pool(
    pool: ProcessPoolExecutor, workers: int, todo: list[Job], outcome: Outcome, clock: "_Clock"
) -> None:
    waiting, running = list(todo), dict[Future[None], Job]()
    while waiting or running:
        for job in list(waiting):
            if _is_blocked(job, outcome):
                waiting.remove(job)
                outcome.left_out.append(job)
        for job in list(waiting):
            open_needs = {(job[0], need) for need in CELLS[job[1]].needs}
            if len(running) < workers and not open_needs & {*waiting, *running.values()}:
                waiting.remove(job)
                running[pool.submit(_make, job)] = job
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            job = running.pop(future)
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                raise TablesError(
                    f"The process that made {job[1]} of seed {job[0]} was ended from outside, "
                    "perhaps for want of memory. Run the same command again: it goes on there."
                ) from error
            if error is None:
                outcome.made += 1
            else:
                outcome.failed[job] = f"{type(error).__name__}: {error}"
            clock.tell(job)


def _is_blocked(job: Job, outcome: Outcome) -> bool:
    stopped = {*outcome.failed, *outcome.left_out}
    return any((job[0], need) in stopped for need in CELLS[job[1]].needs)


_benches: list[Bench] = []  # of a worker process


def _start(out: Path, settings: TableSettings) -> None:
    import torch

    torch.set_num_threads(1)  # two threads on busy cores are slower than one (method.md trap 12)
    _benches.append(Bench(out, settings, CELLS))


def _make(job: Job) -> None:
    seed, name = job
    _benches[0].make(name, seed)


class _Clock:
    """Tells what is done and how long the rest will take, by what each cell took before."""

    def __init__(self, bench: Bench, seeds: Sequence[int], total: int, progress: Progress) -> None:
        self._bench, self._seeds, self._total, self._progress = bench, seeds, total, progress
        self._left: list[Job] = []
        self._spent = 0.0
        self._made = 0
        self._done = 0
        self._before = time.monotonic()

    def start(self, todo: list[Job], kept: int) -> None:
        self._left, self._done, self._before = list(todo), kept, time.monotonic()
        self._progress(f"{kept} cells are there", self._done, self._total)

    def tell(self, job: Job) -> None:
        self._left.remove(job)
        self._done += 1
        self._made += 1
        self._spent = time.monotonic() - self._before
        line = f"seed {job[0]}: {job[1]}"
        if self._left:
            line += f", about {self._minutes_left():.0f} min left"
        self._progress(line, self._done, self._total)

    def _minutes_left(self) -> float:
        """What other seeds took for the same cells, at the pace of this run; else its mean pace."""
        known: dict[str, float] = {}
        for name in {name for _, name in self._left}:
            for seed in self._seeds:
                if self._bench.is_made(name, seed):
                    known[name] = self._bench.seconds(name, seed)
        made = [
            self._bench.seconds(name, seed)
            for seed in self._seeds
            for name in CELLS
            if self._bench.is_made(name, seed)
        ]
        usual = sum(made) / len(made) if made else 0.0
        work = sum(known.get(name, usual) for _, name in self._left)
        side_by_side = max(1.0, self._made * usual / max(self._spent, 1e-9))
        return work / min(side_by_side, 2.0) / 60
