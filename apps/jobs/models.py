"""A job is a row. Celery only says "look at this row"; what happened to it is written here.

A worker takes a job by a conditional UPDATE that gives it an attempt number and a lease. It keeps
the lease alive while it works, and whatever it writes is written under that attempt: a worker that
was thought dead and comes back finds its attempt outdated and writes nothing.
"""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django_stubs_ext.db.models import TypedModelMeta

MAX_TRIES = 3
LOST_REASON = (
    f"The worker was lost {MAX_TRIES} times while it worked on this (out of memory, or stopped by "
    "force). Retry it; if it fails again, tell the administrator its number."
)


class JobState(models.TextChoices):
    """Where a job stands."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


TRANSITIONS: Mapping[tuple[JobState, JobState], str] = {
    (JobState.QUEUED, JobState.RUNNING): "a worker claims it",
    (JobState.QUEUED, JobState.CANCELLED): "a user cancels it",
    (JobState.RUNNING, JobState.SUCCEEDED): "the worker records the result",
    (JobState.RUNNING, JobState.FAILED): "the worker records the reason, or was lost too often",
    (JobState.RUNNING, JobState.QUEUED): "the lease of a lost worker ran out",
    (JobState.RUNNING, JobState.CANCELLED): "a user cancels it; the worker stops at its next step",
    (JobState.FAILED, JobState.QUEUED): "a user retries it",
    (JobState.CANCELLED, JobState.QUEUED): "a user retries it",
}
ACTIVE_STATES = frozenset({JobState.QUEUED, JobState.RUNNING})
FINAL_STATES = frozenset(JobState) - ACTIVE_STATES

J_co = TypeVar("J_co", bound="Job", covariant=True)


class JobQuerySet(models.QuerySet[J_co]):
    """Chainable questions about jobs, and the steps between states.

    Each step is one conditional UPDATE that says whether it happened. All times are the
    database's, so that machines whose clocks differ agree on who holds a lease.
    """

    def active(self) -> "JobQuerySet[J_co]":
        return self.filter(state__in=ACTIVE_STATES)

    def claim(self, pk: uuid.UUID, *, worker: str, lease: timedelta) -> int | None:
        """Take a job for a worker: a queued one, or one whose worker let its lease run out.

        Returns:
            The number of the new attempt, or None if the job is not to be had.
        """
        to_be_had = Q(state=JobState.QUEUED) | Q(state=JobState.RUNNING, lease_until__lt=Now())
        with transaction.atomic():
            claimed = self.filter(to_be_had, pk=pk, tries__lt=MAX_TRIES).update(
                state=JobState.RUNNING,
                attempt=F("attempt") + 1,
                tries=F("tries") + 1,
                worker=worker,
                started_at=Now(),
                lease_until=Now() + lease,
            )
            return self.values_list("attempt", flat=True).get(pk=pk) if claimed else None

    def held(self, pk: uuid.UUID, *, attempt: int) -> "JobQuerySet[J_co]":
        """The job, as long as this attempt still holds it."""
        return self.filter(pk=pk, attempt=attempt, state=JobState.RUNNING, lease_until__gte=Now())

    def extend_lease(self, pk: uuid.UUID, *, attempt: int, lease: timedelta) -> bool:
        return self.held(pk, attempt=attempt).update(lease_until=Now() + lease) == 1

    def finish(self, pk: uuid.UUID, *, attempt: int, **results: Any) -> bool:
        """End a job well, and write its own result fields in the same step."""
        return self._end(self.held(pk, attempt=attempt), JobState.SUCCEEDED, **results)

    def fail(self, pk: uuid.UUID, *, attempt: int, reason: str) -> bool:
        return self._end(self.held(pk, attempt=attempt), JobState.FAILED, reason=reason)

    def give_back(self, pk: uuid.UUID, *, attempt: int) -> bool:
        """Put a job back that could not be done now, through no fault of its own."""
        return self._requeue(self.held(pk, attempt=attempt).filter(tries__lt=MAX_TRIES)) == 1

    def cancel(self, pk: uuid.UUID) -> bool:
        return self._end(self.filter(pk=pk, state__in=ACTIVE_STATES), JobState.CANCELLED)

    def retry(self, pk: uuid.UUID) -> bool:
        """Queue a failed or cancelled job again, with all its tries."""
        ended = self.filter(pk=pk, state__in=[JobState.FAILED, JobState.CANCELLED])
        return self._requeue(ended, tries=0) == 1

    def requeue_lost(self) -> int:
        """Put jobs back whose worker was lost, unless that has happened too often."""
        return self._requeue(self._lost().filter(tries__lt=MAX_TRIES))

    def fail_lost(self) -> int:
        """Give up on jobs that lost their worker at every try."""
        return (
            self._lost()
            .filter(tries__gte=MAX_TRIES)
            .update(
                state=JobState.FAILED,
                reason=LOST_REASON,
                worker="",
                lease_until=None,
                finished_at=Now(),
            )
        )

    def unsent(self, *, resend_after: timedelta) -> "JobQuerySet[J_co]":
        """Queued jobs that the broker never got, or whose message seems to be lost."""
        silent = Q(sent_at=None) | Q(sent_at__lt=Now() - resend_after)
        return self.filter(silent, state=JobState.QUEUED).order_by("queued_at")

    def _lost(self) -> "JobQuerySet[J_co]":
        return self.filter(state=JobState.RUNNING, lease_until__lt=Now())

    def _end(self, jobs: "JobQuerySet[J_co]", state: JobState, **changes: Any) -> bool:
        ended = jobs.update(state=state, worker="", lease_until=None, finished_at=Now(), **changes)
        return ended == 1

    def _requeue(self, jobs: "JobQuerySet[J_co]", **changes: int) -> int:
        return jobs.update(
            state=JobState.QUEUED,
            worker="",
            lease_until=None,
            finished_at=None,
            reason="",
            queued_at=Now(),
            sent_at=None,
            **changes,
        )


class Job(models.Model):
    """Something a worker does once for a user, in at most three tries."""

    QUEUE: ClassVar[str]
    TASK: ClassVar[str]  # the dotted name of the task that carries the job out
    SOFT_LIMIT_S: ClassVar[int]  # after which the job fails with a reason

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField()
    state = models.CharField(max_length=9, choices=JobState.choices, default=JobState.QUEUED)
    attempt = models.PositiveIntegerField(default=0, help_text="How often it was ever claimed.")
    tries = models.PositiveSmallIntegerField(default=0, help_text="Claims since a user asked.")
    queued_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, help_text="When the broker last took its message.")
    started_at = models.DateTimeField(null=True, help_text="Start of the newest attempt.")
    lease_until = models.DateTimeField(null=True, help_text="Until when its worker holds it.")
    worker = models.CharField(max_length=200, blank=True)
    finished_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True, help_text="Why it failed, in words for the user.")

    class Meta(TypedModelMeta):
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=JobState.values), name="%(class)s_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(tries__lte=MAX_TRIES) & Q(tries__lte=F("attempt")),
                name="%(class)s_tries_are_few",
            ),
            models.CheckConstraint(
                condition=Q(state="running", lease_until__isnull=False, started_at__isnull=False)
                & ~Q(worker="")
                | ~Q(state="running") & Q(lease_until=None, worker=""),
                name="%(class)s_leased_exactly_when_running",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=["succeeded", "failed", "cancelled"], finished_at__isnull=False
                )
                | Q(state__in=["queued", "running"], finished_at=None),
                name="%(class)s_ended_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=Q(state="failed") & ~Q(reason="") | ~Q(state="failed") & Q(reason=""),
                name="%(class)s_reason_exactly_when_failed",
            ),
        ]

    @classmethod
    def kind(cls) -> str:
        """What a log or a message calls such jobs."""
        return str(cls._meta.verbose_name)

    @property
    def queue_name(self) -> str:
        """The queue that this one waits in."""
        return self.QUEUE

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES


class WorkerQuerySet(models.QuerySet["Worker"]):
    """Chainable questions about workers."""

    def alive(self, *, within: timedelta) -> "WorkerQuerySet":
        return self.filter(seen_at__gte=Now() - within)

    def silent(self, *, since: timedelta) -> "WorkerQuerySet":
        return self.filter(seen_at__lt=Now() - since)


class Worker(models.Model):
    """A worker process that has reported itself, and when it last did."""

    name = models.CharField(primary_key=True, max_length=200)
    queues = models.JSONField(help_text="Names of the queues that it serves.")
    seen_at = models.DateTimeField()

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
