"""What a member may do in a cohort, for services; pages answer 403 before they call one."""

from apps.accounts.models import User
from apps.errors import MirageError
from apps.patients.models import Cohort


class NotAllowedError(MirageError):
    """The user may look at the cohort, but not do this with it."""


def check_may_edit(cohort: Cohort, user: User) -> None:
    """Owners and clinicians change what is in a cohort, as long as it is not archived.

    Raises:
        NotAllowedError: the user is neither, or the cohort is archived.
    """
    if not Cohort.objects.editable_by(user).filter(pk=cohort.pk).exists():
        raise NotAllowedError(
            f"You may not change the cohort {cohort.name}, or it is archived. Ask its owner to "
            "make you a clinician of it."
        )


def check_owns(cohort: Cohort, user: User) -> None:
    """Owners decide on the cohort itself and its members.

    Raises:
        NotAllowedError: the user is not one.
    """
    if not Cohort.objects.owned_by(user).filter(pk=cohort.pk).exists():
        raise NotAllowedError(f"Only an owner of the cohort {cohort.name} may do this.")
