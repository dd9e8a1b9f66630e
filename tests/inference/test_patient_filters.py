"""The list of patients: what each filter finds, what its address holds, and what it costs."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.factories import (
    NOW,
    BundleFactory,
    CohortFactory,
    DeploymentFactory,
    EhrImportFactory,
    FindingFactory,
    PatientFactory,
    PredictionFactory,
)
from tests.inference.world import CARD, succeeded_run

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(days=30)


@pytest.fixture
def cohort():
    """Three with answers (one by an older model, one from older findings), three without.

    P-0001 70 F ad, current; P-0002 80 M cn, older model; P-0003 90 F uncertain, newer findings;
    P-0004 75 M; P-0005 age not given; P-0006 nothing at all.
    """
    cohort = CohortFactory()
    for number in range(1, 7):
        PatientFactory(cohort=cohort, number=number)
    people = {p.number: p for p in cohort.patients.all()}
    for number, age, female in ((1, 70.4, 1), (2, 79.6, 0), (3, 90, 1), (4, 75, 0), (5, None, 0)):
        if age is not None:
            FindingFactory(patient=people[number], value=age)
        FindingFactory(patient=people[number], concept="female", value=float(female))
    FindingFactory(patient=people[3], concept="weight_kg", recorded_at=LATER, observed_at=LATER)
    old, champion = BundleFactory(card=CARD), BundleFactory(card=CARD)
    DeploymentFactory(bundle=champion, deployed_at=timezone.now())
    runs = {b: succeeded_run(cohort, b, n) for n, b in enumerate((old, champion), start=1)}
    for number, answer, bundle in ((1, "ad", champion), (2, "cn", old), (3, "uncertain", champion)):
        PredictionFactory(run=runs[bundle], patient=people[number], answer=answer)
    EhrImportFactory(cohort=cohort, committed_at=NOW, file_name="first.csv")
    EhrImportFactory(cohort=cohort, committed_at=LATER, file_name="second.csv")
    return cohort


@pytest.fixture
def listed(client, cohort):
    """Numbers of the patients that are listed for a query."""
    client.force_login(cohort.created_by)

    def get(**query):
        text = client.get(cohort.get_absolute_url(), query).content.decode()
        return [int(n) for n in re.findall(r'<th scope="row"><a href="[^"]+">P-(\d+)</a>', text)]

    return get


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"answer": "ad"}, [1]),
        ({"answer": "outside"}, []),
        ({"sex": "f"}, [1, 3]),
        ({"sex": "m"}, [2, 4, 5]),
        ({"sex": "none"}, [6]),
        ({"age_from": "80"}, [2, 3]),  # 79.6 is shown as 80
        ({"age_to": "70"}, [1]),
        ({"age_from": "71", "age_to": "79"}, [4]),
        ({"result": "current"}, [1]),
        ({"result": "stale"}, [2, 3]),
        ({"result": "none"}, [4, 5, 6]),
        ({"pseudonym": "P-0002"}, [2]),
        ({"pseudonym": "p3, 5"}, [3, 5]),
        ({"sex": "f", "result": "stale"}, [3]),
        ({"order": "-age"}, [3, 2, 4, 1, 5, 6]),
        ({"order": "age"}, [1, 4, 2, 3, 5, 6]),
    ],
)
def test_a_filter_lists_whom_it_says(listed, query, numbers):
    assert listed(**query) == numbers


def test_an_import_lists_whom_it_added_findings_to(listed, cohort):
    first, second = cohort.imports.order_by("committed_at")

    assert listed(source=str(first.pk)) == [1, 2, 3, 4, 5]
    assert listed(source=str(second.pk)) == [3]


def test_why_an_answer_is_stale_stands_in_its_row(client, cohort):
    client.force_login(cohort.created_by)

    text = client.get(cohort.get_absolute_url()).content.decode()

    assert text.count("Stale: made by model") == 1
    assert text.count("Stale: findings came in since") == 1


@pytest.mark.parametrize(
    "typed", ["Jane Doe", "1234567890", "P-0", "=cmd", "011_S_0002", "1" * 400]
)
def test_what_could_be_a_name_is_refused_and_not_repeated_in_an_address(client, cohort, typed):
    client.force_login(cohort.created_by)

    response = client.post(cohort.get_absolute_url(), {"pseudonym": typed})

    assert response.status_code == 422
    assert "found by pseudonym alone" in response.content.decode()
    assert "Location" not in response


def test_a_filter_that_is_understood_becomes_an_address_of_what_was_understood(client, cohort):
    client.force_login(cohort.created_by)
    source = str(cohort.imports.first().pk)

    response = client.post(
        cohort.get_absolute_url(),
        {"pseudonym": "p412 7", "age_from": "070", "answer": "", "source": source, "order": "-age",
         "csrf": "x", "note": "Jane"},
    )  # fmt: skip

    assert response.status_code == 302
    assert response.url == (
        f"{cohort.get_absolute_url()}?pseudonym=P-0412+P-0007&age_from=70&source={source}"
        "&order=-age#patients"
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"age_from": "80", "age_to": "70"}, "You gave 80 to 70."),
        ({"age_from": "-1"}, "greater than or equal to 0"),
        ({"age_to": "121"}, "less than or equal to 120"),
        ({"age_to": "old"}, "whole number"),
        ({"answer": "maybe"}, "maybe"),
        ({"source": "00000000-0000-4000-8000-000000000000"}, "not one of the available choices"),
        ({"pseudonym": " ".join(["1"] * 51)}, "At most 50"),
    ],
)
def test_a_filter_that_makes_no_sense_is_explained_and_nobody_is_hidden(
    client, cohort, data, words
):
    client.force_login(cohort.created_by)
    url = cohort.get_absolute_url()

    for response in (client.post(url, data), client.get(url, data)):
        text = response.content.decode()
        assert response.status_code == 422
        assert words in text
        assert "P-0006" in text


def test_an_import_of_another_cohort_is_not_a_filter(client, cohort):
    other = EhrImportFactory(committed_at=NOW)
    client.force_login(cohort.created_by)

    assert client.get(cohort.get_absolute_url(), {"source": str(other.pk)}).status_code == 422


def test_the_pager_and_the_headers_keep_the_filter(client, cohort):
    for number in range(7, 60):
        FindingFactory(patient=PatientFactory(cohort=cohort, number=number), value=65.0)
    client.force_login(cohort.created_by)

    text = client.get(cohort.get_absolute_url(), {"age_to": "66", "order": "-age"}).content.decode()

    assert "53 of 59 patients match" in text
    assert 'href="?age_to=66&amp;order=-age&amp;page=2"' in text
    assert 'href="?age_to=66&amp;order=value"' in text


@pytest.mark.parametrize(
    "query", [{}, {"order": "-value"}, {"result": "stale", "sex": "f"}, {"pseudonym": "P-0001"}]
)
def test_the_number_of_queries_is_bounded_whatever_is_asked(
    client, cohort, query, django_assert_max_num_queries
):
    for number in range(7, 40):
        PredictionFactory(
            run=cohort.runs.first(), patient=PatientFactory(cohort=cohort, number=number)
        )
    client.force_login(cohort.created_by)

    with django_assert_max_num_queries(26):
        client.get(cohort.get_absolute_url(), query)


def test_nobody_matching_is_said_with_a_way_back(client, cohort):
    client.force_login(cohort.created_by)

    text = client.get(cohort.get_absolute_url(), {"pseudonym": "P-9999"}).content.decode()

    assert "No patient matches" in text
    assert "Show all patients" in text


def test_inputs_and_their_json_are_for_members_alone(client, cohort):
    for number in range(7, 30):
        patient = PatientFactory(cohort=cohort, number=number)
        FindingFactory(patient=patient, concept="weight_kg", value=50.0 + number)
    stranger = CohortFactory().created_by
    page, data = (
        reverse(f"patients:{name}", args=[cohort.pk]) for name in ("inputs", "distributions")
    )
    client.force_login(stranger)
    assert [client.get(url).status_code for url in (page, data)] == [404, 404]

    client.force_login(cohort.created_by)
    text = client.get(page, {"group": "vitals"}).content.decode()
    response = client.get(data, {"group": "vitals"})

    assert "Distribution of the newest values" in text
    assert "no-store" in response["Cache-Control"]
    [weight] = response.json()["distributions"]
    assert (weight["id"], weight["n"]) == ("weight_kg", 24)
    assert "P-00" not in response.content.decode()
    assert client.get(page, {"group": "nothing"}).status_code == 404
    assert client.get(data, {"group": "nothing"}).status_code == 404


def test_inputs_of_an_empty_cohort_say_what_to_do(client):
    cohort = CohortFactory()
    client.force_login(cohort.created_by)

    text = client.get(reverse("patients:inputs", args=[cohort.pk])).content.decode()

    assert "No patient yet" in text
    assert reverse("patients:start-import", args=[cohort.pk]) in text
