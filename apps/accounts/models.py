"""Users and their roles, and the failed sign-ins that the throttle counts."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person with an account. What they may see of patients is a membership, not a role."""

    class Role(models.TextChoices):
        CLINICIAN = "clinician", "Clinician"
        RADIOLOGIST = "radiologist", "Radiologist"
        STUDY_MANAGER = "study_manager", "Study manager"
        ADMIN = "admin", "Admin"

    role = models.CharField(max_length=13, choices=Role.choices, default=Role.CLINICIAN)

    class Meta(AbstractUser.Meta):
        constraints = [
            models.CheckConstraint(
                condition=models.Q(role__in=["clinician", "radiologist", "study_manager", "admin"]),
                name="user_role_is_known",
            )
        ]


class FailedSignIn(models.Model):
    """One failed sign-in, under keyed hashes: neither name nor address can be read back."""

    key = models.CharField(max_length=64)
    failed_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["key", "failed_at"])]

    def __str__(self) -> str:
        return f"Failed sign-in at {self.failed_at}"
