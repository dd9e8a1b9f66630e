"""A bundle on people set aside: everything that is to be known of it, for everybody to read."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.jobs.models import ACTIVE_STATES, Job, JobQuerySet
from apps.registry.models.bundles import Bundle
from apps.registry.models.gates import Holdout


class EvaluationQuerySet(JobQuerySet["Evaluation"]):
    """Chainable questions about evaluations."""


class Evaluation(Job):
    """What `python -m ml evaluate` says of a bundle on a holdout; stays when the people go."""

    QUEUE: ClassVar[str] = "training"
    TASK: ClassVar[str] = "apps.registry.tasks.evaluate_task"
    SOFT_LIMIT_S: ClassVar[int] = 2 * 3600

    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="evaluations")
    holdout = models.ForeignKey(Holdout, on_delete=models.PROTECT, related_name="evaluations")
    is_quick = models.BooleanField(
        default=False, help_text="Beside logistic regression alone, with few pictures."
    )
    stage = models.CharField(max_length=100, blank=True, help_text="What is being computed.")
    done = models.PositiveIntegerField(default=0, help_text="Of the stage.")
    total = models.PositiveIntegerField(default=0, help_text="Of the stage.")
    headline = models.JSONField(default=dict, help_text="AUC with interval, people, with AD.")
    view = models.JSONField(default=dict, help_text="ml.evaluation.report.view_of: its page.")
    report_sha256 = models.CharField(max_length=64, blank=True, help_text="Of the report's file.")
    report_bytes = models.PositiveIntegerField(default=0)

    objects = EvaluationQuerySet.as_manager()

    class Meta(Job.Meta):
        ordering = ["-requested_at"]
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(
                fields=["bundle", "holdout"],
                condition=Q(state__in=[str(state) for state in sorted(ACTIVE_STATES)]),
                name="evaluated_once_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state="succeeded") & ~Q(view={}) & ~Q(headline={})
                | ~Q(state="succeeded") & Q(view={}, headline={}, report_sha256=""),
                name="evaluation_has_figures_exactly_when_succeeded",
            ),
            models.CheckConstraint(
                condition=Q(report_sha256="", report_bytes=0)
                | Q(report_sha256__regex=r"^[0-9a-f]{64}$", report_bytes__gt=0),
                name="evaluation_report_is_whole_or_gone",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.bundle} on {self.holdout}"
