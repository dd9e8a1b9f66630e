"""The embedded servers: private, kept between starts, and never left behind."""

import os
import signal
import stat
import subprocess
import sys
import textwrap

import psutil
import psycopg
import pytest
import redis
from django.core.exceptions import ImproperlyConfigured

from mirage_web import embedded
from tests.conftest import ROOT


def connect(data_dir):
    database = embedded.database(data_dir)
    return psycopg.connect(
        host=database["HOST"], user=database["USER"], dbname=database["NAME"], autocommit=True
    )


def valkey(data_dir):
    url = embedded.broker_url(data_dir).replace("redis+socket", "unix")
    return redis.Redis.from_url(url)


def of_folder(data_dir):
    """Processes that were started on a data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and str(data_dir) in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_data_outlive_a_restart_and_processes_do_not(tmp_path):
    with embedded.running(tmp_path):
        with connect(tmp_path) as database:
            assert database.info.server_version >= 180000
            database.execute("CREATE TABLE kept AS SELECT 7 AS n")
        with valkey(tmp_path) as client:
            client.rpush("surrogate", "job")
    assert not of_folder(tmp_path)

    with embedded.running(tmp_path):
        with connect(tmp_path) as database:
            assert database.execute("SELECT n FROM kept").fetchone() == (7,)
        with valkey(tmp_path) as client:
            assert client.lrange("surrogate", 0, -1) == [b"job"]
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_only_this_user_can_reach_the_servers(tmp_path):
    with embedded.running(tmp_path, durable=False):
        folder = embedded.socket_folder(tmp_path)
        assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "postgres" / ".s.PGSQL.5432").stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "valkey.sock").stat().st_mode) == 0o700
        ports = [c for p in of_folder(tmp_path) for c in p.net_connections("inet") if c.laddr]
        assert not ports


def test_a_data_folder_with_a_long_name_works(tmp_path):
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)

    with embedded.running(deep, durable=False), connect(deep) as database:
        assert database.execute("SELECT 1").fetchone() == (1,)


OWNER = """
import sys, time
from pathlib import Path
from mirage_web import embedded
with embedded.running(Path(sys.argv[1]), owner=sys.argv[2], durable=False):
    print("running", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    """Another program that runs the servers of a folder."""
    started = []

    def start(name="demo"):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path), name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "running\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_killing_the_owner_with_9_leaves_no_server_behind(owner, tmp_path, wait_until):
    process = owner()
    assert len(of_folder(tmp_path)) >= 3

    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    wait_until(lambda: not of_folder(tmp_path), seconds=20)


def test_after_a_kill_the_next_start_works_at_once(owner, tmp_path):
    process = owner()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    with embedded.running(tmp_path, durable=False), connect(tmp_path) as database:
        assert database.execute("SELECT 1").fetchone() == (1,)


def test_a_command_uses_the_servers_of_a_running_demo_and_leaves_them(owner, tmp_path):
    owner("demo")

    with embedded.running(tmp_path, owner="command"), connect(tmp_path):
        pass

    with connect(tmp_path) as database:
        assert database.execute("SELECT 1").fetchone() == (1,)


def test_a_second_demo_on_the_same_folder_is_refused_with_the_way_out(owner, tmp_path):
    owner("demo")

    with (
        pytest.raises(ImproperlyConfigured, match="--data-dir"),
        embedded.running(tmp_path, owner="demo"),
    ):
        pass


def test_a_failing_statement_does_not_bring_its_values_into_the_log(tmp_path):
    with embedded.running(tmp_path, durable=False), connect(tmp_path) as database:
        database.execute("CREATE TABLE person (name text UNIQUE)")
        database.execute("INSERT INTO person VALUES ('CANARY')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            database.execute("INSERT INTO person VALUES ('CANARY')")

    assert "CANARY" not in (tmp_path / "log" / "postgres.log").read_text()
