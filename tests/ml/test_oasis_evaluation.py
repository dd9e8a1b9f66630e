"""What is said of OASIS-1 is said of people whom no model had seen; on phantoms in its form."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.concepts import dictionary
from ml.config import PROFILES, components_only
from ml.data.cohort import CohortError
from ml.data.oasis import RECORD, read_oasis
from ml.evaluation.baselines import logistic_regression
from ml.evaluation.oasis import (
    LABELLED_ALONE,
    MEASURED,
    PROXIMAL,
    SURROGATE,
    TEACHER,
    Scanned,
    compare_on_oasis,
    held_out_scores,
    readable,
)
from ml.evaluation.oasis_autoencoder import autoencoder_on_oasis, group_shift
from ml.evaluation.oasis_autoencoder import readable as readable_images
from ml.evaluation.repeated import deal
from ml.patient_graph import FindingScaler
from ml.training import teacher
from ml.training.learn import knowledge
from tests.ml.oasis_case import FAILED, LOST, YOUNG, write_oasis

pytestmark = pytest.mark.slow
PEOPLE = 64
TINY = PROFILES["tiny"]
QUICK = replace(
    TINY,
    pretrain=replace(TINY.pretrain, epochs=2),
    propagate=replace(TINY.propagate, steps=4),
    distill=replace(TINY.distill, steps=4, blends=(0.0,)),
)


def silent(*_):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_oasis(tmp_path_factory.mktemp("oasis"), people=PEOPLE)


@pytest.fixture(scope="module", autouse=True)
def _few_penalties():
    """Every head is chosen from two penalties: what is tested here is not how well it is tuned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "PENALTIES", (1e-3, 1e-1))
        patch.setattr(logistic_regression, "INVERSE_PENALTIES", (1e-2, 1.0))
        yield


@pytest.fixture(scope="module")
def results(folder):
    return compare_on_oasis(folder, None, repeats=1, profile=QUICK, folds=2, models=("lr",))


def test_everybody_is_counted(results):
    people = results["people"]
    judged = PEOPLE - YOUNG - FAILED - LOST
    assert people["judged"] == judged
    assert people["scans_refused"] == FAILED
    assert people["sessions_without_scan"] == LOST
    assert people["scans"] == people["scans_without_label_in_training"] + judged
    assert people["persons"] == people["scans"] - 1
    assert results["auc"][SURROGATE]["n"] == judged
    assert all(len(each) == judged for each in results["runs"][0]["scores"].values())


def test_scans_tell_more_than_these_records_and_a_near_copy_of_the_label_more_still(results):
    area = {name: figure["value"] for name, figure in results["auc"].items()}
    assert area[PROXIMAL] > area[TEACHER] > area["lr"]
    assert results["minus_best_record_model"][TEACHER]["low"] > 0
    assert set(area) > {SURROGATE, LABELLED_ALONE, MEASURED}
    assert f"| {SURROGATE} | 0." in readable(results)


def test_repeats_that_are_done_are_kept(folder, results):
    again = compare_on_oasis(
        folder,
        None,
        repeats=1,
        profile=QUICK,
        folds=2,
        models=("lr",),
        done=results["runs"],
        progress=lambda stage, *_: stage == "read scans" or pytest.fail("it was run again"),
    )
    assert again == results


def test_who_is_judged_takes_no_part_in_what_judges_them(folder, results):
    """Other labels and scans of held-out people change no reading of the one who keeps its own.

    The control changes some labels of training people.
    """
    people = Scanned.read(read_oasis(folder).cohort, TINY.spacing_mm, silent)
    settings = components_only(QUICK)
    concepts = [dictionary()[name] for name in RECORD.values()]
    graph, _ = knowledge(FindingScaler(concepts), settings, None)
    judged = people.judged
    names = [people.persons[row] for row in judged]
    fold = deal(names, people.answers(judged).tolist(), folds=2, seed=1)
    test, train = judged[fold == 0], np.setdiff1d(np.arange(len(people.persons)), judged[fold == 0])
    before = {
        name: np.array(each)[fold == 0][0] for name, each in results["runs"][0]["scores"].items()
    }

    def say(label, volumes, regions):
        others = replace(people, label=label, volumes=volumes, regions_ml=regions)
        said = held_out_scores(others, train, test, graph, settings, ("lr",), 1)
        return {name: each[0] for name, each in said.items()}

    label, volumes, regions = (
        people.label.clone(),
        people.volumes.clone(),
        people.regions_ml.clone(),
    )
    label[test] = 1 - label[test]
    volumes[test[1:]] += 3
    regions[test[1:]] *= 2
    assert say(label, volumes, regions) == pytest.approx(before, abs=1e-4)
    label = people.label.clone()
    label[train[-8:]] = 1 - label[train[-8:]]
    control = say(label, people.volumes, people.regions_ml)
    assert all(abs(each - before[name]) > 1e-3 for name, each in control.items())


def test_too_few_people_for_the_folds_are_counted(folder):
    with pytest.raises(CohortError, match="40 folds need 80 of each"):
        compare_on_oasis(folder, None, profile="tiny", folds=40)


def test_the_autoencoder_is_measured_on_people_it_has_not_seen(folder):
    images = autoencoder_on_oasis(folder, profile=QUICK)
    parts = images["trained_on_scans"] + images["held_out_people"]
    assert parts in {PEOPLE + 1 - FAILED - LOST, PEOPLE - FAILED - LOST}
    ventricles = images["volumes_from_z"]["lateral ventricles"]
    assert ventricles["low"] > 0
    assert images["ssim"]["own"] > images["ssim"]["mean_brain"]
    text = readable_images(images)
    assert "| lateral ventricles | 0." in text
    assert "not told" in text or "swap ratio" in text


def test_a_shift_is_a_share_of_the_true_one_and_untold_where_there_is_none():
    rng = np.random.default_rng(0)
    first = np.arange(60) < 30
    own = 20 + 10 * first + rng.normal(size=60)
    half = group_shift(10 + own / 2, own, first, ~first, 0)
    assert half["ratio"]["value"] == pytest.approx(0.5)
    assert half["ratio"]["low"] == pytest.approx(0.5)
    assert half["true_ml"] == pytest.approx(10, abs=1)
    deaf = group_shift(np.full(60, 20.0), own, first, ~first, 0)
    assert deaf["ratio"]["value"] == 0
    assert group_shift(own, rng.normal(size=60), first, ~first, 0)["ratio"] is None
    assert group_shift(own, own, first, np.zeros(60, dtype=bool), 0)["ratio"] is None


def test_labels_of_younger_people_are_not_used(folder):
    cohort = read_oasis(folder).cohort
    younger = tuple(
        replace(each, age_years=50.0) if each.label == 1 else each for each in cohort.participants
    )
    people = Scanned.read(replace(cohort, participants=younger), TINY.spacing_mm, silent)
    assert set(people.answers(people.judged).tolist()) == {0}
    assert int(torch.isnan(people.label).sum()) > YOUNG
