"""The pages of members, settings, archive and deletion, as each role meets them."""

import pytest
from django.urls import reverse

from apps.patients.models import Cohort, Membership, Patient
from tests.factories import (
    NOW,
    CohortFactory,
    FindingFactory,
    InferenceRunFactory,
    PatientFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def cohort():
    cohort = CohortFactory(name="Memory clinic", description="Intake of 2024.")
    for role in ("clinician", "viewer"):
        user = UserFactory(username=role)
        Membership.objects.create(cohort=cohort, user=user, role=role)
    return cohort


@pytest.fixture
def as_role(client, cohort):
    def sign_in(role):
        membership = cohort.memberships.filter(role=role).first()
        client.force_login(membership.user)
        return membership

    return sign_in


def url(name, target):
    return reverse(f"patients:{name}", args=[target.pk])


def test_every_member_sees_who_belongs_and_what_roles_do(client, cohort, as_role):
    as_role("viewer")

    page = client.get(url("members", cohort)).content.decode()

    assert "clinician" in page
    assert "3 members" in page
    assert "Looks at patients" in page
    assert "Add a member" not in page
    assert page.count("Leave the cohort") == 1
    assert "Remove<" not in page


def test_an_owner_adds_changes_and_removes(client, cohort, as_role):
    as_role("owner")
    user = UserFactory(username="erin")

    client.post(url("add-member", cohort), {"username": "erin", "role": "viewer"})
    membership = cohort.memberships.get(user=user)
    client.post(url("change-role", membership), {"role": "clinician"})
    membership.refresh_from_db()
    assert membership.role == "clinician"
    page = client.post(url("remove-member", membership), follow=True).content.decode()

    assert "erin is no longer a member." in page
    assert not Cohort.objects.visible_to(user).exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"username": "", "role": "viewer"}, "Give the user name"),
        ({"username": "nobody", "role": "viewer"}, "No account has the user name nobody"),
        ({"username": "viewer", "role": "viewer"}, "is a member already"),
        ({"username": "x" * 151, "role": "viewer"}, "at most 150 characters"),
        ({"username": "erin", "role": "boss"}, "boss"),
    ],
)
def test_what_is_wrong_with_a_new_member_stands_at_its_field(client, cohort, as_role, data, words):
    as_role("owner")
    UserFactory(username="erin")

    response = client.post(url("add-member", cohort), data)

    assert response.status_code == 422
    assert words in response.content.decode()
    assert cohort.memberships.count() == 3


def test_a_role_that_there_is_not_changes_nothing(client, cohort, as_role):
    as_role("owner")
    membership = cohort.memberships.get(role="viewer")

    page = client.post(url("change-role", membership), {"role": "boss"}, follow=True)

    assert "Choose one of the roles." in page.content.decode()
    membership.refresh_from_db()
    assert membership.role == "viewer"


def test_the_last_owner_reads_why_they_cannot_go(client, cohort, as_role):
    membership = as_role("owner")

    page = client.post(url("remove-member", membership), follow=True).content.decode()

    assert "A cohort needs an owner" in page
    assert cohort.memberships.filter(pk=membership.pk).exists()


def test_a_viewer_leaves_and_no_longer_sees_the_cohort(client, cohort, as_role):
    membership = as_role("viewer")

    response = client.post(url("remove-member", membership))

    assert response.url == reverse("patients:cohorts")
    assert client.get(url("members", cohort)).status_code == 404


def test_an_owner_edits_name_and_description(client, cohort, as_role):
    as_role("owner")

    client.post(url("cohort-settings", cohort), {"name": "Clinic B", "description": ""})

    cohort.refresh_from_db()
    assert (cohort.name, cohort.description) == ("Clinic B", "")


def test_an_empty_name_is_refused_and_the_page_keeps_the_stored_one(client, cohort, as_role):
    as_role("owner")

    response = client.post(url("cohort-settings", cohort), {"name": "", "description": "x"})

    assert response.status_code == 422
    assert "The cohort needs a name." in response.content.decode()
    assert "of Memory clinic" in response.content.decode()


def test_an_archived_cohort_moves_to_its_list_and_back(client, cohort, as_role):
    as_role("owner")
    CohortFactory(created_by=cohort.created_by, name="Another")

    client.post(url("archive-cohort", cohort))
    listed = client.get(reverse("patients:cohorts")).content.decode()
    archived = client.get(reverse("patients:archived-cohorts")).content.decode()
    assert cohort.get_absolute_url() not in listed
    assert "1 archived" in listed
    assert cohort.get_absolute_url() in archived
    assert "Bring back" in archived

    client.post(url("restore-cohort", cohort))
    assert cohort.get_absolute_url() in client.get(reverse("patients:cohorts")).content.decode()
    assert "No cohort is archived" in (
        client.get(reverse("patients:archived-cohorts")).content.decode()
    )


def test_somebody_elses_archived_cohort_is_not_listed(client, as_role):
    CohortFactory(name="Theirs", archived_at=NOW)
    as_role("owner")

    page = client.get(reverse("patients:archived-cohorts")).content.decode()

    assert "Theirs" not in page


def test_a_cohort_at_work_is_not_archived_and_the_page_says_why(client, cohort, as_role):
    InferenceRunFactory(cohort=cohort, number=1)
    as_role("owner")

    page = client.post(url("archive-cohort", cohort), follow=True).content.decode()

    assert "Run 1 is under way" in page
    cohort.refresh_from_db()
    assert cohort.archived_at is None


def test_the_page_of_deletion_says_what_goes_and_deletes_when_the_name_is_typed(
    client, cohort, as_role
):
    FindingFactory(patient=PatientFactory(cohort=cohort, number=1))
    as_role("owner")

    page = client.get(url("delete-cohort", cohort)).content.decode()
    assert "1 patient<" in page
    assert "1 finding<" in page
    assert "Type Memory clinic to confirm" in page

    wrong = client.post(url("delete-cohort", cohort), {"typed": "Memory"})
    assert wrong.status_code == 422
    assert "Nothing was deleted" in wrong.content.decode()
    assert Cohort.objects.filter(pk=cohort.pk).exists()

    client.post(url("delete-cohort", cohort), {"typed": "Memory clinic"})
    assert not Cohort.objects.filter(pk=cohort.pk).exists()
    assert not Patient.objects.exists()


def test_the_page_of_deletion_says_when_it_has_to_wait(client, cohort, as_role):
    patient = PatientFactory(cohort=cohort, number=1)
    InferenceRunFactory(cohort=cohort, number=4)
    as_role("clinician")

    page = client.get(url("delete-patient", patient)).content.decode()
    response = client.post(url("delete-patient", patient), {"typed": "P-0001"})

    assert "Run 4 is under way" in page
    assert response.status_code == 422
    assert Patient.objects.filter(pk=patient.pk).exists()


def test_the_tabs_lead_only_where_a_member_may_go(client, cohort, as_role):
    def tabs(role):
        as_role(role)
        page = client.get(url("members", cohort)).content.decode()
        links = page.partition('aria-label="Cohort">')[2].partition("</nav>")[0]
        assert all(
            client.get(part.partition('"')[0]).status_code == 200
            for part in links.split('href="')[1:]
        )
        return [name for name in ("Patients", "Inputs", "Imports", "Members", "Settings")
                if f">{name}" in links]  # fmt: skip

    assert tabs("viewer") == ["Patients", "Inputs", "Members"]
    assert tabs("clinician") == ["Patients", "Inputs", "Imports", "Members"]
    assert tabs("owner") == ["Patients", "Inputs", "Imports", "Members", "Settings"]
