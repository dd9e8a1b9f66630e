"""manage.py worker ROLE: turn into the Celery worker that serves this role's queues."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

ROLES = {  # the first queue that holds something is served
    "surrogate": ["surrogate", "shadow"],
    "decode": ["decode"],
    "training": ["training"],
    "import": ["import"],
    "scan": ["scan"],
    "sweep": ["sweep"],
}
# One sweeper runs in an installation: it carries the clock (beat) and needs no process pool.
_SWEEPER = ["--pool=solo", "--beat", "--scheduler=celery.beat:Scheduler"]


class Command(BaseCommand):
    help = "Become the Celery worker of one role."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", choices=ROLES)
        parser.add_argument("--name", help="name of this worker, unique in the installation")

    def handle(self, *_: Any, **options: Any) -> None:
        role = options["role"]
        pool = _SWEEPER if role == "sweep" else ["--pool=prefork", "--concurrency=1"]
        # SIGTERM (a deploy) acts like SIGQUIT: a running task gets the few seconds of the soft
        # shutdown and then goes back to its queue at once. Celery reads this as it is imported.
        os.environ["REMAP_SIGTERM"] = "SIGQUIT"
        command = [
            *(sys.executable, "-m", "celery", "--app=mirage_web", "--quiet", "worker"),
            f"--queues={','.join(ROLES[role])}",
            f"--hostname={options['name'] or role}@%h",
            # Workers need nothing of each other; a heartbeat to a dead broker can hang a shutdown.
            *("--loglevel=INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"),
            *pool,
        ]
        os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
