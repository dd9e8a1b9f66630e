"""Pages of trainings: who sees them, what the form refuses, what a run's page and its JSON say."""

import pytest
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.models import JobState
from apps.registry.models import TrainingEvent, TrainingRun
from apps.registry.training.folder import RunFolder
from ml.training_plan import TrainingPlan
from tests.factories import NOW, BundleFactory, CohortFactory, PatientFactory, UserFactory

pytestmark = pytest.mark.django_db
ORDER = {"people": "phantoms", "phantoms": "40", "profile": "tiny", "seed": "3", "name": "mirage",
         "device": "auto", "note": "To see."}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_folders(settings, tmp_path):
    settings.MIRAGE_DATA_DIR = tmp_path / "data"


@pytest.fixture
def admin(client):
    user = UserFactory(role=User.Role.ADMIN)
    client.force_login(user)
    return user


@pytest.fixture
def order(broker, client, admin, django_capture_on_commit_callbacks):
    """Queue a run by the form and get its row."""

    def do(**changes):
        with django_capture_on_commit_callbacks(execute=True):
            response = client.post("/training/new/", ORDER | changes)
        assert response.status_code == 302, response.context["form"].errors
        return TrainingRun.objects.latest("requested_at")

    return do


def running(run, **fields):
    TrainingRun.objects.filter(pk=run.pk).update(
        state=JobState.RUNNING, attempt=1, tries=1, started_at=NOW, worker="w",
        lease_until=timezone.now() + timezone.timedelta(minutes=5), **fields,
    )  # fmt: skip
    run.refresh_from_db()
    return run


def told(run, *events, attempt=1):
    last = run.events.count()
    TrainingEvent.objects.bulk_create(
        TrainingEvent(run=run, seq=last + n, attempt=attempt, told_at=timezone.now(), **event)
        for n, event in enumerate(events, start=1)
    )


def step(number, loss, stage="graph"):
    return {"kind": "step", "stage": stage, "step": number, "steps": 100, "values": {"loss": loss}}


def test_the_list_begins_empty_with_the_way_to_a_first_run(client, admin):
    page = client.get("/training/").content.decode()
    assert "No training run yet" in page
    assert "/training/new/" in page


def test_only_admins_come_in(client, order):
    run = order()
    client.force_login(UserFactory(role=User.Role.STUDY_MANAGER))
    assert client.get("/training/").status_code == 403
    assert client.post("/training/new/", ORDER).status_code == 403
    assert client.get(f"/training/{run.pk}/").status_code == 404
    assert client.post(f"/training/{run.pk}/cancel/").status_code == 404
    assert "Training</a>" not in client.get("/models/").content.decode()


def test_the_form_has_a_field_for_every_choice_of_the_plan_and_its_help(client, admin):
    page = client.get("/training/new/").content.decode()
    for name in TrainingPlan.__dataclass_fields__:
        assert f'name="{name}"' in page
    assert "Of the split and of everything random." in page
    assert "40 to 5,000" in page


def test_a_run_is_queued_with_the_plan_of_the_form(order):
    run = order()
    assert (run.number, run.state, run.phantoms) == (1, JobState.QUEUED, 40)
    assert run.plan == {
        "profile": "tiny", "seed": 3, "name": "mirage", "pictures": False, "device": "auto",
    }  # fmt: skip
    assert run.device == "cpu"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phantoms": "5"}, "greater than or equal to 40"),
        ({"phantoms": ""}, "How many invented people"),
        ({"seed": "-1"}, "greater than or equal to 0"),
        ({"profile": "9mm"}, "9mm is not one of the available choices"),
        ({"name": "../x"}, "begins with a letter or a digit"),
        ({"device": "cuda"}, "no worker with a GPU"),
        ({"people": "cohorts"}, "No cohort is chosen"),
    ],
)
def test_what_the_engine_would_refuse_is_refused_before_it_is_queued(
    client, admin, changes, message
):
    response = client.post("/training/new/", ORDER | changes)
    assert response.status_code == 422
    assert message in response.content.decode()
    assert not TrainingRun.objects.exists()


def test_a_cohort_nothing_can_be_learned_from_is_greyed_with_the_reason(client, admin):
    cohort = PatientFactory(cohort=CohortFactory(name="Memory clinic")).cohort
    page = client.get("/training/new/").content.decode()
    assert f'value="{cohort.pk}" disabled' in page
    assert "Nobody in it has a diagnosis of AD or CN, or a scan." in page
    response = client.post("/training/new/", ORDER | {"people": "cohorts", "cohorts": cohort.pk})
    assert "0 scanned people with AD and 0 without" in response.content.decode()


def test_choices_are_weighed_before_they_are_sent(client, admin):
    page = client.get("/training/outlook/", ORDER | {"phantoms": "100"}).content.decode()
    assert "<dd>100</dd>" in page
    assert "when a training worker is alive" in page


def test_the_same_choices_can_be_taken_again(client, order):
    order(seed="77", pictures="on")
    page = client.get("/training/new/?like=1").content.decode()
    assert 'value="77"' in page
    assert (
        'name="pictures" aria-describedby="id_pictures_helptext" id="id_pictures" checked' in page
    )


def test_a_second_run_waits_behind_the_first_and_says_so(client, order):
    first, second = order(), order()
    running(first)
    page = client.get(f"/training/{second.pk}/").content.decode()
    assert "Waits behind" in page
    assert f'href="/training/{first.pk}/"' in page


def test_the_page_says_where_a_run_stands(client, order):
    run = running(order(), stage="graph", done=12, total=40, memory_mb=812.4)
    told(run, {"kind": "stage", "stage": "read scans"}, {"kind": "stage", "stage": "graph"})
    page = client.get(f"/training/{run.pk}/").content.decode()
    assert 'aria-current="step"><b>Graph</b>' in page
    assert "12 of 40" in page
    assert "812 MB at most" in page


def test_polling_the_page_stops_when_the_run_has_ended(client, order):
    run = order()
    asked = {"HX-Request": "true"}
    assert client.get(f"/training/{run.pk}/line/", headers=asked).status_code == 200
    client.post(f"/training/{run.pk}/cancel/")
    last = client.get(f"/training/{run.pk}/line/", headers=asked)
    assert (last.status_code, last["HX-Refresh"]) == (286, "true")


def test_a_cancelled_run_is_resumed_with_all_its_tries(client, order):
    run = order()
    client.post(f"/training/{run.pk}/cancel/")
    assert "Resume" in client.get(f"/training/{run.pk}/").content.decode()
    client.post(f"/training/{run.pk}/resume/")
    run.refresh_from_db()
    assert (run.state, run.tries) == (JobState.QUEUED, 0)


def test_of_one_step_the_newest_attempt_is_drawn(client, order):
    run = running(order())
    told(run, *(step(n, 1.0) for n in range(1, 6)))
    told(run, *(step(n, 2.0) for n in range(4, 8)), attempt=2)
    drawn = client.get(f"/training/{run.pk}/events/").json()
    assert drawn["curves"] == {
        "graph": {"loss": [[1, 1], [2, 1], [3, 1], [4, 2], [5, 2], [6, 2], [7, 2]]}
    }
    assert [(each["stage"], each["step"]) for each in drawn["resumed"]] == [("graph", 4)]
    assert drawn["last"] == 9


def test_news_come_in_answers_of_a_thousand_and_say_when_there_is_more(client, order):
    run = running(order())
    told(run, *(step(n, 1 / n) for n in range(1, 1203)))
    first = client.get(f"/training/{run.pk}/events/?after=1").json()
    rest = client.get(f"/training/{run.pk}/events/?after={first['last']}").json()
    assert (len(first["events"]), first["more"], first["final"]) == (1000, True, False)
    assert (len(rest["events"]), rest["more"]) == (201, False)
    assert [each["step"] for each in rest["events"]] == list(range(1002, 1203))


def test_a_picture_is_served_from_the_folder_of_its_run_and_from_nowhere_else(client, order):
    run = running(order())
    folder = RunFolder(run.pk)
    (folder.work / "examples").mkdir(parents=True)
    (folder.work / "examples" / "a.png").write_bytes(b"picture")
    (folder.work / "checkpoint.safetensors").write_bytes(b"weights")
    shown = {"kind": "example", "stage": "autoencoder", "text": "Rows: scan, reconstruction. Two."}
    told(
        run,
        {**shown, "file": "examples/a.png"},
        {**shown, "file": "checkpoint.safetensors"},
        {**shown, "file": "../../../keys/secret"},
    )
    picture = client.get(f"/training/{run.pk}/examples/1/")
    assert picture.content == b"picture"
    assert "no-store" in picture["Cache-Control"]
    assert client.get(f"/training/{run.pk}/examples/2/").status_code == 404
    assert client.get(f"/training/{run.pk}/examples/3/").status_code == 404
    page = client.get(f"/training/{run.pk}/").content.decode()
    assert 'Reconstruction<span class="mark">SYNTHETIC</span>' in page
    assert 'Scan<span class="mark">' not in page


def test_checkpoints_are_deleted_only_when_that_is_meant(client, order):
    run = order()
    client.post(f"/training/{run.pk}/cancel/")
    folder = RunFolder(run.pk)
    folder.make()
    (folder.work / "graph.safetensors").write_bytes(b"weights")
    client.post(f"/training/{run.pk}/drop/")
    assert (folder.work / "graph.safetensors").exists()
    client.post(f"/training/{run.pk}/drop/", {"is_meant": "yes"})
    assert not (folder.work / "graph.safetensors").exists()
    run.refresh_from_db()
    assert not run.may_be_resumed
    client.post(f"/training/{run.pk}/resume/")
    page = client.get(f"/training/{run.pk}/").content.decode()
    assert "cannot be resumed: its checkpoints and its snapshot were deleted on" in page


def test_the_swap_ratio_is_drawn_beside_its_gate(client, order):
    run = order()
    gate = {"name": "swap_ratio", "value": 0.9, "bound": 0.8, "people": 40, "passed": True}
    card = {"gates": [gate], "training": {"seconds": {}}}
    running(run)
    told(run, {"kind": "metric", "stage": "evaluation", "values": {"swap ratio, test people": 0.9}})
    unfinished = client.get(f"/training/{run.pk}/").content.decode()
    TrainingRun.objects.finish(run.pk, attempt=1, bundle=BundleFactory(card=card))
    finished = client.get(f"/training/{run.pk}/").content.decode()
    assert 'aria-label="Swap ratio 0.90"' in unfinished
    assert 'aria-label="Swap ratio 0.90, the gate asks for 0.80"' in finished
