"""Every write to cohorts starts here; findings are written by apps.patients.importing."""

from datetime import datetime

from django.db import transaction

from apps.accounts.models import User
from apps.patients.models import Cohort, Membership


@transaction.atomic
def create_cohort(*, name: str, description: str, created_by: User, now: datetime) -> Cohort:
    """A cohort that belongs to its maker."""
    cohort = Cohort.objects.create(
        name=name, description=description, created_by=created_by, created_at=now
    )
    Membership.objects.create(cohort=cohort, user=created_by, role=Membership.Role.OWNER)
    return cohort
