"""What the benchmarks share: a demo, an empty database, the machine's name, where results go."""

import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SHIPPED = ROOT / "bundles" / "demo"
START_LIMIT_S = 180

sys.path.insert(0, str(ROOT))


def machine() -> str:
    """Processor and number of cores, as a reader needs them to judge an absolute time."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return f"{os.cpu_count()} cores, {model}, Python {platform.python_version()}"


def record(name: str, **figures: object) -> None:
    """Write `benchmarks/results/NAME.json` and print it."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"benchmark": name, "machine": machine(), **figures}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)


@dataclass(frozen=True)
class Demo:
    """A demo that serves.

    Attributes:
        url: its address.
        accounts: user name to password.
        pid: of the supervisor.
        serving_after_s: from the start of the command to the address on the screen.
    """

    url: str
    accounts: dict[str, str]
    pid: int
    serving_after_s: float


@contextlib.contextmanager
def demo(data_dir: Path) -> Iterator[Demo]:
    """Start `manage.py demo` on a data folder, and stop it as Ctrl-C does."""
    started = time.monotonic()
    process = subprocess.Popen(
        [
            sys.executable,
            "manage.py",
            "demo",
            "--no-browser",
            "--port=8700",
            f"--data-dir={data_dir}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = ""
    try:
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line or time.monotonic() - started > START_LIMIT_S:
                break
        address = re.search(r"http://[\d.:]+/", said)
        assert address, f"the demo did not start: {said}"
        accounts = dict(re.findall(r"^  (\w+) +(\S+)$", said, flags=re.MULTILINE))
        yield Demo(address.group(), accounts, process.pid, time.monotonic() - started)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@contextlib.contextmanager
def empty_database() -> Iterator[Path]:
    """PostgreSQL and Valkey with the tables and nobody in them, open to this process.

    Yields:
        The data folder, which goes at the end.
    """
    with tempfile.TemporaryDirectory(prefix="mirage-bench-") as folder:
        use_django(Path(folder))
        from django.conf import settings
        from django.core.management import call_command

        from mirage_web import embedded

        # Pages ask for static files by their hashed names, which nobody has collected here.
        plain = "django.contrib.staticfiles.storage.StaticFilesStorage"
        settings.STORAGES["staticfiles"]["BACKEND"] = plain
        settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
        with embedded.running(Path(folder), durable=False):
            call_command("migrate", verbosity=0)
            yield Path(folder)


def use_django(data_dir: Path) -> None:
    """Open the database of a data folder from this process."""
    os.environ["MIRAGE_DATA_DIR"] = str(data_dir)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mirage_web.settings")
    import django

    django.setup()
