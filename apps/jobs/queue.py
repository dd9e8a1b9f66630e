"""Telling a worker that a job waits. The row is the truth; a message is only a nudge."""

import logging
from functools import partial

import redis
from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.jobs.models import Job, JobState

logger = logging.getLogger(__name__)
PATIENCE_S = 1


def send_on_commit(job: Job) -> None:
    """Send a job to its queue once its row is committed.

    If the broker is away the row stays queued, and the sweep sends it when the broker is back.
    """
    transaction.on_commit(partial(send, job))


def send(job: Job) -> bool:
    """Send a job to its queue now; False if the broker did not take it."""
    if not broker_answers():
        logger.warning("The broker is away; %s %s waits for the sweep", job.kind(), job.pk)
        return False
    try:
        current_app.send_task(job.TASK, kwargs={"job_id": str(job.pk)}, queue=job.queue_name)
    except OperationalError:
        logger.warning("The broker went away; %s %s waits for the sweep", job.kind(), job.pk)
        return False
    type(job)._default_manager.filter(pk=job.pk, state=JobState.QUEUED).update(sent_at=Now())
    return True


def broker_answers() -> bool:
    """Ask the broker once, briefly: Celery's own client would try for 6 s before it gives up."""
    client = redis.Redis.from_url(
        settings.MIRAGE_BROKER_PROBE_URL,
        socket_timeout=PATIENCE_S,
        socket_connect_timeout=PATIENCE_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        with client:
            return bool(client.ping())
    except redis.RedisError:
        return False
