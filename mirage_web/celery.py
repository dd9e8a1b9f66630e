"""The Celery application: how a worker starts, logs and reports that it is alive."""

import os
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mirage_web.settings")
app = Celery("mirage_web")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.setup_logging.connect
def _leave_logging_to_django(**_: Any) -> None:
    """Django's settings say how to log; connecting here keeps Celery from its own set-up."""


@signals.worker_init.connect
def _report_life(**_: Any) -> None:
    from apps.jobs.worker import Reporter  # noqa: PLC0415 - models need Django to be set up

    reporter = Reporter()
    signals.worker_ready.connect(reporter.ready, weak=False)
    signals.heartbeat_sent.connect(reporter.beat, weak=False)
    signals.worker_shutdown.connect(reporter.gone, weak=False)


@signals.worker_process_init.connect
def _warm_up(**_: Any) -> None:
    """Load the model before the first job comes, in processes that will need it."""
    if {"surrogate", "decode"} & set(app.amqp.queues.consume_from):
        from apps.inference.engine import warm_up  # noqa: PLC0415 - models need Django to be set up

        warm_up()
