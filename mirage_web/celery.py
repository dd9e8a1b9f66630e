"""The Celery application: how a worker starts, logs, reports that it is alive, and dies."""

import os
import signal
from typing import Any

from celery import Celery, signals

from apps.jobs.worker import ReportLife
from mirage_web import processes

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mirage_web.settings")
app = Celery("mirage_web")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["consumer"].add(ReportLife)


@signals.setup_logging.connect
def _leave_logging_to_django(**_: Any) -> None:
    """Django's settings say how to log; connecting here keeps Celery from its own set-up."""


@signals.worker_process_init.connect
def _begin(**_: Any) -> None:
    """Tie a pool process to its worker, and load the model where jobs will need it."""
    processes.die_with_parent(signal.SIGKILL)
    queues = set(app.amqp.queues.consume_from)
    if {"surrogate", "decode"} & queues:
        from apps.inference.engine import warm_up  # noqa: PLC0415 - models need Django set up

        warm_up(decoding="decode" in queues)


@signals.beat_embedded_init.connect
def _begin_beat(**_: Any) -> None:
    processes.die_with_parent(signal.SIGKILL)
