"""Model bundles and which of them answers.

Deployments are only ever added; a trigger in the database refuses anything else.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q

CHAMPION = "champion"
"""The alias of the bundle that answers."""
CHALLENGER = "challenger"
"""The alias of the bundle that answers beside it, unseen by those who ask."""


class Bundle(models.Model):
    """A trained model that was checked and copied into the data folder."""

    name = models.CharField(max_length=100)
    version = models.CharField(max_length=50)
    fingerprint = models.CharField(max_length=64, unique=True, help_text="sha256 of its card.json.")
    folder = models.CharField(max_length=200, help_text="Name of its folder among the bundles.")
    card = models.JSONField()
    registered_at = models.DateTimeField()

    class Meta:
        ordering = ["-registered_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(fingerprint__regex=r"^[0-9a-f]{64}$"), name="fingerprint_is_a_sha256"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class BundleNote(models.Model):
    """What somebody wrote about a bundle. Notes are added, never changed."""

    bundle = models.ForeignKey(Bundle, on_delete=models.CASCADE, related_name="notes")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    text = models.TextField(max_length=2000)
    written_at = models.DateTimeField()

    class Meta:
        ordering = ["-written_at", "-pk"]

    def __str__(self) -> str:
        return f"Note on {self.bundle}"


class Deployment(models.Model):
    """The act of giving an alias to a bundle. The newest one of an alias counts."""

    alias = models.CharField(max_length=20, default=CHAMPION)
    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="deployments")
    deployed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Nobody where the command line did it.",
    )
    deployed_at = models.DateTimeField()
    reason = models.TextField()
    gate_check = models.ForeignKey(
        "registry.GateCheck",
        on_delete=models.PROTECT,
        null=True,
        related_name="deployments",
        help_text="What the person who signed had before them; nothing on the command line.",
    )

    class Meta:
        ordering = ["-deployed_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(alias__in=["champion", "challenger"]), name="alias_is_known"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="deployment_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.bundle} as {self.alias}"
