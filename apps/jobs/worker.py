"""How a worker process reports that it is alive, for pages that say when no worker is."""

import logging
from typing import Any

from celery import bootsteps
from django.db import DatabaseError, close_old_connections, connection
from django.db.models.functions import Now

logger = logging.getLogger(__name__)
REPORT_EVERY_S = 4


class ReportLife(bootsteps.StartStopStep):
    """Writes a row for its worker every few seconds, as long as it is connected to its queues.

    Celery starts it with every connection to the broker and stops it when the connection is lost.
    """

    requires = ("celery.worker.consumer:Tasks",)

    def __init__(self, consumer: Any, **_: Any) -> None:
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """The worker is connected. Celery's consumer knows its name and its queues."""
        queues = sorted(queue.name for queue in consumer.task_consumer.queues)
        _report(consumer.hostname, queues)
        self._timer = consumer.timer.call_repeatedly(
            REPORT_EVERY_S, _report, (consumer.hostname, queues)
        )

    def stop(self, consumer: Any) -> None:
        """The worker no longer takes jobs; its row turns old by itself."""
        if self._timer is not None:
            self._timer.cancel()


def _report(name: str, queues: list[str]) -> None:
    from apps.jobs.models import Worker  # noqa: PLC0415 - Celery loads this before the models

    close_old_connections()
    try:
        Worker.objects.update_or_create(name=name, defaults={"queues": queues, "seen_at": Now()})
    except DatabaseError:
        logger.warning("The database is away, so this worker cannot report that it is alive")
        connection.close()
