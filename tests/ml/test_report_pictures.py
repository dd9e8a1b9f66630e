"""Figures of pictures whose answer is known, and what a report says of people who trained."""

import dataclasses
import gzip

import numpy as np
import pytest
import torch

from ml.data.phantom import make_phantom_cohort
from ml.evaluation.evaluate import EvaluationSettings, evaluate_bundle
from ml.evaluation.metrics import proportion
from ml.evaluation.parts.cnn_maps import map_figures, passed
from ml.evaluation.parts.drawn_people import draw_people, drawn_judges
from ml.evaluation.parts.pictures import correlation, group_difference, picture_figures
from ml.evaluation.parts.privacy import NO_MEMBERS, attacks, donor_gates, membership_figures
from ml.evaluation.parts.trial import NOT_TOLD, NotToldError
from ml.evaluation.parts.two_ways import donor_labels, neighbours_vote, two_ways
from ml.evaluation.report import view_of
from tests.ml.report_case import by_letters, silent, trial_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own_cohort(tmp_path_factory):
    """The cohort that the tiny bundle was trained on, made again."""
    folder = tmp_path_factory.mktemp("cohorts") / "own"
    return make_phantom_cohort(folder, patients=40, spacing_mm=8.0, seed=1, workers=1)


@pytest.fixture(scope="module")
def own(bundle_folder, own_cohort):
    return trial_of(bundle_folder, own_cohort, new=False)


@pytest.fixture(scope="module")
def strangers(bundle_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohorts") / "strangers"
    make_phantom_cohort(folder, patients=24, spacing_mm=8.0, seed=79, workers=1)
    return trial_of(bundle_folder, folder, new=True)


@pytest.fixture(scope="module")
def drawn(strangers):
    return drawn_judges(strangers, 24, silent)


def test_pictures_that_are_the_scans_are_without_fault_and_the_mean_picture_is_not(
    strangers, drawn
):
    perfect = dataclasses.replace(drawn.scans, likeness=torch.ones(len(drawn), 3))
    found = picture_figures(strangers, dataclasses.replace(drawn, pseudo=perfect))
    for region in found["regions"]:
        assert region["correlation"]["value"] == pytest.approx(1.0)
        assert region["error_ml"]["value"] == 0.0 < region["mean_error_ml"]["value"]
        assert region["error_minus_mean_ml"]["high"] < 0
        assert region["pseudo_ad_minus_cn_ml"] == region["scan_ad_minus_cn_ml"]
        assert region["pseudo_minus_scan_ml"]["value"] == 0.0
    assert found["pseudo_minus_mean"]["ssim"]["low"] > 0
    near = found["frechet"]
    assert near["pseudo_mri"] == near["scans"]
    assert near["mean_surrogate"]["value"] > 2 * near["scans"]["value"]


def test_the_mean_picture_is_the_same_for_all_and_correlates_with_nothing(strangers, drawn):
    assert float(np.ptp(drawn.mean.regions_ml.numpy(), axis=0).max()) == 0.0
    assert float(np.ptp(drawn.pseudo.regions_ml.numpy(), axis=0).max()) > 0.0
    found = picture_figures(strangers, dataclasses.replace(drawn, pseudo=drawn.mean))
    assert all(region["correlation"] is None for region in found["regions"])
    assert all(found["pseudo_minus_mean"][each]["value"] == 0.0 for each in ("ssim", "l1"))


def test_a_difference_of_groups_is_found_with_an_interval_and_not_from_too_few():
    labels = np.repeat([0, 1], 20)
    volume_ml = np.random.default_rng(0).normal(size=40)
    nothing = group_difference(volume_ml, labels, 1)
    assert nothing["low"] < 0 < nothing["high"]
    shifted = group_difference(volume_ml + 2 * labels, labels, 1)
    assert shifted["value"] == pytest.approx(nothing["value"] + 2)
    assert shifted["low"] > 0
    assert group_difference(volume_ml[:24], labels[:24], 1) is None
    assert correlation(volume_ml[:4], volume_ml[:4]) is None


def test_each_reader_is_compared_on_the_people_who_were_drawn(strangers, drawn):
    best = np.linspace(0, 1, len(strangers.people))
    found = two_ways(strangers, drawn, best)
    assert set(found["readers"]) == {
        "surrogate",
        "cnn_on_pseudo_mri",
        "record",
        "fusion",
        "cnn_on_scan",
    }
    for reader in found["readers"].values():
        assert reader["auc"]["n"] == len(drawn)
        assert reader["minus_best_other"]["value"] == pytest.approx(
            reader["auc"]["value"] - found["best_other"]["value"]
        )
    as_scans = two_ways(strangers, dataclasses.replace(drawn, pseudo=drawn.scans), best)["readers"]
    assert as_scans["cnn_on_pseudo_mri"]["auc"] == as_scans["cnn_on_scan"]["auc"]
    assert found["readers"]["cnn_on_pseudo_mri"]["auc"] != as_scans["cnn_on_pseudo_mri"]["auc"]


def test_maps_are_offered_only_if_they_beat_random_voxels_in_nine_of_ten(strangers):
    found = map_figures(strangers, drawn_judges(strangers, 6, silent), silent)
    assert set(found["maps"]) == {
        f"{kind} on {what}"
        for kind in ("Grad-CAM", "HiResCAM")
        for what in ("pseudo-MRIs", "scans")
    }
    assert passed(proportion(9, 10))
    assert not passed(proportion(8, 10))
    for each in found["maps"].values():
        assert each["passed"] == (each["better"]["value"] >= found["needed"])


def test_people_who_trained_are_attacked_only_where_the_cohort_holds_them(own, strangers, drawn):
    judges = drawn_judges(own, 24, silent)
    found = membership_figures(own, judges, silent)
    assert found["people"] == [len(judges), len(judges)]
    assert len(found["attacks"]) == 2
    assert found["donors"]["donors"] >= 5, "people whose skips are kept come first"
    assert found["donors"]["nearer_than_any_pair"]["n"] == len(judges)
    with pytest.raises(NotToldError, match=NO_MEMBERS):
        membership_figures(strangers, drawn, silent)


def test_pictures_that_are_the_members_scans_give_them_away(own):
    ids = own.people.trained
    members = draw_people(
        own,
        [own.cohort.records[each] for each in ids],
        np.array([own.cohort.labels[each] for each in ids]),
        ids,
        silent,
    )
    leaking = dataclasses.replace(members, pseudo=members.scans)
    judges = drawn_judges(own, 24, silent)
    name = "nearness of pseudo-MRI and own scan"
    given_away = attacks(own, leaking, ids, judges)["attacks"][name]
    kept = attacks(own, members, ids, judges)["attacks"][name]
    assert given_away["low"] > 0.9
    assert kept["value"] < given_away["value"]


def test_the_donors_vote_needs_the_cohort_they_come_from(own, strangers):
    known = donor_labels(own.drawer.skip_bank, own.cohort)
    assert not bool(known.isnan().any())
    found = neighbours_vote(own)
    assert found["known"] == found["donors"] == len(known)
    assert found["auc"]["n"] == len(own.people)
    with pytest.raises(NotToldError, match="no diagnosis of its donors"):
        neighbours_vote(strangers)


def test_gates_on_pictures_need_five_people_of_each_diagnosis(own, strangers):
    assert [gate["name"] for gate in donor_gates(strangers)["gates"]] == [
        "swap_test",
        "donor_shares",
        "donor_copy",
    ]
    with pytest.raises(NotToldError, match="3 people of one diagnosis"):
        donor_gates(own)


def test_a_bundle_without_a_cnn_and_people_without_scans_are_told_of(strangers, drawn):
    blind = dataclasses.replace(strangers, reader=None)
    unread = dataclasses.replace(
        drawn,
        **{
            kind: dataclasses.replace(getattr(drawn, kind), coarse=torch.zeros(len(drawn), 0))
            for kind in ("pseudo", "mean", "scans")
        },
    )
    assert picture_figures(blind, unread)["frechet"] is None
    with pytest.raises(NotToldError, match="holds no CNN"):
        two_ways(blind, unread, np.zeros(len(blind.people)))
    for part in (map_figures, membership_figures):
        with pytest.raises(NotToldError, match="holds no CNN"):
            part(blind, unread, silent)
    with pytest.raises(NotToldError, match="no scans"):
        picture_figures(strangers, dataclasses.replace(drawn, scans=None))


def test_a_scan_that_cannot_be_used_costs_the_pictures_alone_and_names_nobody(
    bundle_folder, own_cohort, own
):
    scan = own.cohort.scan_path(own.people.ids[0])
    whole = scan.read_bytes()
    scan.write_bytes(gzip.compress(b"no volume"))
    settings = EvaluationSettings(others=("lr",), images=12, explained=0)
    try:
        found = evaluate_bundle(
            bundle_folder, own_cohort, settings, embed=by_letters, progress=silent
        )
    finally:
        scan.write_bytes(whole)
    for part in ("images", "readers", "maps", "membership"):
        assert "cannot be used" in found[part][NOT_TOLD]
        assert own.people.ids[0] not in found[part][NOT_TOLD]
    assert found["bundle"]["auc"]["n"] == len(own.people)
    view = view_of(found, own.card)
    section = next(each for each in view["sections"] if each["id"] == "readers")
    assert section["empty"].startswith("Not told: a scan of the cohort cannot be used")
