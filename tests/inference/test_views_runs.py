"""Asking for runs and decodings, watching them, stopping them; their files."""

import json
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.inference.models import Explanation, InferenceRun, PseudoMRI
from apps.jobs.models import JobState
from tests.factories import InferenceRunFactory, PatientFactory, PredictionFactory
from tests.inference.world import make_world

pytestmark = pytest.mark.django_db

POLL = {"HX-Request": "true"}
NO_NUMBER = {"answer": "too_few", "probability": None, "low": None, "high": None}


@pytest.fixture
def world(settings, client):
    world = make_world(settings.MEDIA_ROOT)
    client.force_login(world.users["owner"])
    return world


@pytest.fixture
def run(world):
    return InferenceRunFactory(cohort=world.cohort, bundle=world.bundle, number=2, total=4)


def line(client, run, seen=None):
    url = reverse("inference:run", args=[run.pk])
    return client.get(url, {"seen": seen} if seen is not None else {}, headers=POLL)


def test_polling_goes_on_while_the_run_is_under_way(client, run):
    response = line(client, run, seen=0)

    assert response.status_code == 200
    assert 'hx-trigger="every 1s"' in response.content.decode()
    assert "HX-Trigger" not in response


def test_progress_makes_the_page_fetch_its_results(client, run):
    InferenceRun.objects.filter(pk=run.pk).update(done=3)

    response = line(client, run, seen=0)

    assert "run-progress" in json.loads(response["HX-Trigger"])
    assert "<strong>3</strong> of 4" in response.content.decode()


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_polling_stops_with_286_when_the_run_is_final(client, run, state):
    InferenceRun.objects.filter(pk=run.pk).update(
        state=state,
        reason="The bundle is gone." if state == "failed" else "",
        finished_at=timezone.now(),
    )

    response = line(client, run, seen=0)

    assert response.status_code == 286
    assert "hx-get" not in response.content.decode()
    assert "run-progress" in json.loads(response["HX-Trigger"])


def test_a_browser_that_opens_the_address_of_a_run_is_sent_to_its_page(client, run):
    response = client.get(reverse("inference:run", args=[run.pk]))

    assert response.url == run.cohort.get_absolute_url()


def test_a_run_can_be_cancelled_and_retried(client, run):
    client.post(reverse("inference:cancel-run", args=[run.pk]))
    run.refresh_from_db()
    assert run.state == JobState.CANCELLED

    client.post(reverse("inference:retry-run", args=[run.pk]))
    run.refresh_from_db()
    assert run.state == JobState.QUEUED


def test_cancelling_what_has_ended_is_explained(client, world):
    response = client.post(reverse("inference:cancel-run", args=[world.run.pk]), follow=True)

    assert "has already ended" in response.content.decode()


def test_a_run_without_a_usable_model_is_refused_with_the_reason(client, world):
    url = reverse("inference:request-cohort-run", args=[world.cohort.pk])

    page = client.post(url, follow=True).content.decode()

    assert "cannot be used" in page
    assert world.cohort.runs.count() == 1


@pytest.mark.parametrize("elsewhere", ["https://example.org/", "//example.org", "javascript:1"])
def test_the_way_back_never_leads_to_another_site(client, run, elsewhere):
    response = client.post(reverse("inference:cancel-run", args=[run.pk]), {"next": elsewhere})

    assert response.url == run.cohort.get_absolute_url()


def test_the_queue_lists_only_runs_of_the_users_cohorts(client, world, run):
    mine = client.get(reverse("inference:queue")).content.decode()
    client.force_login(world.users["stranger"])
    theirs = client.get(reverse("inference:queue")).content.decode()

    assert "Run 2" in mine
    assert "P-0001" in mine
    assert "Run 2" not in theirs
    assert "P-0001" not in theirs


def test_who_waits_sees_the_place_among_all_who_wait(client, world, run):
    elsewhere = InferenceRunFactory(queued_at=run.queued_at - timedelta(minutes=1))
    assert elsewhere.cohort != world.cohort

    text = client.get(reverse("inference:queue")).content.decode()

    assert "Queued, place 2" in text


def test_a_run_under_way_shows_its_progress_and_the_time_it_still_needs(client, world, run):
    now = timezone.now()
    InferenceRun.objects.filter(pk=run.pk).update(
        state="running", attempt=1, tries=1, worker="one", done=1,
        started_at=now - timedelta(minutes=2), lease_until=now + timedelta(minutes=1),
    )  # fmt: skip

    text = client.get(reverse("inference:queue")).content.decode()

    assert 'max="4" value="1"' in text
    assert "about 6 min left" in text


def test_an_explanation_in_the_queue_can_be_cancelled_and_tried_again_there(client, world):
    Explanation.objects.filter(pk=world.explanation.pk).update(
        state="failed", reason="The disk is full.", content=None
    )
    text = client.get(reverse("inference:queue")).content.decode()
    assert "The disk is full." in text
    assert reverse("inference:retry-explanation", args=[world.explanation.pk]) in text

    client.post(reverse("inference:retry-explanation", args=[world.explanation.pk]))

    text = client.get(reverse("inference:queue")).content.decode()
    assert "Queued, place 1" in text
    assert reverse("inference:cancel-explanation", args=[world.explanation.pk]) in text


def test_the_queue_warns_when_no_worker_is_alive(client, world):
    assert "No worker is alive" in client.get(reverse("inference:queue")).content.decode()


def test_asking_for_a_pseudo_mri_queues_it_once(client, world):
    PseudoMRI.objects.all().delete()
    url = reverse("inference:request-pseudo-mri", args=[world.patient.pk])

    client.post(url)
    response = client.post(url)

    assert response.url == f"{world.patient.get_absolute_url()}#images"
    assert PseudoMRI.objects.get().prediction == world.prediction


def test_a_decoding_is_polled_until_its_volume_is_there(client, world):
    url = reverse("inference:pseudo-mri", args=[world.pseudo_mri.pk])

    done = client.get(url, headers=POLL)
    PseudoMRI.objects.update(
        state=JobState.QUEUED, file="", sha256="", bytes=None, finished_at=None
    )
    queued = client.get(url, headers=POLL)

    assert done.status_code == 286
    assert "data-volume=" in done.content.decode()
    assert queued.status_code == 200
    assert 'hx-trigger="every 1s"' in queued.content.decode()
    assert "data-volume=" not in queued.content.decode()


@pytest.mark.parametrize(
    ("name", "kind", "start"),
    [
        ("pseudo-mri-volume", "application/x-nifti", (348).to_bytes(4, "little")),
        ("pseudo-mri-mosaic", "image/png", b"\x89PNG"),
    ],
)
def test_a_file_is_private_typed_and_named_after_nobody(client, world, name, kind, start):
    url = reverse(f"inference:{name}", args=[world.pseudo_mri.pk])

    response = client.get(url)

    assert response.content.startswith(start)
    assert response["Content-Type"] == kind
    assert "no-store" in response["Cache-Control"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "SYNTHETIC" in response["Content-Disposition"]
    assert world.patient.pseudonym not in str(response.headers)


@pytest.mark.parametrize("name", ["pseudo-mri-volume", "pseudo-mri-mosaic"])
def test_neither_head_nor_range_gets_a_strangers_file(client, world, name):
    client.force_login(world.users["stranger"])
    url = reverse(f"inference:{name}", args=[world.pseudo_mri.pk])

    responses = [client.head(url), client.get(url, headers={"Range": "bytes=0-99"})]

    assert [response.status_code for response in responses] == [404, 404]
    assert not any(b"\x89PNG" in r.content or b"n+1" in r.content for r in responses)


@pytest.mark.parametrize("name", ["pseudo-mri-volume", "pseudo-mri-mosaic"])
def test_a_file_that_is_gone_answers_404(client, world, settings, name):
    (settings.MEDIA_ROOT / world.pseudo_mri.file).unlink()

    url = reverse(f"inference:{name}", args=[world.pseudo_mri.pk])

    assert client.get(url).status_code == 404


@pytest.fixture
def undecoded(world):
    """Answers of four people: three with a number and no picture, one without a number."""
    run = InferenceRunFactory(cohort=world.cohort, bundle=world.bundle, number=3, total=4)
    return [
        PredictionFactory(
            run=run, patient=PatientFactory(cohort=world.cohort, number=70 + n), **more
        )
        for n, more in enumerate([{}, {}, {}, NO_NUMBER])
    ]


def test_all_answers_with_a_number_are_decoded_at_once_and_only_once(client, world, undecoded):
    page = reverse("inference:cohort", args=[world.cohort.pk])
    url = reverse("inference:request-cohort-pseudo-mris", args=[world.cohort.pk])
    assert "Decode pseudo-MRIs" in client.get(page).content.decode()

    assert "3 pseudo-MRIs are queued" in client.post(url, follow=True).content.decode()
    again = client.post(url, follow=True).content.decode()

    assert "lacks its pseudo-MRI" in again
    asked = PseudoMRI.objects.filter(prediction__in=undecoded)
    assert set(asked.values_list("prediction", flat=True)) == {p.pk for p in undecoded[:3]}
    assert "Decode pseudo-MRIs" not in client.get(page).content.decode()


def test_decodings_of_a_cohort_are_counted_and_cancelled_together(client, world, undecoded):
    client.post(reverse("inference:request-cohort-pseudo-mris", args=[world.cohort.pk]))
    url = reverse("inference:cohort-pseudo-mris", args=[world.cohort.pk])
    waiting = client.get(url, {"seen": "3"}, headers=POLL)
    assert (waiting.status_code, "HX-Trigger" in waiting) == (200, False)
    assert "<strong>3</strong>" in waiting.content.decode()

    client.post(reverse("inference:cancel-cohort-pseudo-mris", args=[world.cohort.pk]))

    over = client.get(url, {"seen": "3"}, headers=POLL)
    assert over.status_code == 286
    assert "run-progress" in over["HX-Trigger"]
    states = PseudoMRI.objects.filter(prediction__in=undecoded).values_list("state", flat=True)
    assert set(states) == {JobState.CANCELLED}
