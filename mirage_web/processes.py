"""Child processes that never outlive the program that started them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(death_signal: signal.Signals) -> None:
    """On Linux, let the kernel send this process a signal when its parent's thread ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal)


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that Ctrl-C reaches its parent alone.

    On Linux the kernel sends it `death_signal` when the thread that called this ends, however it
    ends: a killed parent leaves nothing behind.
    """
    parent = os.getpid()

    def tie_to_parent() -> None:
        die_with_parent(death_signal)
        if os.getppid() != parent:  # it died before the tie was made
            os._exit(1)

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - only programs named by our own code
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else {**os.environ, **env},
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            start_new_session=True,
            preexec_fn=tie_to_parent,  # noqa: PLW1509 - the caller's threads hold no locks it needs
        )


def stop(
    process: subprocess.Popen[bytes],
    *,
    first: signal.Signals = signal.SIGTERM,
    patience_s: float = 10,
) -> None:
    """Ask a program to end; after `patience_s` end it and all it started."""
    if process.poll() is None:
        process.send_signal(first)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    end_session(process)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and what is left of all it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
