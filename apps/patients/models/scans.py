"""Scans of patients: a file that a scanner wrote, and what preprocessing made of it.

The file as it came shows skull and face. It lies in a private folder (apps.patients.scans.folder)
until its brain is on the model's grid, and longer only where the cohort's owner allows it.
"""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.urls import reverse

from apps.accounts.models import User
from apps.jobs.models import ACTIVE_STATES, Job, JobQuerySet, JobState
from apps.patients.models.cohorts import Cohort, Patient

OLDEST_YEARS = 90  # ages over 89 identify people (HIPAA Safe Harbor), so they are all 90


class ScanQuerySet(JobQuerySet["Scan"]):
    """Chainable questions about scans."""

    def visible_to(self, user: User) -> "ScanQuerySet":
        return self.filter(patient__in=Patient.objects.visible_to(user))

    def editable_by(self, user: User) -> "ScanQuerySet":
        return self.filter(patient__cohort__in=Cohort.objects.editable_by(user))

    def refuse(self, pk: uuid.UUID, *, attempt: int, reason: str, **facts: object) -> bool:
        """End an attempt because the scan is no good, and write why: it will not get better."""
        return self._end(self.held(pk, attempt=attempt), JobState.FAILED, reason=reason, **facts)

    def cancel(self, pk: uuid.UUID) -> bool:
        """Give a scan up, and with it the file as it came."""
        active = self.filter(pk=pk, state__in=ACTIVE_STATES)
        return self._end(active, JobState.CANCELLED, head_kept=False)

    def retry(self, pk: uuid.UUID) -> bool:
        """Queue a scan again whose file is still there."""
        return JobQuerySet.retry(self.filter(head_kept=True), pk)


class Scan(Job):
    """A T1 scan of a patient: refused with a reason, or a stripped volume on the MNI152 grid."""

    QUEUE: ClassVar[str] = "scan"
    TASK: ClassVar[str] = "apps.patients.tasks.preprocess_scan_task"
    SOFT_LIMIT_S: ClassVar[int] = 12 * 60

    class Format(models.TextChoices):
        NIFTI = "nifti", "NIfTI"
        MGH = "mgh", "MGH"
        DICOM = "dicom", "Zipped DICOM series"

    patient = models.ForeignKey(Patient, on_delete=models.CASCADE, related_name="scans")
    number = models.PositiveIntegerField(help_text="Counts from 1 within the patient.")
    format = models.CharField(max_length=6, choices=Format.choices)
    age_years = models.FloatField(null=True, help_text="Of the patient when it was acquired.")
    source_sha256 = models.CharField(max_length=64, help_text="Of the file as it came.")
    source_bytes = models.PositiveBigIntegerField()
    head_kept = models.BooleanField(
        default=True, help_text="Whether the file as it came is still there, skull and face."
    )
    file = models.CharField(max_length=200, blank=True, help_text="Path below the media folder.")
    sha256 = models.CharField(max_length=64, blank=True)
    bytes = models.PositiveBigIntegerField(null=True)
    picture = models.CharField(
        max_length=200, blank=True, help_text="Of the quality control; path below the media folder."
    )
    qc = models.JSONField(default=dict, help_text="Figures of the quality control.")
    volumes_ml = models.JSONField(default=dict, help_text="Region to millilitres.")

    objects = ScanQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = "scan"
        ordering = ["patient", "number"]
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(fields=["patient", "number"], name="one_scan_per_number"),
            models.UniqueConstraint(
                fields=["patient", "source_sha256"],
                condition=Q(state__in=["queued", "running", "succeeded"]),
                name="one_scan_per_file",
            ),
            models.CheckConstraint(
                condition=Q(format__in=["nifti", "mgh", "dicom"], number__gte=1),
                name="scan_format_and_number_are_known",
            ),
            models.CheckConstraint(
                condition=Q(source_sha256__regex=r"^[0-9a-f]{64}$", source_bytes__gt=0),
                name="scan_source_was_measured",
            ),
            models.CheckConstraint(
                condition=Q(age_years=None)
                | Q(age_years__isnull=False, age_years__gte=0, age_years__lte=OLDEST_YEARS),
                name="scan_age_identifies_nobody",
            ),
            models.CheckConstraint(
                condition=Q(
                    state="succeeded",
                    sha256__regex=r"^[0-9a-f]{64}$",
                    bytes__isnull=False,
                    bytes__gt=0,
                )
                & ~Q(file="")
                | ~Q(state="succeeded") & Q(file="", sha256="", bytes=None),
                name="scan_file_exactly_when_succeeded",
            ),
            models.CheckConstraint(  # nobody forgets a head that no attempt will read again
                condition=Q(head_kept=False) | ~Q(state="cancelled"),
                name="scan_head_goes_with_cancelling",
            ),
            models.CheckConstraint(
                condition=Q(head_kept=True) | ~Q(state__in=["queued", "running"]),
                name="scan_head_is_there_while_needed",
            ),
        ]
        indexes = [models.Index(fields=["state", "queued_at"], name="scan_state_queued")]

    def __str__(self) -> str:
        return f"Scan {self.pk} ({self.state})"

    def get_absolute_url(self) -> str:
        return reverse("patients:scan", args=[self.pk])

    @property
    def may_be_retried(self) -> bool:
        """Whether it failed and its file is still there to be read again."""
        return self.state == JobState.FAILED and self.head_kept and not self.qc
