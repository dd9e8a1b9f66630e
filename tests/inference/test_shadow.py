"""The challenger scores beside the champion: of its own accord, last, and unseen."""

import numpy as np
import pytest
from celery import current_app
from django.urls import reverse
from django.utils import timezone
from kombu import Connection, Consumer, Queue

from apps.inference import comparing, dependents, engine, runner, services, shadowing
from apps.inference.comparing import Pair, agreement, paired_auc
from apps.inference.models import InferenceRun, ShadowPrediction, ShadowRun
from apps.jobs.models import JobState
from apps.registry import promoting
from apps.registry import services as registry
from apps.registry.models import Deployment
from mirage_web.management.commands.worker import ROLES
from ml.evaluation import metrics
from tests.factories import BundleFactory, DeploymentFactory
from tests.inference.test_reports import text_of
from tests.inference.world import CARD, make_world
from tests.registry.cases import DONE, another, make_admin, signature

pytestmark = pytest.mark.django_db
MARK = 0.314159  # a probability that only the challenger ever said


@pytest.fixture(autouse=True)
def _fresh_engine(settings):
    settings.MIRAGE_JOB_LEASE_S = 600
    engine._loaded.clear()
    yield
    engine._loaded.clear()


@pytest.fixture
def challenger(bundle, bundle_folder, tmp_path):
    folder = another(bundle_folder, tmp_path / "challenger", version="challenger")
    made = registry.register_bundle(folder=folder, now=timezone.now())
    promoting.set_challenger(bundle=made, signature=signature(), now=timezone.now())
    return made


def run_all(cohort):
    run = services.request_run(cohort=cohort, requested_by=cohort.created_by, now=timezone.now())
    runner.execute(run_id=run.pk)
    return InferenceRun.objects.get(pk=run.pk)


def test_every_finished_run_is_scored_by_the_challenger_in_a_job_of_its_own(
    bundle, challenger, people
):
    run = run_all(people(8))
    shadow = ShadowRun.objects.get()
    assert (shadow.run, shadow.bundle, shadow.state) == (run, challenger, JobState.QUEUED)
    assert not ShadowPrediction.objects.exists()

    shadowing.execute(shadow_id=shadow.pk)
    shadowing.execute(shadow_id=shadow.pk)  # a broker may say it twice

    shadow.refresh_from_db()
    assert (shadow.state, shadow.reason) == (JobState.SUCCEEDED, "")
    assert shadow.predictions.count() == run.total == 8
    for each in shadow.predictions.select_related("prediction"):  # the same weights
        assert each.answer == each.prediction.answer
        assert each.probability == each.prediction.probability


def test_without_a_challenger_there_is_no_shadow(bundle, people):
    run_all(people(2))

    assert not ShadowRun.objects.exists()


def test_a_shadow_that_lost_its_worker_goes_on_where_it_stopped(
    bundle, challenger, people, monkeypatch
):
    run_all(people(6))
    shadow = ShadowRun.objects.get()
    monkeypatch.setattr(shadowing, "PATIENTS_AT_ONCE", 2)
    scored, real = [], engine.predict

    def dies_at_the_third(*, bundle, records):
        scored.append(len(records))
        if len(scored) == 3:
            raise KeyboardInterrupt
        return real(bundle=bundle, records=records)

    monkeypatch.setattr(engine, "predict", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        shadowing.execute(shadow_id=shadow.pk)
    assert shadow.predictions.count() == 4

    ShadowRun.objects.filter(pk=shadow.pk).update(
        state=JobState.QUEUED, worker="", lease_until=None
    )
    shadowing.execute(shadow_id=shadow.pk)
    assert shadow.predictions.count() == 6


@pytest.fixture
def world(settings):
    """A patient whose shadow says something that nobody else says."""
    made = make_world(settings.MEDIA_ROOT)
    made.challenger = BundleFactory(card=CARD, version="the-challenger")
    made.shadow = ShadowRun.objects.create(
        run=made.run, bundle=made.challenger, requested_by=made.users["owner"],
        requested_at=timezone.now(), **DONE,
    )  # fmt: skip
    ShadowPrediction.objects.create(
        shadow=made.shadow, prediction=made.prediction, answer="cn", probability=MARK
    )
    DeploymentFactory(
        bundle=made.challenger, alias="challenger", deployed_at=timezone.now(), reason="A try."
    )
    return made


def test_no_page_export_or_report_of_a_patient_shows_what_the_challenger_said(client, world):
    client.force_login(world.users["owner"])
    cohort, patient = [world.cohort.pk], [world.patient.pk]
    addresses = [
        reverse(f"inference:{name}", args=args)
        for name, args in {
            "patient": patient, "cohort": cohort, "performance": cohort, "queue": [],
            "report": patient, "risk-assessment": patient, "export-file": cohort,
            "run": [world.run.pk], "explanation": [world.explanation.pk],
            "pseudo-mri": [world.pseudo_mri.pk],
        }.items()
    ]  # fmt: skip

    for address in addresses:
        response = client.get(address, follow=True)
        assert response.status_code in {200, 286}, address
        content = b"".join(response) if response.streaming else response.content
        if response["Content-Type"] == "application/pdf":
            content = text_of(content).encode()
        for trace in (b"0.31", b"31 %", b"the-challenger", b"shadow", b"Shadow"):
            assert trace not in content, f"{trace!r} on {address}"
    assert client.get(reverse("inference:shadow", args=[world.challenger.pk])).status_code == 403


def test_a_patient_that_goes_takes_the_shadow_along(world):
    dependents.RunsAndVolumes().delete(world.cohort, world.patient)

    assert not ShadowPrediction.objects.exists()


def test_a_cohort_that_goes_takes_its_shadows_along(world):
    dependents.RunsAndVolumes().delete(world.cohort, None)

    assert not ShadowPrediction.objects.exists()
    assert not ShadowRun.objects.exists()


def test_an_administrator_sees_the_two_compared_without_single_patients(client, world):
    client.force_login(make_admin())

    text = client.get(reverse("inference:shadow", args=[world.challenger.pk])).content.decode()
    drawn = client.get(reverse("inference:shadow-figures", args=[world.challenger.pk])).json()

    assert "fewer than 5 patients" in text
    assert "fewer than 5</td>" in text  # the one answer that would change
    assert world.patient.pseudonym not in text
    assert drawn["cells"] == [{"champion": 7, "challenger": 3, "n": None}]
    assert (drawn["bands"], drawn["mean"]) == ([], None)


def pairs(count, shift=0.1):
    rng = np.random.default_rng(1)
    truth = rng.random(count) < 0.5
    first = np.clip(0.5 + 0.2 * (truth - 0.5) + rng.normal(0, 0.15, count), 0.01, 0.85)
    return [
        Pair(float(each), float(each) + shift, "ad", "cn" if place % 10 == 0 else "ad", bool(ad))
        for place, (each, ad) in enumerate(zip(first, truth, strict=True))
    ]


def test_a_constant_shift_is_the_mean_difference_and_changes_no_auc():
    found = agreement(pairs(200))

    assert found.mean_difference.value == pytest.approx(0.1)
    assert found.limits == pytest.approx((0.1, 0.1))
    assert found.agreeing.value == pytest.approx(0.9)
    assert [(each.champion, each.challenger, each.n) for each in found.changes] == [
        ("ad", "cn", 20)
    ]
    assert found.auc_difference.value == pytest.approx(0.0)
    assert sum(each["n"] or 0 for each in found.cells) <= found.numbered == 200


def test_the_paired_auc_is_that_of_the_evaluation():
    rng = np.random.default_rng(2)
    labels = rng.random(150) < 0.4
    first, second = (labels * 0.8 + rng.normal(size=150) for _ in range(2))

    ours = paired_auc(first.tolist(), second.tolist(), labels.tolist())
    theirs = metrics.auc_difference(first, second, labels.astype(np.int64))

    assert (ours.value, ours.low, ours.high) == pytest.approx(
        (theirs.value, theirs.low, theirs.high)
    )


def test_too_few_patients_are_not_counted_out():
    found = agreement(pairs(4))

    assert found.told == "fewer than 5"
    assert (found.agreeing, found.mean_difference, found.auc_difference) == (None, None, None)
    assert all(each["n"] is None for each in found.cells)
    assert comparing.agreement([]).people == 0


def test_a_promotion_ends_the_shadow(bundle, challenger, people):
    Deployment.objects.create(
        bundle=challenger, deployed_at=timezone.now(), reason="It is the champion now."
    )
    run_all(people(2))

    assert not ShadowRun.objects.exists()


def test_the_worker_of_answers_takes_shadows_last(broker, settings):
    """The order of its queues, on the real broker, with the settings that workers use."""
    first, last = ROLES["surrogate"]
    assert (first, last) == (InferenceRun.QUEUE, ShadowRun.QUEUE)
    taken = []
    with Connection(
        settings.CELERY_BROKER_URL, transport_options=current_app.conf.broker_transport_options
    ) as connection:
        queues = [Queue(name, routing_key=name) for name in (first, last)]
        producer = connection.Producer()
        for name in (last, last, first, first):
            producer.publish({}, routing_key=name, declare=queues)
        channel = connection.channel()
        channel.basic_qos(0, 1, False)

        def take(body, message):
            taken.append(message.delivery_info["routing_key"])
            message.ack()

        with Consumer(channel, queues=queues, callbacks=[take]):
            while len(taken) < 4:
                connection.drain_events(timeout=5)

    assert taken == [first, first, last, last]
