"""A version is evaluated on people set aside; everybody reads it, administrators ask for it.

What a worker finds from beginning to end is in tests/browser/test_registry.py.
"""

import os
import time
from dataclasses import asdict
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from apps.jobs.attempt import carry_out
from apps.jobs.models import JobState
from apps.patients import dependents
from apps.registry import services
from apps.registry.evaluations import reports, runner
from apps.registry.evaluations import services as evaluations
from apps.registry.evaluations.presenting import parts_of
from apps.registry.gates import services as gates
from apps.registry.gates.holdouts import HoldoutError, folder_of_holdout, people_of
from apps.registry.models import Evaluation, TrainingRun
from tests.factories import NOW, BundleFactory, UserFactory
from tests.inference.world import CARD
from tests.registry.cases import (
    DONE,
    INVENTED,
    VIEW,
    another,
    freeze,
    make_admin,
    make_evaluation,
    make_holdout,
    with_donor,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("patient_lease")]
WAITING = {"state": JobState.QUEUED, "finished_at": None, "view": {}, "headline": {}}
FAILED = {"state": JobState.FAILED, "reason": "It failed.", "view": {}, "headline": {}}


@pytest.fixture
def page(client):
    """The text of a page, for whoever asks: a clinician if nobody is named."""

    def get(name, *args, user=None, query=""):
        client.force_login(user or UserFactory())
        return client.get(reverse(f"registry:{name}", args=args) + query).content.decode()

    return get


@pytest.fixture
def post(client):
    def send(view, /, *args, **data):
        client.force_login(make_admin())
        return client.post(reverse(f"registry:{view}", args=args), data, follow=True)

    return send


def ask(bundle, holdout, **kwargs):
    asked = {"is_quick": True, "requested_by": make_admin(), "now": timezone.now()} | kwargs
    return evaluations.request_evaluation(bundle=bundle, holdout=holdout, **asked)


def evaluated(bundle, holdout):
    asked = ask(bundle, holdout)
    runner.evaluate(evaluation_id=asked.pk)
    asked.refresh_from_db()
    return asked


def test_people_who_trained_the_bundle_are_refused_by_name_and_by_training_run(
    bundle, frozen, diagnosed
):
    person = people_of(folder_of_holdout(frozen.pk))[0]["participant_id"]
    by_name = evaluated(with_donor(bundle, person), frozen)
    holdout = freeze(cohorts=[diagnosed])
    run = TrainingRun.objects.create(
        number=7, plan={}, bundle=bundle, requested_by=make_admin(),
        requested_at=holdout.finished_at - timedelta(days=1), **DONE,
    )  # fmt: skip
    run.cohorts.add(diagnosed)
    diagnosed.patients.update(created_at=timezone.now() - timedelta(days=2))
    by_run = evaluated(bundle, holdout)

    for found, words in (
        (by_name, f"1 of {INVENTED} people of People of May have the id of somebody whose scan"),
        (by_run, f"12 of 12 people of May trained {bundle}: training run 7 began before they"),
    ):
        assert found.state == JobState.FAILED
        assert words in found.reason
        assert (found.view, found.report_sha256) == ({}, "")
    assert "--new" not in by_name.reason
    assert "Freeze other people, and ask again." in by_name.reason
    assert not reports.report_of(by_name).exists()


def test_people_who_are_dealt_as_those_of_the_training_were_are_refused(
    bundle, bundle_folder, frozen, tmp_path
):
    """A bundle whose card says that it was trained on three quarters of these very people."""
    from ml.data.cohort import Cohort, split_hash
    from ml.training.split import split_people

    seed = 4  # with which enough of both diagnoses train, and test
    parts = split_people(Cohort.load(folder_of_holdout(frozen.pk)), seed)
    training = bundle.card["training"] | {"split": split_hash(asdict(parts))}
    folder = another(bundle_folder, tmp_path / "own", training=training, seed=seed)
    own = services.register_bundle(folder=folder, now=timezone.now())

    found = evaluated(own, frozen)

    assert found.state == JobState.FAILED
    assert "People of May is dealt as the people who trained this bundle were" in found.reason


def test_a_holdout_that_was_changed_or_retired_meanwhile_judges_nobody(bundle, frozen):
    asked = ask(bundle, frozen)
    with pytest.raises(HoldoutError, match="in use"):
        gates.retire_holdout(holdout=frozen, now=timezone.now())
    (folder_of_holdout(frozen.pk) / "ehr.csv").write_text("patient,age\n")
    runner.evaluate(evaluation_id=asked.pk)
    asked.refresh_from_db()
    assert "are not those that were frozen" in asked.reason

    gates.retire_holdout(holdout=frozen, now=timezone.now())
    with pytest.raises(HoldoutError, match="judges nobody"):
        evaluations.retry_evaluation(evaluation=asked)
    with pytest.raises(HoldoutError, match="judges nobody"):
        ask(bundle, frozen)


def test_one_evaluation_of_a_version_on_a_holdout_at_a_time(bundle, frozen):
    first = ask(bundle, frozen)
    with pytest.raises(evaluations.EvaluationError, match="is being evaluated on People of May"):
        ask(bundle, frozen)
    with pytest.raises(evaluations.EvaluationError, match="under way or done"):
        evaluations.retry_evaluation(evaluation=first)
    evaluations.cancel_evaluation(evaluation=first)
    with pytest.raises(evaluations.EvaluationError, match="already ended"):
        evaluations.cancel_evaluation(evaluation=first)
    first.refresh_from_db()

    second = ask(bundle, frozen)
    with pytest.raises(evaluations.EvaluationError, match="is being evaluated"):
        evaluations.retry_evaluation(evaluation=first)
    evaluations.cancel_evaluation(evaluation=second)
    evaluations.retry_evaluation(evaluation=first)
    assert Evaluation.objects.active().get() == first


def test_a_cancelled_evaluation_stops_at_its_next_step_and_leaves_no_file(bundle, frozen):
    asked = ask(bundle, frozen)
    went_on = []

    def work(attempt):
        progress = runner.progress_of(attempt)
        progress("images", 1, 40)
        evaluations.cancel_evaluation(evaluation=asked)
        progress("another stage", 0, 1)
        went_on.append(True)

    carry_out(Evaluation, asked.pk, work)

    asked.refresh_from_db()
    assert (asked.state, asked.stage, went_on) == (JobState.CANCELLED, "images", [])
    assert not reports.report_of(asked).exists()


def test_a_version_whose_files_are_gone_is_not_evaluated():
    with pytest.raises(evaluations.EvaluationError, match="cannot be used"):
        ask(BundleFactory(card=CARD), make_holdout())


def test_the_database_keeps_figures_and_success_together():
    holdout, bundle = make_holdout(), BundleFactory()
    for wrong in (
        {"view": {}},
        {"headline": {}},
        {**FAILED, "view": VIEW},
        {"report_sha256": "a" * 64, "report_bytes": 0},
        {"report_sha256": "no digest", "report_bytes": 9},
    ):
        fields = {"view": VIEW, "headline": {"people": 20}, **DONE} | wrong
        with pytest.raises(IntegrityError), transaction.atomic():
            Evaluation.objects.create(
                bundle=bundle,
                holdout=holdout,
                requested_by=make_admin(),
                requested_at=NOW,
                **fields,
            )
    make_evaluation(bundle, holdout, **WAITING)
    with pytest.raises(IntegrityError, match="evaluated_once_at_a_time"), transaction.atomic():
        make_evaluation(bundle, holdout, **WAITING)


def test_patients_are_not_deleted_from_under_an_evaluation(diagnosed):
    holdout = make_holdout(phantoms=None)
    holdout.cohorts.add(diagnosed)
    assert not dependents.busy(cohort=diagnosed, patient=None)
    make_evaluation(BundleFactory(), holdout, **WAITING)

    assert "judged on a holdout" in dependents.busy(cohort=diagnosed, patient=None)


def test_figures_stay_when_the_people_go(frozen, page):
    made = make_evaluation(BundleFactory(card=CARD), frozen)
    gates.retire_holdout(holdout=frozen, now=timezone.now())

    text = page("evaluation", made.pk)

    assert "retired since: its people are deleted here, the figures stay" in text
    assert VIEW["sentences"][0] in text
    assert "0.80 (0.75 to 0.85), n 200" in page("version", made.bundle.pk)


def test_the_file_goes_with_its_row_and_files_without_a_row_are_found(
    django_capture_on_commit_callbacks,
):
    gone, kept, lost = (
        make_evaluation(BundleFactory(), holdout=make_holdout(name=n)) for n in "abc"
    )
    with django_capture_on_commit_callbacks(execute=True):
        Evaluation.objects.filter(pk=gone.pk).delete()
    assert not reports.report_of(gone).exists()
    stray = reports.report_of(kept).with_name(f"{uuid4()}.1.zip")
    stray.write_bytes(b"PK")
    for each in (stray, reports.report_of(kept)):
        os.utime(each, (0, 0))
    reports.report_of(lost).unlink()

    found = list(reports.leftover_reports())

    assert [stray.name in found[0].what, str(lost.pk) in found[1].what] == [True, True]
    assert len(found) == 2
    for each in found:
        each.remove()
    assert (stray.exists(), reports.report_of(kept).exists()) == (False, True)
    assert not list(reports.leftover_reports())


def test_a_report_that_is_gone_or_was_changed_is_not_given_away(client, page):
    made = make_evaluation(BundleFactory(card=CARD))
    path = reports.report_of(made)
    path.write_bytes(path.read_bytes() + b"x")
    client.force_login(make_admin())
    for name in ("evaluation-report", "evaluation-figures"):
        answer = client.get(reverse(f"registry:{name}", args=[made.pk]), follow=True)
        assert "is not the one that was written" in answer.content.decode()
    path.unlink()
    answer = client.get(reverse("registry:evaluation-report", args=[made.pk]), follow=True)
    assert "The file of this report is not there." in answer.content.decode()


def test_the_page_shows_words_figures_tables_and_what_is_empty(page):
    made = make_evaluation(BundleFactory(card=CARD))

    text = page("evaluation", made.pk)

    for words in (
        "How well demo 0.1 answers", "These people are invented.", "A &lt; b &amp; c.",
        "In figures", "For a scientist", "No scans, so no picture is judged.",
        '<td class="n">0.800 (0.750 to 0.850)</td>', "TRIPOD+AI", "the recorded diagnosis",
        'data-figure="roc"', "one of every 3 points of the longest curve",
        '<td class="n">AD</td><td class="n">0.5</td><td class="n">\u22120.25 to 0.6</td>',
        '<td class="n">0.037</td>',
    ):  # fmt: skip
        assert words in text, words
    assert "report.zip" not in text
    assert "Retry" not in text
    as_admin = page("evaluation", made.pk, user=make_admin())
    assert reverse("registry:evaluation-report", args=[made.pk]) in as_admin


def test_how_far_an_evaluation_is_can_be_watched_and_its_page_reloads_when_it_has_ended(
    client, page
):
    made = make_evaluation(BundleFactory(card=CARD), **WAITING)
    assert "Waits for a worker" in page("evaluation", made.pk)
    assert "No worker is alive for training." in page("evaluation", made.pk)
    Evaluation.objects.filter(pk=made.pk).update(
        state=JobState.RUNNING, attempt=1, tries=1, worker="w", started_at=NOW, lease_until=NOW,
        stage="record-only models", done=1, total=4,
    )  # fmt: skip
    watching = page("evaluation", made.pk, user=make_admin())
    assert "Record-only models</span>: <strong>1</strong> of 4" in watching
    assert "Cancel" in watching
    assert 'hx-trigger="every 1s"' in watching

    Evaluation.objects.filter(pk=made.pk).update(
        state=JobState.FAILED, reason="The disk is full.", worker="", lease_until=None,
        finished_at=NOW,
    )  # fmt: skip
    polled = client.get(
        reverse("registry:evaluation", args=[made.pk]), headers={"HX-Request": "true"}
    )
    assert polled["HX-Refresh"] == "true"
    assert "The disk is full." in page("evaluation", made.pk)


def test_from_the_page_of_a_version_to_its_evaluation(bundle, frozen, post, page):
    empty = page("version", bundle.pk)
    assert "Not evaluated on people set aside yet." in empty
    assert "Evaluate on" not in empty
    asked = post("request-evaluation", bundle.pk, holdout=frozen.pk, is_quick="on")
    made = Evaluation.objects.get()
    assert made.is_quick
    assert "Quick: beside logistic regression alone" in asked.content.decode()
    again = post("request-evaluation", bundle.pk, holdout=frozen.pk)
    assert "is being evaluated on People of May" in again.content.decode()
    nobody = post("request-evaluation", bundle.pk, holdout=uuid4())
    assert "Choose a holdout that is frozen" in nobody.content.decode()
    assert "Retry" in post("cancel-evaluation", made.pk).content.decode()
    assert "Queued" in post("retry-evaluation", made.pk).content.decode()
    assert "1 evaluation<" in page("holdouts", user=make_admin())


def test_two_versions_on_the_same_people_have_their_evaluations_side_by_side(page):
    one, two = (BundleFactory(card=CARD) for _ in range(2))
    first = make_evaluation(one)
    query = f"?v={one.pk}&v={two.pk}"
    assert "Both were evaluated" not in page("compare", query=query)
    second = make_evaluation(two, first.holdout)

    text = page("compare", query=query)

    assert "Both were evaluated on the same people" in text
    for each in (first, second):
        assert reverse("registry:evaluation", args=[each.pk]) in text


def test_sections_stand_in_two_columns_of_one_height_and_wide_ones_alone():
    def section(name, rows, columns=2):
        table = {"caption": "", "head": ["x"] * columns, "rows": [["x"] * columns] * rows}
        return VIEW["sections"][0] | {"id": name, "table": table}

    long, short, other, wide = (
        section("long", 20), section("short", 4), section("other", 9), section("wide", 3, columns=5)
    )  # fmt: skip
    [part] = parts_of({"sections": [long, short, other, wide, short]})

    rows = [[[each.said["id"] for each in side] for side in (row.left, row.right)]
            for row in part.rows]  # fmt: skip

    assert rows == [[["long"], ["short", "other"]], [["wide"], []], [["short"], []]]


def test_the_page_of_an_evaluation_is_quick_however_long_its_view_is(client):
    section = VIEW["sections"][1]
    long = {**VIEW, "sections": [{**section, "id": f"roc{n}"} for n in range(40)]}
    made = make_evaluation(BundleFactory(card=CARD), view=long)
    client.force_login(UserFactory())
    address = reverse("registry:evaluation", args=[made.pk])
    client.get(address)

    started = time.process_time()
    client.get(address)

    assert time.process_time() - started < 0.3
