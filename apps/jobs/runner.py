"""What keeps the queue honest: lost jobs come back, unsent ones are sent."""

import logging
from collections.abc import Iterator
from datetime import timedelta

from django.apps import apps
from django.conf import settings

from apps.jobs import queue
from apps.jobs.models import Job, JobQuerySet, Worker

logger = logging.getLogger(__name__)
MOST_SENT_AT_ONCE = 500
FORGET_WORKERS_AFTER = timedelta(days=1)


def sweep() -> None:
    """Take jobs back from lost workers and send queued ones that no message stands for."""
    silent = timedelta(seconds=settings.MIRAGE_JOB_RESEND_S)
    for jobs in _all_jobs():
        if back := jobs.requeue_lost():
            logger.warning("%d %s came back from lost workers", back, jobs.model.kind())
        if failed := jobs.fail_lost():
            logger.error("%d %s lost their worker too often", failed, jobs.model.kind())
        for job in jobs.unsent(resend_after=silent)[:MOST_SENT_AT_ONCE]:
            if not queue.send(job):
                return
    Worker.objects.silent(since=FORGET_WORKERS_AFTER).delete()


def _all_jobs() -> Iterator[JobQuerySet[Job]]:
    for model in apps.get_models():
        if issubclass(model, Job):
            yield model._default_manager.all()  # type: ignore[misc]
