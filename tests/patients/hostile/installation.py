"""A real web server and a real import worker, whose memory and processor time are watched."""

import contextlib
import http.client
import os
import re
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from django.test import Client

from apps.jobs.models import JobState
from apps.patients.importing import services
from apps.patients.models import EhrImport
from mirage_web import processes

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "t" * 32
START_S = 90
END_S = 60
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Spent:
    """What some work cost one process: processor time, and memory above where it began."""

    cpu_s: float = 0.0
    grown_mb: float = 0.0


@dataclass
class Watched:
    """A process that must neither die nor grow."""

    pid: int
    deaths: int = 0
    _began: tuple[float, float] = field(default=(0.0, 0.0))

    def begin(self):
        (Path("/proc") / str(self.pid) / "clear_refs").write_text("5")  # forget the highest mark
        self._began = self._cpu_s(), self._status_mb("VmRSS")

    def spent(self):
        cpu, resident = self._began
        return Spent(self._cpu_s() - cpu, self._status_mb("VmHWM") - resident)

    def is_alive(self):
        return (Path("/proc") / str(self.pid) / "exe").exists()

    def _cpu_s(self):
        fields = (Path("/proc") / str(self.pid) / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def _status_mb(self, name):
        text = (Path("/proc") / str(self.pid) / "status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) / 1024


class Installation:
    """The two programs that meet an uploaded file first, on the test's database.

    Args:
        environment: leads them to the test's servers and data folder.
        folder: for their logs.

    Attributes:
        cohort, user: into which cohort who uploads; set by `sign_in`.
    """

    def __init__(self, environment, folder):
        self._folder = folder
        self.address = "127.0.0.1", _free_port()
        self.cookies = ""
        gunicorn = [
            *(sys.executable, "-m", "gunicorn", "mirage_web.wsgi", "--log-level=warning"),
            *("--workers=1", "--threads=4", "--worker-class=gthread", "--no-control-socket"),
            f"--bind={self.address[0]}:{self.address[1]}",
        ]
        worker = [sys.executable, ROOT / "manage.py", "worker", "import", "--name", "hostile"]
        environment = environment | {"MALLOC_ARENA_MAX": "2", "PYTHONPATH": str(ROOT)}
        self._programs = [
            processes.spawn(gunicorn, log=folder / "web.log", env=environment),
            processes.spawn(worker, log=folder / "import.log", env=environment),
        ]
        self.web, self.worker = (Watched(self._child(program)) for program in self._programs)
        self._wait_for(lambda: self.get("/healthz").status == 200)
        self._wait_for(lambda: "ready" in (folder / "import.log").read_text())

    def sign_in(self, cohort):
        """Be the owner of a cohort."""
        self.cohort, self.user = cohort, cohort.created_by
        client = Client()
        client.force_login(self.user)
        self.cookies = f"sessionid={client.cookies['sessionid'].value}; csrftoken={TOKEN}"

    def stop(self):
        for program in self._programs:
            processes.stop(program)

    def get(self, path, *, follow=3, **headers):
        answer = self.request("GET", path, headers={"Cookie": self.cookies} | headers)
        place = answer.headers.get("location")
        return self.get(urlsplit(place).path, follow=follow - 1) if place and follow else answer

    def upload(self, content, name="file.csv"):
        """POST a file as a browser does, but asking for the reason as JSON."""
        return self.post_form({}, {"file": (name, content)})

    def post_form(self, fields, files, *, path=None, **headers):
        limit = uuid4().hex
        body = bytearray()
        for key, value in {"csrfmiddlewaretoken": TOKEN, **fields}.items():
            body += _part(limit, f'name="{key}"') + value.encode() + b"\r\n"
        for key, (name, content) in files.items():
            body += _part(limit, f'name="{key}"; filename="{name}"') + content + b"\r\n"
        body += f"--{limit}--\r\n".encode()
        kind = f"multipart/form-data; boundary={limit}"
        sent = {"Cookie": self.cookies, "Content-Type": kind, "Accept": "application/json"}
        path = path or f"/cohorts/{self.cohort.pk}/import/"
        return self.request("POST", path, body=bytes(body), headers=sent | headers)

    def request(self, method, path, *, body=None, headers=None):
        connection = http.client.HTTPConnection(*self.address, timeout=END_S)
        try:
            with contextlib.suppress(ConnectionError):  # it may answer before it has read all
                connection.request(method, path, body=body, headers=headers or {})
            found = connection.getresponse()
            kept = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, kept, found.read().decode(errors="replace"))
        finally:
            connection.close()

    def raw(self, *parts, wait_s=END_S):
        """Send bytes as they are; returns the status line, empty if there was none."""
        with socket.create_connection(self.address, timeout=wait_s) as connection:
            with contextlib.suppress(ConnectionError):  # it may answer before it has read all
                for part in parts:
                    connection.sendall(part)
            return connection.makefile("rb").readline().decode(errors="replace")

    def raw_and_hang_up(self, *parts):
        """Send bytes and be gone before the answer."""
        with socket.create_connection(self.address) as connection:
            for part in parts:
                connection.sendall(part)

    def import_of(self, answer):
        """The import that an accepted upload led to."""
        [pk] = re.findall(r"/imports/([0-9a-f-]{36})/", answer.headers["location"])
        return EhrImport.objects.get(pk=UUID(pk))

    def work(self, ehr_import):
        """Wait until the worker has ended the newest step."""
        self._wait_for(lambda: ehr_import.step.state not in {JobState.QUEUED, JobState.RUNNING})
        ehr_import.refresh_from_db()
        return ehr_import.step

    def decide_rest(self, ehr_import):
        """Ignore every column that waits for a person."""
        for column in services.mapping_of(ehr_import=ehr_import).columns:
            if column.needs_decision:
                services.decide_column(
                    ehr_import=ehr_import, key=column.key, action="ignore", decided_by=self.user
                )

    def log(self, name):
        return (self._folder / f"{name}.log").read_text()

    def _child(self, program):
        found = Path("/proc") / str(program.pid) / "task" / str(program.pid) / "children"
        return int(self._wait_for(lambda: found.read_text().split())[0])

    def _wait_for(self, condition, *, seconds=START_S):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if found := condition():
                    return found
            except OSError:
                pass
            time.sleep(0.03)
        logs = "\n".join(path.read_text()[-2000:] for path in self._folder.glob("*.log"))
        raise AssertionError(f"not true within {seconds} s\n{logs}")


def _part(limit, disposition):
    return f"--{limit}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()


def _free_port():
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return candidate.getsockname()[1]
