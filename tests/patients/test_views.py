"""The list of cohorts and the form for a new one."""

import pytest
from django.urls import reverse

from apps.patients.models import Cohort
from tests.factories import CohortFactory, EhrImportFactory, PatientFactory, UserFactory

pytestmark = pytest.mark.django_db

COHORTS, CREATE = reverse("patients:cohorts"), reverse("patients:create-cohort")


@pytest.fixture
def user(client):
    user = UserFactory()
    client.force_login(user)
    return user


def test_without_a_cohort_the_first_steps_are_shown(client, user):
    page = client.get(COHORTS).content.decode()

    assert "First steps" in page
    assert CREATE in page


def test_only_cohorts_of_the_user_are_listed(client, user):
    mine, theirs = CohortFactory(created_by=user, name="Mine"), CohortFactory(name="Theirs")
    PatientFactory.create_batch(3, cohort=mine)
    EhrImportFactory(cohort=mine)

    page = client.get(COHORTS).content.decode()

    assert mine.get_absolute_url() in page
    assert '<td class="n">3</td>' in page
    assert "1 January 2026" in page
    assert theirs.name not in page


def test_the_list_takes_as_many_queries_for_twenty_cohorts_as_for_one(
    client, user, django_assert_max_num_queries
):
    CohortFactory.create_batch(20, created_by=user)

    with django_assert_max_num_queries(10):
        client.get(COHORTS)


def test_a_new_cohort_belongs_to_its_maker(client, user):
    response = client.post(CREATE, {"name": "Memory clinic", "description": "2024"})

    cohort = Cohort.objects.visible_to(user).get()
    assert response.url == cohort.get_absolute_url()
    assert (cohort.name, cohort.description) == ("Memory clinic", "2024")


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "The cohort needs a name."), (" ", "The cohort needs a name."), ("x" * 101, "101")],
)
def test_a_bad_name_is_explained_and_nothing_is_stored(client, user, name, words):
    response = client.post(CREATE, {"name": name})

    assert response.status_code == 422
    assert words in response.content.decode()
    assert 'href="#id_name"' in response.content.decode()
    assert not Cohort.objects.exists()


def test_a_name_is_shown_as_text_whatever_it_holds(client, user):
    client.post(CREATE, {"name": "<script>alert(1)</script>"})

    page = client.get(COHORTS).content.decode()

    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
