"""What readers answered, what they amended, and what was done to a study."""

from django.db import models
from django.db.models import Q

from apps.accounts.models import User
from apps.accounts.signing import LONGEST_REASON
from apps.review.models.studies import ReaderStudy, Slot


class Reading(models.Model):
    """The answers of one reader to one presentation: saved while they are given, then submitted.

    Once submitted its answers never change (a trigger keeps that); what is said later is an
    amendment beside it.
    """

    slot = models.OneToOneField(Slot, on_delete=models.CASCADE, related_name="reading")
    answers = models.JSONField(default=dict, help_text="Name of the question to its answer.")
    revision = models.PositiveIntegerField(
        default=0, help_text="Counts saves, so that a second tab learns that it is behind."
    )
    active_ms = models.PositiveIntegerField(
        default=0, help_text="Milliseconds with the page in view; hidden tabs do not count."
    )
    first_seen_at = models.DateTimeField(help_text="By the server's clock.")
    saved_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["slot"]
        constraints = [
            models.CheckConstraint(
                condition=Q(submitted_at=None) | Q(submitted_at__gte=models.F("first_seen_at")),
                name="reading_submitted_after_seen",
            ),
        ]

    def __str__(self) -> str:
        return f"Reading {self.pk}"


class Amendment(models.Model):
    """A later answer to one question of a submitted reading, with its reason. Never changed."""

    reading = models.ForeignKey(Reading, on_delete=models.CASCADE, related_name="amendments")
    question = models.CharField(max_length=64)
    answer = models.JSONField()
    reason = models.TextField(max_length=LONGEST_REASON)
    made_at = models.DateTimeField()

    class Meta:
        ordering = ["made_at", "pk"]
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="amendment_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"Amendment {self.pk}"


class StudyEvent(models.Model):
    """Something that was done to a study, by whom and why. Append only (a trigger keeps that)."""

    class Kind(models.TextChoices):
        CREATED = "created", "Created"
        PROTOCOL_CHANGED = "protocol_changed", "Protocol changed"
        CASES_DRAWN = "cases_drawn", "Cases drawn"
        READER_INVITED = "reader_invited", "Reader invited"
        READER_REMOVED = "reader_removed", "Reader removed"
        FREEZE_REQUESTED = "freeze_requested", "Freeze requested"
        OPENED = "opened", "Opened"
        DRAFT_AGAIN = "draft_again", "Back to draft"
        LOCKED = "locked", "Locked"
        UNBLINDED = "unblinded", "Unblinded"
        ANALYSED = "analysed", "Analysed"
        EXPORTED = "exported", "Exported"
        SIMULATED = "simulated", "Readings simulated"

    study = models.ForeignKey(ReaderStudy, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    actor = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    is_signed = models.BooleanField(
        default=False, help_text="Whether the actor gave their password for this act."
    )
    reason = models.TextField(blank=True, max_length=LONGEST_REASON)
    details = models.JSONField(default=dict, help_text="Hashes and counts; nothing of a patient.")
    happened_at = models.DateTimeField()

    class Meta:
        ordering = ["happened_at", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(is_signed=False) | Q(is_signed=True) & ~Q(reason=""),
                name="signed_event_has_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of study {self.study_id}"
