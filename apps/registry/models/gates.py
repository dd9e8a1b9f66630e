"""The evidence for a promotion: people whom no training sees, and two bundles judged on them."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from apps.jobs.models import Job, JobQuerySet
from apps.patients.models import Cohort
from apps.registry.models.bundles import Bundle


class HoldoutQuerySet(JobQuerySet["Holdout"]):
    """Chainable questions about holdouts."""


class Holdout(Job):
    """People set aside to judge bundles by. Once frozen (SUCCEEDED) nothing of it changes."""

    QUEUE: ClassVar[str] = "training"
    TASK: ClassVar[str] = "apps.registry.tasks.freeze_holdout_task"
    SOFT_LIMIT_S: ClassVar[int] = 2 * 3600

    name = models.CharField(max_length=100, unique=True)
    cohorts = models.ManyToManyField(Cohort, related_name="holdouts", blank=True)
    phantoms = models.PositiveIntegerField(
        null=True, help_text="Invented people, in place of cohorts."
    )
    seed = models.PositiveIntegerField(default=1, help_text="Of the invented people.")
    spacing_mm = models.FloatField(default=2.0, help_text="Voxel edge of its scans.")
    people = models.PositiveIntegerField(default=0)
    people_with_ad = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of all that is in its folder.")
    retired_at = models.DateTimeField(null=True, help_text="Judges nobody from then on.")

    objects = HoldoutQuerySet.as_manager()

    class Meta(Job.Meta):
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return self.name


class GateCheckQuerySet(JobQuerySet["GateCheck"]):
    """Chainable questions about gate checks."""


class GateCheck(Job):
    """A candidate beside the champion on a holdout, gate by gate."""

    QUEUE: ClassVar[str] = "training"
    TASK: ClassVar[str] = "apps.registry.tasks.check_gates_task"
    SOFT_LIMIT_S: ClassVar[int] = 2 * 3600

    candidate = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="gate_checks")
    champion = models.ForeignKey(
        Bundle, on_delete=models.PROTECT, null=True, related_name="+", help_text="Nobody at first."
    )
    holdout = models.ForeignKey(Holdout, on_delete=models.PROTECT, related_name="gate_checks")
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    gates = models.JSONField(default=list, help_text="ml.card.Gate, one entry a gate.")
    report = models.JSONField(default=dict, help_text="Every figure that was looked at.")

    objects = GateCheckQuerySet.as_manager()

    class Meta(Job.Meta):
        ordering = ["-requested_at"]
        verbose_name = "gate check"
        constraints = [
            *Job.Meta.constraints,
            models.CheckConstraint(
                condition=Q(champion=None) | ~Q(champion=F("candidate")),
                name="nobody_is_checked_against_oneself",
            ),
        ]

    def __str__(self) -> str:
        return f"Gates of {self.candidate}"
