"""A reader study, its readers, its cases, and the order in which each reader meets them."""

import secrets
from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from apps.accounts.models import User
from apps.inference.models import PseudoMRI
from apps.jobs.models import Job, JobQuerySet
from apps.patients.models import Patient, Scan
from apps.review.protocol import Arm, Protocol


class StudyState(models.TextChoices):
    """Where a reader study stands."""

    DRAFT = "draft", "Draft"
    FREEZING = "freezing", "Freezing"
    OPEN = "open", "Open"
    LOCKED = "locked", "Locked"
    UNBLINDED = "unblinded", "Unblinded"


class ReaderStudyQuerySet(models.QuerySet["ReaderStudy"]):
    """Chainable questions about reader studies."""

    def managed_by(self, user: User) -> "ReaderStudyQuerySet":
        """Studies whose protocol, cases and results the user sees."""
        if user.role not in (User.Role.STUDY_MANAGER, User.Role.ADMIN):
            return self.none()
        return self.filter(manager=user)

    def read_by(self, user: User) -> "ReaderStudyQuerySet":
        """Studies that the user reads cases of."""
        return self.filter(readers__user=user)


class ReaderStudy(models.Model):
    """A blinded comparison of real and synthetic volumes by readers."""

    title = models.CharField(max_length=120)
    manager = models.ForeignKey(User, on_delete=models.PROTECT, related_name="managed_studies")
    created_at = models.DateTimeField()
    state = models.CharField(max_length=9, choices=StudyState.choices, default=StudyState.DRAFT)
    is_simulated = models.BooleanField(
        default=False, help_text="Whether any reading was made by a program; marked everywhere."
    )
    protocol = models.JSONField(help_text="apps.review.protocol.Protocol.to_json.")
    protocol_sha256 = models.CharField(max_length=64, blank=True, help_text="From the freeze on.")
    opened_at = models.DateTimeField(null=True)
    locked_at = models.DateTimeField(null=True)
    unblinded_at = models.DateTimeField(null=True)

    objects = ReaderStudyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "reader studies"
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=~Q(title=""), name="study_has_a_title"),
            models.CheckConstraint(
                condition=Q(state__in=StudyState.values), name="study_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "freezing"], opened_at=None)
                | Q(state__in=["open", "locked", "unblinded"], opened_at__isnull=False)
                & ~Q(protocol_sha256=""),
                name="study_opened_exactly_when_frozen",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["locked", "unblinded"], locked_at__isnull=False)
                | ~Q(state__in=["locked", "unblinded"]) & Q(locked_at=None),
                name="study_locked_at_exactly_when_locked",
            ),
            models.CheckConstraint(
                condition=Q(state="unblinded", unblinded_at__isnull=False)
                | ~Q(state="unblinded") & Q(unblinded_at=None),
                name="study_unblinded_at_exactly_when_unblinded",
            ),
        ]

    def __str__(self) -> str:
        return f"Reader study {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("review:study", args=[self.pk])

    @property
    def plan(self) -> Protocol:
        """The protocol as an object."""
        return Protocol.from_json(self.protocol)


class Reader(models.Model):
    """One person, or one program, that reads the cases of a study."""

    study = models.ForeignKey(ReaderStudy, on_delete=models.CASCADE, related_name="readers")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="reader_of")
    number = models.PositiveSmallIntegerField(help_text="Counts from 1; results say Reader 1.")
    is_simulated = models.BooleanField(default=False)
    invited_at = models.DateTimeField()
    knows_cases = models.TextField(
        blank=True, help_text="Why this reader may know cases: flagged in every result."
    )

    class Meta:
        ordering = ["study", "number"]
        constraints = [
            models.UniqueConstraint(fields=["study", "user"], name="one_reader_per_user"),
            models.UniqueConstraint(fields=["study", "number"], name="one_reader_per_number"),
        ]

    def __str__(self) -> str:
        return f"Reader {self.number}"


class Case(models.Model):
    """One volume that the readers of a study meet. Its study copy is made at the freeze."""

    study = models.ForeignKey(ReaderStudy, on_delete=models.CASCADE, related_name="cases")
    number = models.PositiveSmallIntegerField(
        help_text="Shuffled, so that it says nothing of the arm; results say case 7."
    )
    arm = models.CharField(max_length=14, choices=[(arm.value, arm.value) for arm in Arm])
    is_practice = models.BooleanField(default=False)
    scan = models.ForeignKey(
        Scan, on_delete=models.SET_NULL, null=True, related_name="+", help_text="Its source."
    )
    pseudo_mri = models.ForeignKey(
        PseudoMRI, on_delete=models.SET_NULL, null=True, related_name="+", help_text="Its source."
    )
    patient = models.ForeignKey(
        Patient,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        help_text="Whose brain it shows, so that the study copy goes when the patient goes.",
    )
    source_sha256 = models.CharField(max_length=64, help_text="Of the volume it was made from.")
    is_ad = models.BooleanField(null=True, help_text="Recorded diagnosis, where there is one.")
    age_years = models.FloatField(null=True)
    is_female = models.BooleanField(null=True)
    file = models.CharField(max_length=200, blank=True, help_text="Path below the media folder.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the study copy.")
    withdrawn_at = models.DateTimeField(
        null=True, help_text="When its patient was deleted and its study copy with them."
    )

    class Meta:
        ordering = ["study", "number"]
        constraints = [
            models.CheckConstraint(
                condition=Q(withdrawn_at=None)
                | Q(withdrawn_at__isnull=False)
                & Q(file="", age_years=None, is_female=None, is_ad=None, patient=None),
                name="withdrawn_case_shows_nobody",
            ),
            models.UniqueConstraint(fields=["study", "number"], name="one_case_per_number"),
            models.UniqueConstraint(
                fields=["study", "arm", "source_sha256"], name="one_case_per_source_and_arm"
            ),
            models.CheckConstraint(
                condition=Q(arm__in=[arm.value for arm in Arm]), name="case_arm_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"Case {self.number}"


def new_token() -> str:
    """128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


class Slot(models.Model):
    """One presentation of one case to one reader, at one place of their order."""

    reader = models.ForeignKey(Reader, on_delete=models.CASCADE, related_name="slots")
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="slots")
    position = models.PositiveSmallIntegerField(help_text="From 1; practice cases come first.")
    token = models.CharField(max_length=32, unique=True, default=new_token)
    repeat_of = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, related_name="repeats"
    )

    class Meta:
        ordering = ["reader", "position"]
        constraints = [
            models.UniqueConstraint(fields=["reader", "position"], name="one_slot_per_position"),
            models.UniqueConstraint(
                fields=["reader", "case"],
                condition=Q(repeat_of=None),
                name="one_first_reading_per_case",
            ),
            models.CheckConstraint(
                condition=Q(token__regex=r"^[0-9a-f]{32}$"),  # noqa: S106 - a pattern
                name="slot_token_is_128_bits",
            ),
        ]

    def __str__(self) -> str:
        return f"Slot {self.position}"


class StudyFreeze(Job):
    """The making of all study copies and orders, after which a study is open."""

    QUEUE: ClassVar[str] = "decode"
    TASK: ClassVar[str] = "apps.review.tasks.freeze_study_task"
    SOFT_LIMIT_S: ClassVar[int] = 25 * 60

    study = models.OneToOneField(ReaderStudy, on_delete=models.CASCADE, related_name="freeze")
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)

    objects = JobQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = "freeze"
        constraints = [
            *Job.Meta.constraints,
            models.CheckConstraint(
                condition=Q(done__lte=F("total")), name="freeze_done_within_total"
            ),
        ]
        indexes = [models.Index(fields=["state", "queued_at"], name="freeze_state_queued")]

    def get_absolute_url(self) -> str:
        return self.study.get_absolute_url()


class StudyAnalysis(Job):
    """The statistics of a locked study: one for each time they were asked for."""

    QUEUE: ClassVar[str] = "decode"
    TASK: ClassVar[str] = "apps.review.tasks.analyse_study_task"
    SOFT_LIMIT_S: ClassVar[int] = 10 * 60

    study = models.ForeignKey(ReaderStudy, on_delete=models.CASCADE, related_name="analyses")
    share_done = models.FloatField(default=0)
    script_version = models.CharField(max_length=64, blank=True)
    ratings_sha256 = models.CharField(max_length=64, blank=True, help_text="Of what went in.")
    content = models.JSONField(null=True, help_text="StudyStatistics as plain data.")

    objects = JobQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = "analysis"
        verbose_name_plural = "analyses"
        ordering = ["-requested_at"]
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(
                fields=["study"],
                condition=Q(state__in=["queued", "running"]),
                name="one_active_analysis_per_study",
            ),
            models.CheckConstraint(
                condition=Q(state="succeeded", content__isnull=False)
                | ~Q(state="succeeded") & Q(content__isnull=True),
                name="analysis_content_exactly_when_succeeded",
            ),
        ]
        indexes = [models.Index(fields=["state", "queued_at"], name="analysis_state_queued")]

    def get_absolute_url(self) -> str:
        return reverse("review:statistics", args=[self.study_id])
