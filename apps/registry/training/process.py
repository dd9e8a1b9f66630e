"""The child process in which a training runs, as the worker sees it.

Apart, so that a training which eats all memory, crashes in a driver or hangs takes nobody along;
tied to its worker, so that a killed worker leaves nothing behind that goes on writing checkpoints.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PASSED_ON = (
    *("PATH", "LANG", "LC_ALL", "HOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUBLAS_WORKSPACE_CONFIG"),
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
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
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
        pages = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                if int(stat[3]) == self._process.pid:
                    pages += int((folder / "statm").read_text().split()[1])
            except (OSError, IndexError, ValueError):
                continue  # it has just ended
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _lines(self, block: bytes) -> Iterator[dict[str, Any]]:
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _start(job: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start the child in a session of its own, with an environment that holds no secret."""
    parent = os.getpid()

    def tie_to_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the tie was made
            os._exit(1)

    threads = str(settings.MIRAGE_TRAINING_THREADS)
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {
        "TMPDIR": str(folder),
        "PYTHONPATH": str(settings.BASE_DIR),
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads),
    }
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "apps.registry.training.child", str(job)],
        cwd=settings.BASE_DIR,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what libraries print may quote a record
        start_new_session=True,
        preexec_fn=tie_to_parent,  # noqa: PLW1509 - the worker's threads hold no locks it needs
    )
