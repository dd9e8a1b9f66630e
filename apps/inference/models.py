"""Inference runs, their predictions, and what is made of a prediction when somebody asks.

A pseudo-MRI is decoded from it, an explanation says what moved it, and a what-if tries another
record. All are jobs: a worker computes them, never a web process.
"""

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
    input_sha256 = models.CharField(
        max_length=64, blank=True, help_text="Of the values that were read; empty if made before."
    )
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
    volumes_ml = models.JSONField(default=dict, help_text="Region to its volume in the picture.")
    volume_errors_ml = models.JSONField(
        default=dict, help_text="Region to the mean absolute error of such a reading."
    )
    cnn_probability = models.FloatField(
        null=True, help_text="Calibrated P(AD) that the bundle's CNN reads off the picture."
    )
    fused_probability = models.FloatField(
        null=True, help_text="Calibrated P(AD) of surrogate and CNN together."
    )
    donors = models.JSONField(default=dict, help_text="Of its skip features, as figures over all.")

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


class ExplanationQuerySet(JobQuerySet["Explanation"]):
    """Chainable questions about explanations."""

    def visible_to(self, user: User) -> "ExplanationQuerySet":
        return self.filter(prediction__in=Prediction.objects.visible_to(user))


class Explanation(Job):
    """What moved one prediction: `ml.explanation` and `ml.disease_paths` of its record."""

    QUEUE: ClassVar[str] = "surrogate"
    TASK: ClassVar[str] = "apps.inference.tasks.explain_task"
    SOFT_LIMIT_S: ClassVar[int] = 2 * 60

    prediction = models.OneToOneField(
        Prediction, on_delete=models.CASCADE, related_name="explanation"
    )
    content = models.JSONField(null=True)

    objects = ExplanationQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = "explanation"
        constraints = [
            *Job.Meta.constraints,
            models.CheckConstraint(
                condition=Q(state="succeeded", content__isnull=False)
                | ~Q(state="succeeded") & Q(content__isnull=True),
                name="explanation_content_exactly_when_succeeded",
            ),
        ]
        indexes = [models.Index(fields=["state", "queued_at"], name="explanation_state_queued")]

    def __str__(self) -> str:
        return f"Explanation {self.pk} ({self.state})"

    def get_absolute_url(self) -> str:
        return reverse("inference:explanation", args=[self.pk])


class WhatIfQuerySet(JobQuerySet["WhatIf"]):
    """Chainable questions about what-ifs."""

    def visible_to(self, user: User) -> "WhatIfQuerySet":
        return self.filter(prediction__in=Prediction.objects.visible_to(user))


class WhatIf(Job):
    """What the model would answer for another record than the patient's; forgotten soon.

    It is no prediction: no list, count, export or report knows of it.
    """

    QUEUE: ClassVar[str] = "surrogate"
    TASK: ClassVar[str] = "apps.inference.tasks.try_what_if_task"
    SOFT_LIMIT_S: ClassVar[int] = 2 * 60
    MOST_CHANGES: ClassVar[int] = 8

    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="what_ifs")
    changes = models.JSONField(help_text="Concept to the value tried; null takes the finding away.")
    with_volumes = models.BooleanField(default=False, help_text="Decoded and measured, too.")
    answer = models.CharField(max_length=9, choices=Prediction.ANSWERS, blank=True)
    probability = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    reasons = models.JSONField(default=list)
    volumes_ml = models.JSONField(default=dict)

    objects = WhatIfQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = "what-if"
        constraints = [
            *Job.Meta.constraints,
            models.CheckConstraint(
                condition=Q(state="succeeded") & ~Q(answer="")
                | ~Q(state="succeeded") & Q(answer=""),
                name="whatif_answer_exactly_when_succeeded",
            ),
        ]
        indexes = [models.Index(fields=["state", "queued_at"], name="whatif_state_queued")]

    def __str__(self) -> str:
        return f"What-if {self.pk} ({self.state})"

    def get_absolute_url(self) -> str:
        return reverse("inference:what-if", args=[self.pk])

    @property
    def queue_name(self) -> str:
        """A picture takes seconds: it waits where pictures wait."""
        return PseudoMRI.QUEUE if self.with_volumes else self.QUEUE


class ShadowRun(Job):
    """The challenger's answers to what a run asked, unseen by whoever asked.

    No list, count, export or report of a cohort or a patient knows of it.
    """

    QUEUE: ClassVar[str] = "shadow"
    TASK: ClassVar[str] = "apps.inference.tasks.shadow_task"
    SOFT_LIMIT_S: ClassVar[int] = 25 * 60

    run = models.ForeignKey(InferenceRun, on_delete=models.CASCADE, related_name="shadows")
    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="shadows")

    class Meta(Job.Meta):
        verbose_name = "shadow run"
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(fields=["run", "bundle"], name="one_shadow_per_run_and_bundle"),
        ]

    objects = JobQuerySet.as_manager()

    def __str__(self) -> str:
        return f"Shadow of run {self.run_id}"


class ShadowPrediction(models.Model):
    """What the challenger says of one patient, beside the prediction of the run."""

    shadow = models.ForeignKey(ShadowRun, on_delete=models.CASCADE, related_name="predictions")
    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="shadows")
    answer = models.CharField(max_length=9, choices=Prediction.ANSWERS)
    probability = models.FloatField(null=True, help_text="Calibrated P(AD), 0 to 1.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["shadow", "prediction"], name="one_shadow_of_a_prediction"
            ),
            models.CheckConstraint(
                condition=Q(
                    answer__in=["ad", "cn", "uncertain"],
                    probability__isnull=False,
                    probability__gte=0,
                    probability__lte=1,
                )
                | Q(answer__in=["outside", "too_few"], probability=None),
                name="shadow_probability_exactly_when_answered",
            ),
        ]

    def __str__(self) -> str:
        return f"Shadow of prediction {self.prediction_id}"
