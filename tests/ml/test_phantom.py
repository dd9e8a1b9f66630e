import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from ml.data import phantom_anatomy
from ml.data.cohort import Cohort, CohortError
from ml.data.mri import UnknownSpacingError, grid, is_marked_synthetic, read_volume
from ml.data.phantom import (
    Person,
    PhantomConfig,
    _disease_displacement,
    _individual_displacement,
    make_phantom_cohort,
    phantom_scan,
    sample_person,
)
from ml.data.phantom_anatomy import REGIONS, anatomy

pytestmark = pytest.mark.slow
COARSE = grid(8.0)
FINE = grid(4.0)
CONFIG = PhantomConfig()


@pytest.fixture(scope="module")
def cohort_folder(tmp_path_factory):
    return make_phantom_cohort(
        tmp_path_factory.mktemp("phantoms") / "a", patients=6, spacing_mm=8.0, seed=5, workers=1
    )


def _volumes(person: Person, on=FINE):
    return phantom_scan(person, anatomy(on), on, np.random.default_rng(1), CONFIG)[1]


@pytest.fixture(scope="module")
def person():
    drawn = sample_person("sub-1", np.random.default_rng(0), CONFIG)
    return replace(drawn, ventricle_mm=1.5, hippocampus_mm=0.3, cortex_mm=0.2)


def test_a_cohort_of_phantoms_is_a_cohort(cohort_folder):
    cohort = Cohort.load(cohort_folder)

    assert len(cohort.ids) == 6
    assert cohort.ids_with_scan() == cohort.ids
    assert set(cohort.records) == set(cohort.ids)
    for each in cohort.participants:
        assert cohort.truth[each.id]["label"] == each.label
        assert cohort.records[each.id].values["age"] == pytest.approx(each.age_years)
    assert is_marked_synthetic(cohort.scan_path("sub-0001"))
    assert json.loads((cohort_folder / "cohort.json").read_text())["seed"] == 5


def test_the_same_seed_gives_the_same_people_with_any_number_of_processes(cohort_folder, tmp_path):
    make_phantom_cohort(tmp_path / "b", patients=3, spacing_mm=8.0, seed=5, workers=2)

    first, again = Cohort.load(cohort_folder), Cohort.load(tmp_path / "b")
    for each in again.ids:
        assert again.truth[each] == first.truth[each]
        assert again.records[each] == first.records[each]
        np.testing.assert_array_equal(
            read_volume(again.scan_path(each), COARSE), read_volume(first.scan_path(each), COARSE)
        )


def test_another_seed_gives_other_people(cohort_folder, tmp_path):
    make_phantom_cohort(tmp_path / "c", patients=1, spacing_mm=8.0, seed=6, workers=1)
    other = Cohort.load(tmp_path / "c").truth["sub-0001"]
    assert other["severity"] != Cohort.load(cohort_folder).truth["sub-0001"]["severity"]


def test_progress_is_told_after_each_person(tmp_path):
    told = []
    make_phantom_cohort(
        tmp_path / "d",
        patients=2,
        spacing_mm=8.0,
        seed=1,
        workers=1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 2), (2, 2)]


def test_a_cohort_is_not_overwritten(cohort_folder):
    with pytest.raises(CohortError, match="holds a cohort already"):
        make_phantom_cohort(cohort_folder, patients=1, spacing_mm=8.0, seed=1)


@pytest.mark.parametrize(
    ("patients", "spacing_mm", "error"), [(0, 8.0, ValueError), (1, 3.0, UnknownSpacingError)]
)
def test_impossible_cohorts_are_refused(tmp_path, patients, spacing_mm, error):
    with pytest.raises(error):
        make_phantom_cohort(tmp_path / "e", patients=patients, spacing_mm=spacing_mm, seed=1)
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("amount", "region", "sign"),
    [
        ("ventricle_mm", "ventricles", 1),
        ("hippocampus_mm", "hippocampus", -1),
        ("cortex_mm", "cortex", -1),
    ],
)
def test_each_kind_of_atrophy_changes_its_own_region(person, amount, region, sign):
    before = _volumes(person)
    after = _volumes(replace(person, **{amount: getattr(person, amount) + 0.5}))
    change = {name: after[f"{name}_ml"] / before[f"{name}_ml"] - 1 for name in REGIONS}

    assert sign * change[region] > 0.02
    assert abs(change[region]) > abs(change["brain"])


def test_volumes_are_those_of_a_brain(person):
    volumes = _volumes(person)
    assert 15 < volumes["ventricles_ml"] < 60
    assert 5 < volumes["hippocampus_ml"] < 12
    assert 450 < volumes["cortex_ml"] < 750
    assert 1200 < volumes["brain_ml"] < 1800


@pytest.mark.parametrize("what", ["usual", "severe"])
def test_no_tissue_is_folded_over(person, what):
    """The map from the person to the template is invertible: its Jacobian is positive."""
    if what == "severe":
        person = replace(person, ventricle_mm=4.5, hippocampus_mm=1.8, cortex_mm=0.7)
    rng, brain = np.random.default_rng(2), anatomy(FINE)
    maps = {
        "individual": _individual_displacement(brain, FINE, rng, CONFIG),
        "disease": _disease_displacement(person, brain, FINE, rng),
    }
    for name, displacement in maps.items():
        places = torch.tensor(FINE.coordinates_mm()) + displacement
        slopes = [torch.stack(torch.gradient(part, dim=(0, 1, 2))) for part in places]
        jacobian = torch.stack(slopes).permute(2, 3, 4, 0, 1)
        growth = torch.linalg.det(jacobian) / np.linalg.det(FINE.affine[:3, :3])
        assert float(growth.min()) > 0, name


def test_the_same_person_looks_alike_on_two_grids(person):
    coarse, fine = _volumes(person, grid(8.0)), _volumes(person, FINE)
    assert coarse["brain_ml"] == pytest.approx(fine["brain_ml"], rel=0.05)


def test_severity_tells_the_state_as_well_as_the_config_says():
    people = [
        sample_person(f"sub-{number}", np.random.default_rng(number), CONFIG)
        for number in range(2000)
    ]
    state = np.array([person.state for person in people])
    severity = np.array([person.severity for person in people])
    assert state.mean() == pytest.approx(CONFIG.ad_share, abs=0.04)
    shift = severity[state == 1].mean() - severity[state == 0].mean()
    assert shift == pytest.approx(CONFIG.ad_severity, abs=0.15)
    assert all(person.label == person.state for person in people)


def test_recorded_labels_are_wrong_as_often_as_stated():
    config = PhantomConfig(label_error_rate=0.2)
    people = [
        sample_person(f"sub-{number}", np.random.default_rng(number), config)
        for number in range(2000)
    ]
    wrong = np.mean([person.label != person.state for person in people])
    assert wrong == pytest.approx(0.2, abs=0.03)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder to keep anatomies in, which at first is a file."""
    place = tmp_path / "cache"
    place.write_text("no folder")
    monkeypatch.setattr(phantom_anatomy, "USER_CACHE", place)
    anatomy.cache_clear()
    yield place
    anatomy.cache_clear()


def test_an_anatomy_is_built_where_it_cannot_be_kept_and_read_where_it_was_kept(cache):
    built = anatomy(COARSE)
    cache.unlink()
    phantom_anatomy._keep(phantom_anatomy._stacked(built), phantom_anatomy._kept(COARSE))
    anatomy.cache_clear()
    read = anatomy(COARSE)

    assert read is not built
    for field in fields(built):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(built, field.name))


@pytest.mark.parametrize(
    "spoiled", [b"", b"\x93NUMPY cut short", None], ids=["empty", "cut", "other"]
)
def test_a_kept_anatomy_that_is_spoiled_is_not_read(tmp_path, spoiled):
    file = tmp_path / "kept.npy"
    np.save(file, np.zeros(3)) if spoiled is None else file.write_bytes(spoiled)

    with pytest.raises((ValueError, EOFError)):
        phantom_anatomy._read(file, COARSE)
