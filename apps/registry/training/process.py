"""The child process in which a training runs, as the worker sees it.

Apart, so that a training which eats all memory, crashes in a driver or hangs takes nobody along;
tied to its worker, so that a killed worker leaves nothing behind that goes on writing checkpoints.
"""

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.jobs.child_process import end_child, memory_bytes_of, start_child

_DEVICES_AND_CACHE = (
    "HOME",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUBLAS_WORKSPACE_CONFIG",
)
_BLOCK = 1 << 16


class TrainingProcess:
    """One child, from its start to its end.

    Args:
        job: the JSON file that says what to do (`apps.registry.training.child`).
        folder: where it may leave temporary files.
    """

    def __init__(self, job: Path, folder: Path) -> None:
        self._process = _start(job, folder)
        self._rest = b""

    def __enter__(self) -> "TrainingProcess":
        return self

    def __exit__(self, *_: object) -> None:
        end_child(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    @property
    def status(self) -> int | None:
        """How the process ended: negative is the signal that killed it; None while it runs."""
        return self._process.poll()

    def messages(self, *, every_s: float) -> Iterator[dict[str, Any] | None]:
        """What it tells, and None at least every so many seconds, until it has ended."""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - opened by _start
        with selectors.DefaultSelector() as waiting:
            waiting.register(pipe, selectors.EVENT_READ)
            paused_at = time.monotonic()
            while True:
                left_s = every_s - (time.monotonic() - paused_at)
                if left_s <= 0 or not waiting.select(left_s):
                    paused_at = time.monotonic()
                    yield None
                    continue
                block = os.read(pipe.fileno(), _BLOCK)
                if not block:
                    break
                yield from self._lines(block)
        self._process.wait()

    def ask_to_stop(self) -> None:
        """Have it save what it has and stop at its next step."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def memory_mb(self) -> float:
        """What it and its own children hold now; 0 where the kernel does not say."""
        return memory_bytes_of(self._process) / 2**20

    def _lines(self, block: bytes) -> Iterator[dict[str, Any]]:
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _start(job: Path, folder: Path) -> "subprocess.Popen[bytes]":
    threads = str(settings.MIRAGE_TRAINING_THREADS)
    libraries = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return start_child(
        "apps.registry.training.child",
        [str(job)],
        folder=folder,
        environment=dict.fromkeys(libraries, threads),
        passed_on=_DEVICES_AND_CACHE,
        talks=True,
    )
