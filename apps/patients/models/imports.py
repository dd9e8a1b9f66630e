"""Files on their way into a cohort, what was decided about them, and codes without a concept."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from apps.accounts.models import User
from apps.jobs.models import Job, JobQuerySet
from apps.patients.importing.stages import STAGES, Stage
from apps.patients.models.cohorts import Cohort


class MappingTemplate(models.Model):
    """Decisions about the columns of one kind of file, offered when such a file comes again."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    cohort = models.ForeignKey(Cohort, on_delete=models.CASCADE, related_name="mapping_templates")
    name = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    columns = models.JSONField(help_text="apps.patients.importing.plan, one entry a column.")
    saved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    saved_at = models.DateTimeField()

    class Meta:
        ordering = ["name", "-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["cohort", "name", "version"], name="one_template_per_version"
            ),
            models.CheckConstraint(
                condition=~Q(name="") & Q(version__gte=1), name="template_has_name_and_version"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}"


class EhrImportQuerySet(models.QuerySet["EhrImport"]):
    """Chainable questions about imports."""

    def visible_to(self, user: User) -> "EhrImportQuerySet":
        return self.filter(cohort__in=Cohort.objects.visible_to(user))

    def editable_by(self, user: User) -> "EhrImportQuerySet":
        return self.filter(cohort__in=Cohort.objects.editable_by(user))

    def move(self, pk: uuid.UUID, before: Stage, after: Stage, **changes: object) -> bool:
        """Take one step between stages; False if the import was not in the first of them."""
        if (before, after) not in STAGES:
            raise ValueError(f"An import never goes from {before} to {after}.")
        return self.filter(pk=pk, stage=before).update(stage=after, **changes) == 1


class EhrImport(models.Model):
    """One file on its way into a cohort. Its rows are all in or none."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    cohort = models.ForeignKey(Cohort, on_delete=models.CASCADE, related_name="imports")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField()
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.ANALYSING)
    file_name = models.CharField(max_length=150)
    sha256 = models.CharField(max_length=64)
    bytes = models.PositiveBigIntegerField()
    sheet = models.CharField(max_length=100, blank=True)
    facts = models.JSONField(default=dict, help_text="What was found out about the file.")
    columns = models.JSONField(default=list, help_text="apps.patients.importing.plan.")
    template = models.ForeignKey(MappingTemplate, on_delete=models.SET_NULL, null=True)
    rows = models.PositiveIntegerField(default=0)
    rows_refused = models.PositiveIntegerField(default=0)
    problem_counts = models.JSONField(default=list, help_text="Code, severity, count.")
    dropped = models.JSONField(default=list, help_text="What did not enter, as sentences.")
    check_s = models.FloatField(default=0.0)
    leave_out_refused = models.BooleanField(default=False)
    committed_at = models.DateTimeField(
        null=True, help_text="Time of creation of its patients, of recording of its findings."
    )
    patients_new = models.PositiveIntegerField(default=0)
    patients_updated = models.PositiveIntegerField(default=0)
    findings = models.PositiveIntegerField(default=0)
    notes = models.JSONField(default=list, help_text="What was left as it was, as sentences.")

    objects = EhrImportQuerySet.as_manager()

    class Meta:
        ordering = ["-requested_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(stage__in=Stage.values), name="import_stage_is_known"
            ),
            models.CheckConstraint(
                condition=Q(
                    stage__in=["committed", "undoing", "undone"], committed_at__isnull=False
                )
                | ~Q(stage__in=["committed", "undoing", "undone"]) & Q(committed_at=None),
                name="import_committed_at_exactly_when_stored",
            ),
            models.UniqueConstraint(
                fields=["cohort", "committed_at"], name="one_import_per_moment"
            ),
            models.UniqueConstraint(
                fields=["cohort", "sha256", "sheet"],
                condition=~Q(stage__in=["cancelled", "undone"]),
                name="one_import_per_file",
            ),
        ]

    def __str__(self) -> str:
        return f"Import {self.pk} ({self.stage})"

    @property
    def step(self) -> "ImportStep | None":
        """The newest piece of work on it."""
        return self.steps.order_by("-number").first()


class ImportStepQuerySet(JobQuerySet["ImportStep"]):
    """Chainable questions about steps of imports."""

    def visible_to(self, user: User) -> "ImportStepQuerySet":
        return self.filter(ehr_import__in=EhrImport.objects.visible_to(user))


class ImportStep(Job):
    """One piece of work on an import, done by a worker."""

    QUEUE: ClassVar[str] = "import"
    TASK: ClassVar[str] = "apps.patients.tasks.carry_out_import_step_task"
    SOFT_LIMIT_S: ClassVar[int] = 20 * 60

    class Kind(models.TextChoices):
        ANALYSE = "analyse", "Read the file"
        CHECK = "check", "Check the rows"
        COMMIT = "commit", "Store the rows"
        UNDO = "undo", "Remove what was stored"

    ehr_import = models.ForeignKey(EhrImport, on_delete=models.CASCADE, related_name="steps")
    number = models.PositiveIntegerField(help_text="Counts from 1 within the import.")
    kind_of_work = models.CharField(max_length=7, choices=Kind.choices)
    done = models.PositiveIntegerField(default=0, help_text="Rows read so far.")
    total = models.PositiveIntegerField(default=0, help_text="Rows of the file, once known.")

    objects = ImportStepQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = "import step"
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(fields=["ehr_import", "number"], name="one_step_per_number"),
            models.UniqueConstraint(
                fields=["ehr_import"],
                condition=Q(state__in=["queued", "running"]),
                name="one_active_step_per_import",
            ),
        ]
        indexes = [models.Index(fields=["state", "queued_at"], name="importstep_state_queued")]

    def __str__(self) -> str:
        return f"{self.kind_of_work} of {self.ehr_import_id} ({self.state})"


class CodeConcept(models.Model):
    """What a code is called that is a concept of its own, outside the dictionary."""

    id = models.CharField(primary_key=True, max_length=64)
    label = models.CharField(max_length=120)
    unit = models.CharField(max_length=32, blank=True)

    def __str__(self) -> str:
        return self.id


class ConfirmedLink(models.Model):
    """A code that a person has said to mean a concept of the dictionary, in one cohort's files."""

    cohort = models.ForeignKey(Cohort, on_delete=models.CASCADE, related_name="confirmed_links")
    code = models.CharField(max_length=64, help_text='With its system: "snomed:38341003".')
    concept = models.CharField(max_length=64)
    confirmed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    confirmed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cohort", "code"], name="one_link_per_code"),
        ]

    def __str__(self) -> str:
        return f"{self.code} is {self.concept}"
