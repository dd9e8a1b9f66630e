"""Members, roles, archive: what an owner may do, and that a cohort always has one."""

import threading
from contextlib import contextmanager

import pytest
from django.db import IntegrityError, connection, transaction

from apps.jobs.models import JobState
from apps.patients import owning
from apps.patients.models import Cohort, ImportStep, Membership
from apps.patients.permissions import NotAllowedError
from tests.factories import NOW, CohortFactory, EhrImportFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def cohort():
    return CohortFactory(name="Memory clinic")


def member(cohort, role):
    return Membership.objects.create(cohort=cohort, user=UserFactory(), role=role)


def roles(cohort):
    return sorted(cohort.memberships.values_list("role", flat=True))


@contextmanager
def refused_at_commit():
    """A transaction that the database does not let end, as a whole."""
    with pytest.raises(IntegrityError, match="without an owner"), transaction.atomic():  # noqa: PT012
        yield
        connection.check_constraints()


def test_an_owner_adds_a_member_by_user_name_who_then_sees_the_cohort(cohort):
    user = UserFactory(username="erin")

    owning.add_member(cohort=cohort, username="erin", role="viewer", added_by=cohort.created_by)

    assert list(Cohort.objects.visible_to(user)) == [cohort]
    assert not Cohort.objects.editable_by(user).exists()


@pytest.mark.parametrize("username", ["nobody", "ERIN", "gone"])
def test_an_account_that_is_not_there_or_closed_is_named_in_the_reason(cohort, username):
    UserFactory(username="erin")
    UserFactory(username="gone", is_active=False)

    with pytest.raises(owning.MemberError, match=f"user name {username}"):
        owning.add_member(
            cohort=cohort, username=username, role="viewer", added_by=cohort.created_by
        )


def test_a_member_is_not_added_again_under_another_role(cohort):
    user = member(cohort, "viewer").user

    with pytest.raises(owning.MemberError, match="member already, as viewer"):
        owning.add_member(
            cohort=cohort, username=user.username, role="owner", added_by=cohort.created_by
        )

    assert roles(cohort) == ["owner", "viewer"]


@pytest.mark.parametrize("role", ["clinician", "viewer"])
def test_only_an_owner_decides_on_members_name_and_archive(cohort, role):
    other, by = member(cohort, "viewer"), member(cohort, role).user

    for act in (
        lambda: owning.add_member(cohort=cohort, username="x", role="viewer", added_by=by),
        lambda: owning.change_role(membership=other, role="owner", changed_by=by),
        lambda: owning.remove_member(membership=other, removed_by=by),
        lambda: owning.edit_cohort(cohort=cohort, name="x", description="", edited_by=by),
        lambda: owning.archive_cohort(cohort=cohort, archived_by=by, now=NOW),
        lambda: owning.restore_cohort(cohort=cohort, restored_by=by),
    ):
        with pytest.raises(NotAllowedError):
            act()

    cohort.refresh_from_db()
    assert (cohort.name, cohort.archived_at) == ("Memory clinic", None)
    assert cohort.memberships.count() == 3


def test_anybody_may_leave_but_the_last_owner(cohort):
    clinician = member(cohort, "clinician")
    owner = cohort.memberships.get(role="owner")

    owning.remove_member(membership=clinician, removed_by=clinician.user)
    with pytest.raises(owning.MemberError, match="needs an owner"):
        owning.remove_member(membership=owner, removed_by=owner.user)

    assert roles(cohort) == ["owner"]


def test_the_last_owner_keeps_the_role_until_there_is_another(cohort):
    owner, heir = cohort.memberships.get(role="owner"), member(cohort, "clinician")

    with pytest.raises(owning.MemberError, match="needs an owner"):
        owning.change_role(membership=owner, role="viewer", changed_by=owner.user)
    owning.change_role(membership=heir, role="owner", changed_by=owner.user)
    owning.change_role(membership=owner, role="viewer", changed_by=heir.user)

    assert roles(cohort) == ["owner", "viewer"]


@pytest.mark.parametrize("write", ["delete", "update"])
def test_the_database_itself_refuses_a_cohort_without_an_owner(cohort, write):
    owners = cohort.memberships.filter(role="owner")

    with refused_at_commit():
        owners.delete() if write == "delete" else owners.update(role="viewer")


def test_the_database_refuses_to_delete_the_account_of_a_last_owner(cohort):
    heir = CohortFactory().created_by
    Cohort.objects.filter(pk=cohort.pk).update(created_by=heir)  # or that alone would refuse it

    with refused_at_commit():
        cohort.created_by.delete()


@pytest.mark.django_db(transaction=True)
def test_of_two_owners_who_leave_at_once_one_stays(cohort):
    first, second = cohort.memberships.get(), member(cohort, "owner")
    together, refused = threading.Barrier(2), []

    def leave(membership):
        together.wait()
        try:
            owning.remove_member(membership=membership, removed_by=membership.user)
        except owning.MemberError:
            refused.append(membership)
        finally:
            connection.close()

    threads = [threading.Thread(target=leave, args=[m]) for m in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 1
    assert roles(cohort) == ["owner"]


def test_an_archived_cohort_is_seen_but_not_edited_until_it_is_back(cohort):
    owner = cohort.created_by

    owning.archive_cohort(cohort=cohort, archived_by=owner, now=NOW)
    assert cohort.archived_at == NOW
    assert Cohort.objects.visible_to(owner).exists()
    assert not Cohort.objects.editable_by(owner).exists()

    owning.restore_cohort(cohort=cohort, restored_by=owner)
    assert Cohort.objects.editable_by(owner).exists()


def test_a_cohort_with_an_import_under_way_is_not_archived(cohort):
    ehr_import = EhrImportFactory(cohort=cohort, stage="analysing", committed_at=None)
    step = ImportStep.objects.create(
        ehr_import=ehr_import,
        number=1,
        kind_of_work="analyse",
        requested_by=cohort.created_by,
        requested_at=NOW,
    )

    with pytest.raises(owning.ArchiveRefusedError, match="import into it is under way"):
        owning.archive_cohort(cohort=cohort, archived_by=cohort.created_by, now=NOW)
    ImportStep.objects.filter(pk=step.pk).update(state=JobState.CANCELLED, finished_at=NOW)

    owning.archive_cohort(cohort=cohort, archived_by=cohort.created_by, now=NOW)
