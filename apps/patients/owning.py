"""What an owner does with a cohort: its name, its members, whether it is archived."""

from datetime import datetime

from django.db import transaction

from apps.accounts.models import User
from apps.errors import MirageError
from apps.patients import dependents
from apps.patients.models import Cohort, Membership
from apps.patients.permissions import check_owns


class MemberError(MirageError):
    """The members cannot be changed in this way; the text says why and what to do."""


class ArchiveRefusedError(MirageError):
    """The cohort cannot be archived now."""


@transaction.atomic
def edit_cohort(*, cohort: Cohort, name: str, description: str, edited_by: User) -> None:
    """Give a cohort another name or description.

    Raises:
        NotAllowedError: the user does not own the cohort.
    """
    check_owns(cohort, edited_by)
    cohort.name, cohort.description = name, description
    cohort.save(update_fields=["name", "description"])


@transaction.atomic
def archive_cohort(*, cohort: Cohort, archived_by: User, now: datetime) -> None:
    """Put a cohort away: it can be read and brought back, and nothing in it changes.

    Raises:
        ArchiveRefusedError: work on it is under way.
        NotAllowedError: the user does not own the cohort.
    """
    held = _held(cohort)
    check_owns(held, archived_by)
    if reason := dependents.busy(cohort=held, patient=None):
        raise ArchiveRefusedError(f"The cohort cannot be archived now. {reason}")
    Cohort.objects.filter(pk=cohort.pk, archived_at=None).update(archived_at=now)
    cohort.refresh_from_db()


@transaction.atomic
def restore_cohort(*, cohort: Cohort, restored_by: User) -> None:
    """Bring an archived cohort back.

    Raises:
        NotAllowedError: the user does not own the cohort.
    """
    check_owns(cohort, restored_by)
    Cohort.objects.filter(pk=cohort.pk).update(archived_at=None)
    cohort.refresh_from_db()


@transaction.atomic
def add_member(*, cohort: Cohort, username: str, role: str, added_by: User) -> Membership:
    """Give a user a role in a cohort.

    An owner can thereby find out which user names exist: whoever has an account here works here.

    Raises:
        MemberError: there is no such account, or it belongs to a member already.
        NotAllowedError: the user does not own the cohort.
    """
    held = _held(cohort)
    check_owns(held, added_by)
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise MemberError(
            f"No account has the user name {username}. Mind upper and lower case, or ask the "
            "administrator for an account."
        )
    membership, is_new = Membership.objects.get_or_create(
        cohort=held, user=user, defaults={"role": role}
    )
    if not is_new:
        raise MemberError(
            f"{username} is a member already, as {membership.get_role_display().lower()}. Change "
            "the role in the list."
        )
    return membership


@transaction.atomic
def change_role(*, membership: Membership, role: str, changed_by: User) -> None:
    """Give a member another role.

    Raises:
        MemberError: they are the last owner.
        NotAllowedError: the user does not own the cohort.
    """
    held = _held(membership.cohort)
    check_owns(held, changed_by)
    if role != Membership.Role.OWNER:
        _check_not_last_owner(membership)
    Membership.objects.filter(pk=membership.pk).update(role=role)


@transaction.atomic
def remove_member(*, membership: Membership, removed_by: User) -> None:
    """End a membership: an owner ends any, everybody else their own.

    Raises:
        MemberError: they are the last owner.
        NotAllowedError: the user does not own the cohort, and it is not their own membership.
    """
    held = _held(membership.cohort)
    if membership.user_id != removed_by.pk:
        check_owns(held, removed_by)
    _check_not_last_owner(membership)
    Membership.objects.filter(pk=membership.pk).delete()


def _held(cohort: Cohort) -> Cohort:
    """The cohort's row, locked: two owners who leave at once wait in turn."""
    return Cohort.objects.select_for_update().get(pk=cohort.pk)


def _check_not_last_owner(membership: Membership) -> None:
    others = Membership.objects.filter(
        cohort=membership.cohort_id, role=Membership.Role.OWNER
    ).exclude(pk=membership.pk)
    if membership.role == Membership.Role.OWNER and not others.exists():
        raise MemberError(
            "A cohort needs an owner, and this is the last one. Make another member the owner "
            "first, or delete the cohort."
        )
