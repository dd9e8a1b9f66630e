"""How a worker process reports that it is alive. Connected to Celery's signals in mirage_web."""

import time
from typing import Any

from django.db import close_old_connections
from django.db.models.functions import Now

from apps.jobs.models import Worker

REPORT_EVERY_S = 4


class Reporter:
    """Writes one row for its worker process every few seconds, as long as it serves its queues."""

    def __init__(self) -> None:
        self._name = ""
        self._queues: list[str] = []
        self._reported_at = float("-inf")

    def ready(self, sender: Any, **_: Any) -> None:
        """The worker is connected and takes jobs. `sender` is Celery's consumer."""
        self._name = sender.hostname
        self._queues = sorted(queue.name for queue in sender.task_consumer.queues)
        self._reported_at = float("-inf")
        self.beat()

    def beat(self, **_: Any) -> None:
        """The worker is connected still."""
        if not self._name or time.monotonic() - self._reported_at < REPORT_EVERY_S:
            return
        close_old_connections()
        Worker.objects.update_or_create(
            name=self._name, defaults={"queues": self._queues, "seen_at": Now()}
        )
        self._reported_at = time.monotonic()

    def gone(self, **_: Any) -> None:
        """The worker has stopped in order."""
        if self._name:
            Worker.objects.filter(name=self._name).delete()
