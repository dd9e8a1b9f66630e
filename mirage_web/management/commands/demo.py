"""manage.py demo: everything on this machine, for trying MIRAGE out."""

import contextlib
import os
import sys
import threading
import time
import webbrowser
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from mirage_web import demo, embedded, supervisor


class Command(BaseCommand):
    help = "Start everything on this machine and serve the application on 127.0.0.1."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="8000, or the next free one")
        parser.add_argument("--data-dir", type=Path, help="where all data are kept; var by default")
        parser.add_argument("--no-browser", action="store_true", help="do not open a browser")

    def handle(self, *_: Any, **options: Any) -> None:
        self._use_data_dir(options["data_dir"])
        data_dir: Path = settings.MIRAGE_DATA_DIR
        with supervisor.stop_signals() as stopping:
            try:
                with self._servers(data_dir):
                    self._run(data_dir, options, stopping)
            except (ImproperlyConfigured, OSError) as error:
                raise CommandError(str(error)) from error
        self._say(f"Stopped. The data are kept in {data_dir}.")

    def _use_data_dir(self, wanted: Path | None) -> None:
        """Settings are read before options are, so another folder needs a new start."""
        if wanted is None or wanted.expanduser().resolve() == settings.MIRAGE_DATA_DIR:
            return
        os.environ["MIRAGE_DATA_DIR"] = str(wanted.expanduser().resolve())
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 - no shell is wanted

    def _servers(self, data_dir: Path) -> contextlib.AbstractContextManager[None]:
        if not settings.EMBEDDED:
            return contextlib.nullcontext()
        return embedded.running(data_dir, owner="demo")

    def _run(self, data_dir: Path, options: dict[str, Any], stopping: threading.Event) -> None:
        started_at = time.monotonic()
        call_command("migrate", verbosity=0, interactive=False)
        passwords = demo.make_accounts(data_dir)
        bundle_problem = demo.deploy_shipped_bundle()
        demo.make_example_cohort()
        port = supervisor.free_port(options["port"])
        if port != options["port"]:
            self._say(f"Port {options['port']} is in use; {port} is taken instead.")
        with self._programs(data_dir, port, stopping) as programs:
            complaint = self._wait(port, stopping, ready_without_bundle=bool(bundle_problem))
            if stopping.is_set():
                return
            self._say(f"Serving after {time.monotonic() - started_at:.1f} s.")
            self._welcome(port, passwords, bundle_problem or complaint)
            if not options["no_browser"] and _has_screen():
                webbrowser.open(f"http://{supervisor.HOST}:{port}/")
            programs.keep_running(stopping)
            self._say("Stopping ...")

    @contextlib.contextmanager
    def _programs(
        self, data_dir: Path, port: int, stopping: threading.Event
    ) -> Iterator[supervisor.Supervisor]:
        """All programs; the workers load the model while the static files are gathered."""
        web, *workers = supervisor.programs_of(data_dir=data_dir, port=port)
        programs = supervisor.Supervisor([*workers, web], say=self._say)
        try:
            connection.close()
            for worker in workers:
                worker.start()
            demo.collect_static_files()
            if not stopping.is_set():
                web.start()
            yield programs
        finally:
            programs.stop()

    def _wait(self, port: int, stopping: threading.Event, *, ready_without_bundle: bool) -> str:
        """Wait for the pages, then for the workers. Returns what is still amiss."""
        complaint = supervisor.wait_until_answering(
            port, "/healthz", seconds=supervisor.WEB_READY_S, stopping=stopping
        )
        if complaint and not stopping.is_set():
            raise CommandError(
                f"The web server does not answer ({complaint}). "
                f"Its log says why: {settings.MIRAGE_DATA_DIR / 'log' / 'web.log'}"
            )
        if ready_without_bundle:
            return ""
        return supervisor.wait_until_answering(
            port, "/readyz", seconds=supervisor.ALL_READY_S, stopping=stopping
        )

    def _welcome(self, port: int, passwords: dict[str, str], problem: str) -> None:
        self._say(f"\nMIRAGE serves on http://{supervisor.HOST}:{port}/\n")
        width = max(len(name) for name in passwords)
        for name, password in passwords.items():
            self._say(f"  {name:<{width}}  {password}")
        if problem:
            self._say(f"\nNot everything is ready: {problem}")
        self._say("\nCtrl-C stops it. Research software: nothing here is a diagnosis.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _has_screen() -> bool:
    """Without one, a text browser would take over the terminal."""
    return sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
