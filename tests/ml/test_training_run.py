"""A training that is stopped or killed anywhere ends with the weights it would have had."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from PIL import Image

from ml.card import verify
from ml.data.cohort import Cohort, CohortError
from ml.data.phantom import make_phantom_cohort
from ml.training import run as engine
from ml.training.checkpoint import CheckpointError, locked
from ml.training.commands import Train
from ml.training.course import DeviceError, StoppedError
from ml.training.run import check_plan, run_training
from ml.training.split import split_people
from ml.training_plan import STAGES
from tests.conftest import ROOT
from tests.ml.training_case import PLAN, QUICK, Onlooker

pytestmark = pytest.mark.slow
STEPS_AND_STATES = ("autoencoder", "graph", "distillation", "pseudo-MRIs", "readers", "evaluation")
TIMELESS = ("created_at", "command", "name")


@pytest.fixture(autouse=True, scope="module")
def _quick():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "PROFILES", {"tiny": QUICK})
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "cohort"
    return make_phantom_cohort(folder, patients=24, spacing_mm=8.0, seed=2, workers=1)


@pytest.fixture(scope="module")
def text_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("text")


@pytest.fixture(scope="module")
def whole(cohort, text_cache, tmp_path_factory):
    """An uninterrupted training: its folder, its card, and who looked on."""
    folder, onlooker = tmp_path_factory.mktemp("whole"), Onlooker()
    card = run_training(
        cohort, PLAN, folder / "run", folder / "out", onlooker, text_cache=text_cache
    )
    return folder, card, onlooker


def contents(card):
    """All that a card says but when it was made and how long that took."""
    entries = json.loads(card.to_json())
    entries["training"].pop("seconds")
    return {name: value for name, value in entries.items() if name not in TIMELESS}


def test_stopped_in_every_stage_and_resumed_it_ends_with_the_same_card(
    cohort, text_cache, whole, tmp_path
):
    """The same weights, and the same figures to the last digit."""
    run, out, places = tmp_path / "run", tmp_path / "out", []
    for stage in STEPS_AND_STATES:
        onlooker = Onlooker(
            lambda event, stage=stage: event.kind == "step" and event.stage == stage
        )
        with pytest.raises(StoppedError, match=f"during the stage {stage}"):
            run_training(cohort, PLAN, run, out, onlooker, text_cache=text_cache)
        steps = [event.step for event in onlooker.events if event.kind == "step"]
        places.append((stage, steps[-1]))
        assert not (out / "card.json").exists()
    last = Onlooker()
    card = run_training(cohort, PLAN, run, out, last, text_cache=text_cache)

    assert contents(card) == contents(whole[1])
    assert verify(out).version == whole[1].version
    trained_again = {event.stage for event in last.events if event.kind == "step"}
    assert trained_again <= {"read scans", "evaluation"}, places


def test_killed_while_it_learns_it_goes_on_from_the_command_line_to_the_same_weights(
    cohort, text_cache, whole, tmp_path
):
    """SIGKILL between two steps of a fold; then `python -m ml train` on the same folder."""
    run, out = tmp_path / "out-run", tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.ml.training_case", cohort, run, out, text_cache],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with child:
        for line in child.stdout:
            told = json.loads(line)
            if told["stage"] == "graph" and told["kind"] == "step" and told["step"] == 6:
                child.kill()
    assert not out.exists()
    assert (run / "checkpoints" / "graph-1-loop.json").exists()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml.training.commands.USER_CACHE", text_cache)
        Train(cohort=cohort, out=out, json=True, **vars_of(PLAN)).run()
    card = verify(out)
    assert card.files == whole[1].files
    assert card.command == (
        "python -m ml train --cohort cohort --profile tiny --seed 9 --device cpu --out out"
    )
    assert not (run / "checkpoints").exists()


def vars_of(plan):
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}


def test_whoever_looks_on_is_told_stages_losses_figures_and_pictures(whole):
    folder, card, onlooker = whole
    assert tuple(onlooker.stages()) == STAGES
    steps = [event for event in onlooker.events if event.kind == "step"]
    learning = [event for event in steps if event.stage in {"autoencoder", "graph", "readers"}]
    assert all({"loss", "learning rate"} <= event.values.keys() for event in learning)
    for stage in STAGES[:-1]:
        done = [event for event in steps if event.stage == stage]
        assert done[-1].step == done[-1].steps, stage
    figures = {}
    for event in onlooker.events:
        if event.kind == "metric":
            figures |= event.values
    auc = card.metrics["auc"]
    assert figures[f"AUC of the surrogate, {auc['n']} test people"] == auc["value"]
    assert {
        "AUC of the teacher on scans, out of fold",
        "AUC of the surrogate, out of fold",
        "AUC of the CNN on pseudo-MRIs, out of fold",
        "SSIM of pseudo-MRIs, test people",
    } <= figures.keys()
    pictures = [event.file for event in onlooker.events if event.kind == "example"]
    assert pictures == ["examples/pseudo-mri.png"]
    with Image.open(folder / "run" / pictures[0]) as picture:
        assert picture.width > picture.height > 100


def test_a_card_says_what_it_was_made_from_and_the_run_folder_has_all_hashes(whole, cohort):
    folder, card, _ = whole
    snapshot = json.loads((folder / "run" / "snapshot.json").read_text())
    assert card.lineage["data_sha256"] == snapshot["sha256"]
    assert card.lineage["split"] == snapshot["split"] == card.training["split"]
    assert set(snapshot["scans"]) == set(Cohort.load(cohort).ids)
    assert card.lineage["threads"] == 1


def test_a_run_folder_goes_on_with_its_own_plan_people_and_threads_only(
    whole, cohort, text_cache, tmp_path
):
    run = whole[0] / "run"
    with pytest.raises(CheckpointError, match="begun with another plan"):
        run_training(cohort, replace(PLAN, seed=11), run, tmp_path / "out")
    somebody = Cohort.load(cohort).persons[person_with_ad(cohort)]
    with pytest.raises(CheckpointError, match="begun with other people or scans"):
        run_training(cohort, PLAN, run, tmp_path / "out", exclude_persons=[somebody])
    with locked(run), pytest.raises(CheckpointError, match="Another process is training in run"):
        run_training(cohort, PLAN, run, tmp_path / "out")
    torch.set_num_threads(2)
    asked = Onlooker(lambda event: event.kind == "step")
    with pytest.raises(StoppedError):
        run_training(cohort, PLAN, run, tmp_path / "out", asked)
    assert torch.get_num_threads() == 1


def person_with_ad(folder):
    cohort = Cohort.load(folder)
    return next(each for each in split_people(cohort, PLAN.seed).test if cohort.labels[each])


def test_people_who_are_left_out_are_in_no_part_and_in_no_hash(cohort):
    all_of_them, fewer = check_plan(cohort, PLAN), check_plan(cohort, PLAN, ["sub-0001"])
    assert (all_of_them.people, fewer.people) == (24, 23)
    assert fewer.train + fewer.test == all_of_them.train + all_of_them.test - 1
    assert fewer.split != all_of_them.split
    assert all_of_them.ad + all_of_them.cn == all_of_them.with_scan == 24
    assert not all_of_them.problems


def test_a_cohort_that_cannot_be_trained_on_is_refused_before_anything_is_read(cohort, tmp_path):
    without_scans = tmp_path / "cohort"
    without_scans.mkdir()
    for name in ("participants.tsv", "ehr.csv", "cohort.json"):
        (without_scans / name).write_bytes((cohort / name).read_bytes())
    watcher = Onlooker()
    with pytest.raises(CohortError, match="None of the 24 people of the cohort has a T1 scan"):
        run_training(without_scans, PLAN, tmp_path / "run", tmp_path / "out", watcher)
    assert not watcher.events
    ids = [line.split(",")[0] for line in (cohort / "ehr.csv").read_text().splitlines()[1:]]
    rows = "\n".join(f"{each},70" for each in ids)
    (without_scans / "ehr.csv").write_text(f"patient,age\n{rows}\n")
    (without_scans / "sub-0001").symlink_to(cohort / "sub-0001")
    problems = check_plan(without_scans, PLAN).problems
    assert "1 of 82 inputs of the model have a value" in problems[0]
    assert "Training needs 5 of each" in problems[1]


def test_a_gpu_that_is_not_there_is_named_before_anything_is_read(cohort, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="torch sees none here"):
        run_training(cohort, replace(PLAN, device="cuda"), tmp_path / "run", tmp_path / "out")
