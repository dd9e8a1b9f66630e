"""Simulated readers: their accounts, and the log of what they read."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from apps.accounts.models import User
from apps.accounts.services import create_user
from apps.review.models import Reader, ReaderStudy, StudyEvent
from apps.review.services import setup


@transaction.atomic
def invite_simulated_readers(
    *, study: ReaderStudy, readers: int, invited_by: User, now: datetime
) -> Sequence[Reader]:
    """Add programs to the readers of a draft, which is marked as simulated from then on.

    Each has an account without a password, so that nobody can sign in as one.

    Raises:
        StudyRefusedError: the study is no draft of this manager.
    """
    invited = []
    for _ in range(readers):
        name = f"simulated-{study.pk}-{User.objects.count() + 1}"
        user = create_user(
            username=name, password=None, role=User.Role.RADIOLOGIST, full_name="Simulated reader"
        )
        invited.append(
            setup.invite_reader(
                study=study, user=user, invited_by=invited_by, now=now, is_simulated=True
            )
        )
    return invited


def log_simulation(
    *, study: ReaderStudy, now: datetime, seed: int, readings: int, **skill: float
) -> StudyEvent:
    """Write down which truth went into the readings of programs."""
    return StudyEvent.objects.create(
        study=study,
        kind=StudyEvent.Kind.SIMULATED,
        actor=study.manager,
        details={"seed": seed, "readings": readings, **skill},
        happened_at=now,
    )
