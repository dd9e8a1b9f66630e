"""Cohorts, who belongs to them, their patients and what was found in them."""

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.urls import reverse

from apps.accounts.models import User

LARGEST_VALUE = 1e12


class CohortQuerySet(models.QuerySet["Cohort"]):
    """Chainable questions about cohorts."""

    def visible_to(self, user: User) -> "CohortQuerySet":
        return self.filter(pk__in=Membership.objects.filter(user=user).values("cohort"))

    def editable_by(self, user: User) -> "CohortQuerySet":
        """Cohorts in which the user may upload, run and cancel."""
        editing = Membership.objects.filter(user=user, role__in=Membership.EDITING_ROLES)
        return self.filter(pk__in=editing.values("cohort"), archived_at=None)

    def owned_by(self, user: User) -> "CohortQuerySet":
        """Cohorts whose members, name and existence the user decides on, archived ones too."""
        owning = Membership.objects.filter(user=user, role=Membership.Role.OWNER)
        return self.filter(pk__in=owning.values("cohort"))


class Cohort(models.Model):
    """A named group of patients that some users look after together."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, max_length=2000)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True, blank=True)
    keeps_heads = models.BooleanField(
        db_default=False,
        default=False,
        help_text="Whether scans with skull and face are kept after preprocessing.",
    )
    numbers_given = models.PositiveIntegerField(
        db_default=0, editable=False, help_text="Highest number of a patient who was deleted."
    )
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="cohorts"
    )

    objects = CohortQuerySet.as_manager()

    class Meta:
        ordering = ["name", "created_at"]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="cohort_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("inference:cohort", args=[self.pk])


class MembershipQuerySet(models.QuerySet["Membership"]):
    """Chainable questions about memberships."""

    def visible_to(self, user: User) -> "MembershipQuerySet":
        return self.filter(cohort__in=Cohort.objects.visible_to(user))


class Membership(models.Model):
    """What one user may do in one cohort. A cohort that exists has an owner (migration 0005)."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        CLINICIAN = "clinician", "Clinician"
        VIEWER = "viewer", "Viewer"

    EDITING_ROLES = (Role.OWNER, Role.CLINICIAN)

    cohort = models.ForeignKey(Cohort, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=9, choices=Role.choices)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cohort", "user"], name="one_membership_per_user"),
            models.CheckConstraint(
                condition=Q(role__in=["owner", "clinician", "viewer"]),
                name="membership_role_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} of {self.cohort_id}"


class PatientQuerySet(models.QuerySet["Patient"]):
    """Chainable questions about patients."""

    def visible_to(self, user: User) -> "PatientQuerySet":
        return self.filter(cohort__in=Cohort.objects.visible_to(user))


class Patient(models.Model):
    """A person in a cohort, under a pseudonym. Their identifier is kept as a keyed hash alone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    cohort = models.ForeignKey(Cohort, on_delete=models.CASCADE, related_name="patients")
    number = models.PositiveIntegerField(help_text="Counts from 1 within the cohort.")
    pseudonym = models.CharField(max_length=12)
    identifier_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    # What lists filter by, kept by triggers on the findings (migration 0005).
    age_years = models.FloatField(null=True, editable=False, help_text="Newest finding of age.")
    female = models.FloatField(null=True, editable=False, help_text="Newest finding of sex.")
    recorded_ats = ArrayField(
        models.DateTimeField(),
        db_default=[],
        editable=False,
        help_text="When findings were stored, one moment for each import, newest first.",
    )

    objects = PatientQuerySet.as_manager()

    class Meta:
        ordering = ["cohort", "number"]
        constraints = [
            models.UniqueConstraint(fields=["cohort", "number"], name="one_patient_per_number"),
            models.UniqueConstraint(
                fields=["cohort", "identifier_hash"], name="one_patient_per_identifier"
            ),
            models.CheckConstraint(
                condition=Q(identifier_hash__regex=r"^[0-9a-f]{64}$"),
                name="identifier_is_a_hash",
            ),
            models.CheckConstraint(
                condition=Q(pseudonym__regex=r"^P-[0-9]{4,}$", number__gte=1),
                name="pseudonym_is_a_number",
            ),
        ]

    def __str__(self) -> str:
        return self.pseudonym

    def get_absolute_url(self) -> str:
        return reverse("inference:patient", args=[self.pk])


class FindingQuerySet(models.QuerySet["Finding"]):
    """Chainable questions about findings."""

    def visible_to(self, user: User) -> "FindingQuerySet":
        return self.filter(patient__in=Patient.objects.visible_to(user))

    def newest(self) -> "FindingQuerySet":
        """For each patient and concept the finding observed last."""
        newest_first = self.order_by("patient_id", "concept", "-observed_at")
        return newest_first.distinct("patient_id", "concept")


class Finding(models.Model):
    """One observation of one concept of the dictionary (ml.concepts) in one patient."""

    # No number of its own: a second index would double the time of storing 8.8 million findings.
    pk = models.CompositePrimaryKey("patient_id", "concept", "observed_at")
    patient = models.ForeignKey(
        Patient,
        on_delete=models.CASCADE,
        related_name="findings",
        db_index=False,  # the primary key begins with it
        # A trigger checks the patients of a whole statement at once (migration 0003): row by row
        # it would treble the time of storing 8.8 million findings.
        db_constraint=False,
    )
    concept = models.CharField(max_length=64)
    value = models.FloatField()
    unit = models.CharField(max_length=32, blank=True)
    observed_at = models.DateTimeField()
    recorded_at = models.DateTimeField(help_text="When it was stored, with its whole upload.")

    objects = FindingQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(  # PostgreSQL sorts NaN above infinity, so both bounds catch it
                condition=Q(value__gte=-LARGEST_VALUE, value__lte=LARGEST_VALUE),
                name="finding_value_is_finite",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.concept} of {self.patient_id}"
