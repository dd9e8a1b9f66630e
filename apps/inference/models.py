"""Inference runs, the predictions they make and the pseudo-MRIs decoded from them."""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from apps.accounts.models import User
from apps.jobs.models import Job, JobQuerySet
from apps.patients.models import Cohort, Patient
from apps.registry.models import Bundle
from ml.records import Answer


class InferenceRunQuerySet(JobQuerySet["InferenceRun"]):
    """Chainable questions about runs."""

    def visible_to(self, user: User) -> "InferenceRunQuerySet":
        return self.filter(cohort__in=Cohort.objects.visible_to(user))


class InferenceRun(Job):
    """One request to predict for one patient, or for every patient of a cohort."""

    QUEUE: ClassVar[str] = "surrogate"
    TASK: ClassVar[str] = "apps.inference.tasks.execute_run_task"
    SOFT_LIMIT_S: ClassVar[int] = 25 * 60

    number = models.PositiveIntegerField(help_text="Counts from 1 within the cohort.")
    cohort = models.ForeignKey(Cohort, on_delete=models.CASCADE, related_name="runs")
    patient = models.ForeignKey(
        Patient,
        on_delete=models.CASCADE,
        null=True,
        related_name="runs",
        help_text="Nobody in particular where the whole cohort is meant.",
    )
    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="runs")
    total = models.PositiveIntegerField(help_text="Patients to predict for.")
    done = models.PositiveIntegerField(default=0, help_text="Patients predicted so far.")

    objects = InferenceRunQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = "run"
        ordering = ["-requested_at"]
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(fields=["cohort", "number"], name="one_run_per_number"),
            models.UniqueConstraint(
                fields=["cohort", "patient"],
                condition=Q(state__in=["queued", "running"]),
                nulls_distinct=False,
                name="one_active_run_per_patient_and_cohort",
            ),
            models.CheckConstraint(condition=Q(done__lte=F("total")), name="done_within_total"),
        ]
        indexes = [models.Index(fields=["state", "queued_at"], name="run_state_queued")]

    def __str__(self) -> str:
        return f"Run {self.number} ({self.state})"

    def get_absolute_url(self) -> str:
        return reverse("inference:run", args=[self.pk])


class PredictionQuerySet(models.QuerySet["Prediction"]):
    """Chainable questions about predictions."""

    def visible_to(self, user: User) -> "PredictionQuerySet":
        return self.filter(run__in=InferenceRun.objects.visible_to(user))

    def newest(self) -> "PredictionQuerySet":
        """For each patient the prediction made last."""
        return self.filter(is_newest=True)


class Prediction(models.Model):
    """What one run says about one patient."""

    ANSWERS = [
        (Answer.AD, "Alzheimer's disease more likely"),
        (Answer.CN, "Cognitively normal more likely"),
        (Answer.UNCERTAIN, "Uncertain"),
        (Answer.OUTSIDE, "Outside the training data"),
        (Answer.TOO_FEW, "Too few inputs"),
    ]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(InferenceRun, on_delete=models.CASCADE, related_name="predictions")
    patient = models.ForeignKey(Patient, on_delete=models.CASCADE, related_name="predictions")
    attempt = models.PositiveIntegerField(help_text="The run's attempt that wrote it.")
    answer = models.CharField(max_length=9, choices=ANSWERS)
    probability = models.FloatField(null=True, help_text="Calibrated P(AD), 0 to 1.")
    low = models.FloatField(null=True, help_text="Lower bound of its 95 % interval.")
    high = models.FloatField(null=True, help_text="Upper bound of its 95 % interval.")
    missing = models.JSONField(default=list, help_text="Concepts that the record lacked.")
    reasons = models.JSONField(default=list, help_text="Why there is no probability, as sentences.")
    created_at = models.DateTimeField()
    is_newest = models.BooleanField(
        default=False, editable=False, help_text="Of its patient; kept by triggers."
    )

    objects = PredictionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["patient"],
                condition=Q(is_newest=True),
                name="one_newest_prediction_per_patient",
            ),
            models.UniqueConstraint(fields=["run", "patient"], name="one_prediction_per_run"),
            models.CheckConstraint(
                condition=Q(  # isnull too: SQL lets NULL through a CHECK
                    answer__in=["ad", "cn", "uncertain"],
                    probability__isnull=False,
                    low__isnull=False,
                    high__isnull=False,
                    probability__gte=0,
                    probability__lte=1,
                    low__gte=0,
                    low__lte=F("high"),
                    high__lte=1,
                )
                | Q(answer__in=["outside", "too_few"], probability=None, low=None, high=None),
                name="probability_exactly_when_answered",
            ),
        ]
        indexes = [
            models.Index(fields=["patient", "-created_at"], name="prediction_newest"),
            models.Index(  # lists and counts of answers read it alone
                fields=["run"],
                include=["patient", "answer", "probability", "created_at"],
                condition=Q(is_newest=True),
                name="prediction_newest_of_run",
            ),
        ]

    def __str__(self) -> str:
        return f"Prediction {self.pk}"


class PseudoMRIQuerySet(JobQuerySet["PseudoMRI"]):
    """Chainable questions about pseudo-MRIs."""

    def visible_to(self, user: User) -> "PseudoMRIQuerySet":
        return self.filter(prediction__in=Prediction.objects.visible_to(user))


class PseudoMRI(Job):
    """A volume decoded from the record behind a prediction: synthetic, and marked so."""

    QUEUE: ClassVar[str] = "decode"
    TASK: ClassVar[str] = "apps.inference.tasks.decode_pseudo_mri_task"
    SOFT_LIMIT_S: ClassVar[int] = 4 * 60

    prediction = models.OneToOneField(
        Prediction, on_delete=models.CASCADE, related_name="pseudo_mri"
    )
    file = models.CharField(max_length=200, blank=True, help_text="Path below the media folder.")
    sha256 = models.CharField(max_length=64, blank=True)
    bytes = models.PositiveBigIntegerField(null=True)

    objects = PseudoMRIQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = "pseudo-MRI"
        constraints = [
            *Job.Meta.constraints,
            models.CheckConstraint(
                condition=Q(
                    state="succeeded",
                    sha256__regex=r"^[0-9a-f]{64}$",
                    bytes__isnull=False,
                    bytes__gt=0,
                )
                & ~Q(file="")
                | ~Q(state="succeeded") & Q(file="", sha256="", bytes=None),
                name="pseudomri_file_exactly_when_succeeded",
            ),
        ]
        indexes = [models.Index(fields=["state", "queued_at"], name="pseudomri_state_queued")]

    def __str__(self) -> str:
        return f"Pseudo-MRI {self.pk} ({self.state})"

    def get_absolute_url(self) -> str:
        return reverse("inference:pseudo-mri", args=[self.pk])
