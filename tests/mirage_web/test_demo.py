"""`manage.py demo`: everything starts, everything ends, and the data stay."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psutil
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow
START_S, STOP_S = 90, 30


def of_folder(data_dir):
    """Processes that work on a data folder, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(data_dir) in [
                process.environ().get("MIRAGE_DATA_DIR"),
                *process.cmdline(),
            ] or any(str(data_dir) in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.pid != os.getpid()]


class Demo:
    """A running demo, as its user sees it: lines on a terminal, and an address."""

    def __init__(self, data_dir, port):
        self.data_dir = data_dir
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--no-browser", f"--port={port}",
             f"--data-dir={data_dir}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        self.lines = []

    def wait_until_serving(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if "Ctrl-C" in line:
                break
        else:
            pytest.fail("The demo ended: " + "".join(self.lines))
        self.seconds = time.monotonic() - self.began
        [self.address] = re.findall(r"http://127\.0\.0\.1:\d+/", "".join(self.lines))
        return self

    def get(self, path):
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as response:  # noqa: S310
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def end(self, number):
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=STOP_S)
        self.lines.append(rest)


@pytest.fixture
def demo(tmp_path, monkeypatch, wait_until):
    for name in ("DATABASE_URL", "REDIS_URL", "MIRAGE_DATA_DIR", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.delenv(name, raising=False)
    started = []

    def start(port=8700, folder="data"):
        started.append(Demo(tmp_path / folder, port))
        return started[-1].wait_until_serving()

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.process.stdout.close()
        wait_until(lambda one=one: not of_folder(one.data_dir), seconds=STOP_S)


@pytest.mark.timeout(240)
def test_a_dead_worker_is_replaced_ctrl_c_stops_all_and_the_next_start_finds_the_data(
    demo, wait_until
):
    first = demo()
    status, page = first.get("sign-in/")
    assert (status, "MIRAGE" in page) == (200, True)
    assert len(of_folder(first.data_dir)) >= 8

    def surrogate_workers():
        return {
            process.pid
            for process in of_folder(first.data_dir)
            if any(word.startswith("--queues=surrogate") for word in process.cmdline())
        }

    before = surrogate_workers()
    assert before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: surrogate_workers() - before, seconds=START_S)

    first.end(signal.SIGINT)
    assert first.process.returncode == 0
    assert not of_folder(first.data_dir)

    second = demo()
    passwords = (first.data_dir / "keys" / "demo-accounts.json").read_text()
    for name, password in json.loads(passwords).items():
        line = re.compile(rf"{name}\s+{password}")
        assert line.search("".join(first.lines))
        assert line.search("".join(second.lines))
    assert second.seconds < START_S

    second.end(signal.SIGTERM)
    assert not of_folder(second.data_dir)


@pytest.mark.timeout(180)
def test_a_port_in_use_is_said_and_kill_9_leaves_nothing_running(demo, wait_until):
    with socket.create_server(("127.0.0.1", 8740)):
        running = demo(port=8740)
    assert "Port 8740 is in use" in "".join(running.lines)
    assert running.address == "http://127.0.0.1:8741/"
    assert running.get("healthz")[0] == 200

    running.process.kill()
    running.process.wait()

    wait_until(lambda: not of_folder(running.data_dir), seconds=STOP_S)
