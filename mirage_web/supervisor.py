"""Runs the application's processes on one machine, and ends all of them when it ends."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mirage_web import processes

HOST = "127.0.0.1"
PORTS_TRIED = 50
WEB_READY_S, ALL_READY_S = 60, 60
RESTART_AFTER_S = 1.0


@dataclass
class Program:
    """One process to keep running."""

    name: str
    command: list[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    # When this program is killed: a worker may die at once, because its job's lease outlives it.
    death_signal: signal.Signals = signal.SIGKILL
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = processes.spawn(
            self.command, log=self.log, env=self.env, death_signal=self.death_signal
        )

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


class Supervisor:
    """Starts programs, starts them again if they end, and stops them together."""

    def __init__(self, programs: list[Program], *, say: Callable[[str], None]) -> None:
        self._programs = programs
        self._say = say

    def keep_running(self, until: threading.Event) -> None:
        """Watch the programs until asked to stop."""
        while not until.wait(RESTART_AFTER_S):
            for program in self._programs:
                if program.has_ended:
                    self._say(f"{program.name} has ended and is started again ({program.log}).")
                    program.start()

    def stop(self) -> None:
        """End every program and whatever it started."""
        running = [p.process for p in self._programs if p.process is not None]
        for process in running:  # all at once, so that they take their time together
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 15
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            processes.end_session(process)


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM or a closed terminal sets; the first asks, no second needed."""
    stopping = threading.Event()
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in caught}
    for number in caught:
        signal.signal(number, lambda *_: stopping.set())
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def programs_of(*, data_dir: Path, port: int) -> list[Program]:
    """The web server and the workers of a one-machine installation."""
    logs = data_dir / "log"
    manage = [sys.executable, str(Path(__file__).resolve().parent.parent / "manage.py")]
    # Each of glibc's memory arenas keeps freed memory; two are enough for a few threads.
    common = {"MIRAGE_DATA_DIR": str(data_dir), "MALLOC_ARENA_MAX": "2"}
    decoding = {"MIRAGE_TORCH_THREADS": str(min(4, os.cpu_count() or 1))}
    gunicorn = [
        *(sys.executable, "-m", "gunicorn", "mirage_web.wsgi", f"--bind={HOST}:{port}"),
        *("--workers=2", "--threads=4", "--worker-class=gthread", "--preload"),
        *("--timeout=120", "--graceful-timeout=5", "--no-control-socket", "--log-level=warning"),
    ]
    return [
        Program("The web server", gunicorn, logs / "web.log", common, signal.SIGTERM),
        Program("The sweeper", [*manage, "worker", "sweep"], logs / "sweep.log", common),
        Program(
            "The surrogate worker", [*manage, "worker", "surrogate"], logs / "surrogate.log", common
        ),
        Program("The import worker", [*manage, "worker", "import"], logs / "import.log", common),
        Program(
            "The scan worker", [*manage, "worker", "scan"], logs / "scan.log", common | decoding
        ),
        Program(
            "The decoding worker",
            [*manage, "worker", "decode"],
            logs / "decode.log",
            common | decoding,
        ),
        Program(  # of its own, because a training takes minutes to days
            "The training worker",
            [*manage, "worker", "training"],
            logs / "training.log",
            common | {"MIRAGE_TRAINING_THREADS": decoding["MIRAGE_TORCH_THREADS"]},
        ),
    ]


def free_port(wanted: int) -> int:
    """The wanted port, or the next one that nobody listens on.

    Raises:
        OSError: none of the next ports is free.
    """
    for port in range(wanted, wanted + PORTS_TRIED):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"No port from {wanted} to {wanted + PORTS_TRIED - 1} is free.")


def wait_until_answering(port: int, path: str, *, seconds: float, stopping: threading.Event) -> str:
    """Ask a health page until it answers 200. Returns its last complaint, empty if it is well."""
    deadline = time.monotonic() + seconds
    complaint = "no answer"
    while time.monotonic() < deadline and not stopping.is_set():
        complaint = _complaint(port, path)
        if not complaint:
            return ""
        stopping.wait(0.1)
    return complaint


def _complaint(port: int, path: str) -> str:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    finally:
        connection.close()
    if response.status == http.HTTPStatus.OK:
        return ""
    with contextlib.suppress(ValueError):
        return ", ".join(f"{name}: {found}" for name, found in json.loads(body).items() if found)
    return f"status {response.status}"
