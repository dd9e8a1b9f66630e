"""A child process of a worker: what crashes, hangs or eats memory does it there, and alone.

It gets an environment that holds no secret and a session of its own, and dies with its worker.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from django.conf import settings

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


def start_child(
    module: str,
    arguments: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    passed_on: Sequence[str] = (),
    talks: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a module of ours as a child of this worker.

    Args:
        module: run as `python -m`.
        arguments: what it is told.
        folder: its working directory, and where it may leave temporary files.
        environment: variables that it gets beside the few that every program needs.
        passed_on: more names of variables that it gets as they are here.
        talks: whether it is listened to on its standard output, and asked on its standard input;
            else both lead nowhere, as what libraries print always does: it may quote a record.
    """
    parent = os.getpid()

    def tie_to_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the tie was made
            os._exit(1)

    known = {name: os.environ[name] for name in (*_PASSED_ON, *passed_on) if name in os.environ}
    pipe = subprocess.PIPE if talks else subprocess.DEVNULL
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=known | {"TMPDIR": str(folder), "PYTHONPATH": str(settings.BASE_DIR), **environment},
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=tie_to_parent,  # noqa: PLW1509 - the worker's threads hold no locks it needs
    )


def end_child(process: "subprocess.Popen[bytes]") -> None:
    """Kill a child and what it started, if anything is left of them."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def memory_bytes_of(process: "subprocess.Popen[bytes]") -> int:
    """Resident memory of a child and what it started; 0 where the kernel does not say."""
    pages = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            session = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3])
            if session == process.pid:
                pages += int((folder / "statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it has just ended
    return pages * os.sysconf("SC_PAGE_SIZE")
