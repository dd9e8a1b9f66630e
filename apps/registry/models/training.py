"""Trainings: jobs that end with a bundle, and what they tell on the way."""

import uuid
from datetime import timedelta
from typing import ClassVar

from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.urls import reverse

from apps.accounts.models import User
from apps.jobs.models import Job, JobQuerySet, JobState
from apps.patients.models import Cohort
from apps.registry.models.bundles import Bundle


class TrainingRunQuerySet(JobQuerySet["TrainingRun"]):
    """Chainable questions about trainings, of which each device carries out one at a time."""

    def visible_to(self, user: User) -> "TrainingRunQuerySet":
        """Trainings are of the whole installation: admins see all of them, nobody else any."""
        return self if user.role == User.Role.ADMIN else self.none()

    def claim(self, pk: uuid.UUID, *, worker: str, lease: timedelta) -> int | None:
        """Take a training, unless its device has another one or one that was asked for before."""
        if self.ahead_of(pk).exists():
            return None
        try:
            with transaction.atomic():
                return super().claim(pk, worker=worker, lease=lease)
        except IntegrityError:  # another worker was quicker with another one
            return None

    def ahead_of(self, pk: uuid.UUID) -> "TrainingRunQuerySet":
        """Trainings that a queued one waits for: what its device does, and earlier ones."""
        device = self.filter(pk=pk).values("device")
        number = self.filter(pk=pk).values("number")
        earlier = Q(state=JobState.QUEUED, number__lt=number[:1])
        on_device = self.filter(device=device[:1]).exclude(pk=pk)
        return on_device.filter(Q(state=JobState.RUNNING) | earlier).order_by("number")

    def unsent(self, *, resend_after: timedelta) -> "JobQuerySet[TrainingRun]":
        """Those whose turn it is; a message about another one would only be taken in vain."""
        busy = self.filter(state=JobState.RUNNING).values("device")
        queued = self.filter(state=JobState.QUEUED).values("device")
        first = queued.annotate(first=models.Min("number")).values("first")
        turn = self.exclude(device__in=busy).filter(number__in=first)
        return JobQuerySet.unsent(turn, resend_after=resend_after)


class TrainingRun(Job):
    """One training, from a snapshot of its people to a registered bundle.

    It may be claimed many times: each attempt goes on from the last checkpoint of the one before.
    """

    QUEUE: ClassVar[str] = "training"
    TASK: ClassVar[str] = "apps.registry.tasks.train_task"
    SOFT_LIMIT_S: ClassVar[int] = 7 * 24 * 3600

    number = models.PositiveIntegerField(unique=True, help_text="Counts from 1.")
    plan = models.JSONField(help_text="ml.training_plan.TrainingPlan, one entry a choice.")
    cohorts = models.ManyToManyField(Cohort, related_name="training_runs", blank=True)
    phantoms = models.PositiveIntegerField(
        null=True, help_text="Invented people to train on, in place of cohorts."
    )
    note = models.TextField(blank=True, max_length=2000, help_text="What it is for, in words.")
    device = models.CharField(max_length=20, default="cpu", help_text="One run at a time on each.")
    snapshot = models.JSONField(default=dict, help_text="Hashes and counts of what went in.")
    split_sha256 = models.CharField(max_length=64, blank=True)
    stage = models.CharField(max_length=20, blank=True, help_text="One of ml.training_plan.STAGES.")
    done = models.PositiveIntegerField(default=0, help_text="Steps of the stage that are done.")
    total = models.PositiveIntegerField(default=0, help_text="Steps of the stage in all.")
    remaining_s = models.FloatField(null=True, help_text="Seconds that are left, estimated.")
    memory_mb = models.FloatField(null=True, help_text="Most memory that its process held.")
    saved_at = models.DateTimeField(null=True, help_text="When its newest checkpoint was written.")
    saved_stage = models.CharField(max_length=20, blank=True)
    saved_step = models.PositiveIntegerField(default=0)
    bundle = models.OneToOneField(
        Bundle, on_delete=models.PROTECT, null=True, related_name="training_run"
    )

    objects = TrainingRunQuerySet.as_manager()

    class Meta(Job.Meta):
        ordering = ["-number"]
        verbose_name = "training run"
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(
                fields=["device"], condition=Q(state="running"), name="one_training_per_device"
            ),
            models.CheckConstraint(
                condition=Q(state="succeeded", bundle__isnull=False)
                | ~Q(state="succeeded") & Q(bundle=None),
                name="training_has_a_bundle_exactly_when_it_succeeded",
            ),
        ]

    def __str__(self) -> str:
        return f"Training run {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("registry:training-run", args=[self.pk])

    @property
    def dropped(self) -> str:
        """Why what a resumed run would need is gone; empty if it is kept, or not made yet."""
        return str(self.snapshot.get("dropped", ""))

    @property
    def may_be_resumed(self) -> bool:
        return self.state in {JobState.FAILED, JobState.CANCELLED} and not self.dropped


class TrainingEvent(models.Model):
    """What a training told (`ml.training_plan.Event`), in the order of `seq`.

    After a resume, steps behind the checkpoint are told once more: of one step the event with the
    highest attempt counts.
    """

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField(help_text="Counts from 1 within the run.")
    attempt = models.PositiveIntegerField()
    told_at = models.DateTimeField()
    kind = models.CharField(max_length=8)
    stage = models.CharField(max_length=20)
    step = models.PositiveIntegerField(default=0)
    steps = models.PositiveIntegerField(default=0)
    values = models.JSONField(default=dict)
    text = models.TextField(blank=True)
    file = models.CharField(max_length=200, blank=True, help_text="Below the folder of the run.")

    class Meta:
        ordering = ["run", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["run", "seq"], name="one_event_per_number"),
            models.CheckConstraint(
                condition=Q(kind__in=["stage", "step", "metric", "example", "saved", "log"]),
                name="training_event_kind_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"Event {self.seq} of training run {self.run_id}"
