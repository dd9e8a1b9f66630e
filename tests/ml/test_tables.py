"""The tables: cells are made once and again only when they must be; rows are what they say."""

import json
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from ml.config import PROFILES
from ml.data.cohort import Cohort
from ml.data.oasis import RECORD
from ml.data.phantom import make_phantom_cohort
from ml.evaluation.tables import cells as cells_module
from ml.evaluation.tables import people as people_module
from ml.evaluation.tables.cells import Bench, Cell, Made, code_version, with_needs
from ml.evaluation.tables.people import people_of
from ml.evaluation.tables.registry import CELLS, ROWS, VARIANTS
from ml.evaluation.tables.results import _over_seeds, at_threshold, f1, readable, tables
from ml.evaluation.tables.run import chosen_rows, make_cells
from ml.evaluation.tables.settings import TablesError, TableSettings, short
from ml.evaluation.tables.trained import CoarseVoxels, Variant
from tests.ml.oasis_case import FAILED, LOST, YOUNG, write_oasis

CALLS = []


def make_numbers(bench, seed, *, size=3):
    CALLS.append(("numbers", seed))
    return Made({"size": size}, {"numbers": torch.arange(size) + seed})


def make_sum(bench, seed):
    CALLS.append(("sum", seed))
    return Made({"sum": int(bench.tensors("numbers", seed)["numbers"].sum())})


def make_nothing(bench, seed):
    raise TablesError("There is nothing to make this of.")


def small(size=3, settings=None, out=None):
    found = [
        Cell("numbers", make_numbers, (), {"size": size}),
        Cell("sum", make_sum, ("numbers",)),
    ]
    return Bench(out, settings or TableSettings(), {each.name: each for each in found})


@pytest.fixture
def bench(tmp_path):
    CALLS.clear()
    return small(out=tmp_path)


def make_all(bench, seed=1):
    for name in with_needs(bench.cells, ["sum"]):
        bench.make(name, seed)


def test_a_cell_is_made_once(bench):
    make_all(bench)
    make_all(bench)
    assert CALLS == [("numbers", 1), ("sum", 1)]
    assert bench.figures("sum", 1) == {"sum": 6}
    assert bench.seconds("sum", 1) >= 0


def test_another_option_makes_the_cell_and_what_needs_it_again(bench):
    make_all(bench)
    other = small(size=4, out=bench.out)
    make_all(other)
    assert CALLS.count(("sum", 1)) == 2
    assert other.figures("sum", 1) == {"sum": 10}
    assert bench.figures("sum", 1) == {"sum": 6}


def test_a_setting_of_a_baseline_moves_the_cells_that_use_it_alone(tmp_path):
    before = Bench(tmp_path, TableSettings(), CELLS)
    changed = replace(TableSettings(), fast=replace(TableSettings().fast, steps=7))
    after = Bench(tmp_path, changed, CELLS)
    moved = {name for name in CELLS if before.key(name, 1) != after.key(name, 1)}
    assert moved == {"drawn/mvae", "alignment"}


def test_every_seed_and_every_cell_has_a_key_of_its_own(tmp_path):
    bench = Bench(tmp_path, TableSettings(), CELLS)
    keys = {bench.key(name, seed) for name in CELLS for seed in (1, 2)}
    assert len(keys) == 2 * len(CELLS)


def test_a_changed_line_in_a_module_below_is_another_version(tmp_path, monkeypatch):
    (tmp_path / "top.py").write_text("from ml.below import thing\n")
    (tmp_path / "below.py").write_text("thing = 1\n")
    (tmp_path / "beside.py").write_text("other = 1\n")
    monkeypatch.setattr(cells_module, "CODE", tmp_path)
    versions = []
    for name, text in (("below", "thing = 1\n"), ("beside", "x = 2\n"), ("below", "thing = 2\n")):
        (tmp_path / f"{name}.py").write_text(text)
        code_version.cache_clear()
        versions.append(code_version("ml.top"))
    code_version.cache_clear()
    assert versions[0] == versions[1] != versions[2]


def test_the_version_of_a_row_covers_what_it_is_computed_with():
    found = cells_module._imported("ml.evaluation.tables.trained")
    assert {"ml.unet", "ml.training.propagate", "ml.evaluation.heads"} <= found
    assert "ml.predictor" not in found


def test_a_cell_whose_making_was_cut_off_is_made_again(bench):
    bench.make("numbers", 1)
    bench.path("numbers", 1).unlink()  # the JSON file comes last
    make_all(bench)
    assert CALLS.count(("numbers", 1)) == 2


def test_damaged_arrays_are_refused_and_named(bench):
    bench.make("numbers", 1)
    arrays = bench.path("numbers", 1).with_suffix(".safetensors")
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"x")
    with pytest.raises(TablesError, match=r"numbers.*damaged"):
        bench.tensors("numbers", 1)


def test_a_cell_that_fails_stops_only_those_that_need_it(tmp_path, monkeypatch):
    broken = {
        "broken": Cell("broken", make_nothing),
        "after": Cell("after", make_sum, ("broken",)),
        "numbers": Cell("numbers", make_numbers),
    }
    monkeypatch.setattr("ml.evaluation.tables.run.CELLS", broken)
    told = []
    run = partial(
        make_cells, tmp_path, TableSettings(), [1], ["after", "numbers"], workers=1,
        progress=lambda *line: told.append(line),
    )  # fmt: skip
    outcome = run()
    assert outcome.failed == {(1, "broken"): "TablesError: There is nothing to make this of."}
    assert outcome.left_out == [(1, "after")]
    assert outcome.made == 1
    assert told[-1][1:] == (2, 3)
    assert run().kept == 1


def test_every_row_has_its_cell_and_every_ablation_its_row():
    assert {row.cell for row in ROWS.values()} <= set(CELLS)
    ablated = {row.cell.removeprefix("mirage/") for row in ROWS.values() if row.table == 2}
    assert set(VARIANTS) <= ablated | {"ours"}
    with pytest.raises(TablesError, match="no row `lrr`; there are mri"):
        chosen_rows(["lrr"])


def test_an_ablation_changes_what_it_names_and_nothing_else():
    whole = PROFILES["4mm"]
    assert VARIANTS["ours"].profile(whole) == whole
    changed = VARIANTS["no-gat"].profile(whole)
    assert changed == replace(whole, graph=replace(whole.graph, attention=False))
    with pytest.raises(ValueError, match="no setting `attending` in GraphConfig"):
        Variant({"graph.attending": False}).profile(whole)


def test_coarse_voxels_come_back_as_blurred_as_they_are():
    volumes = torch.randn(12, 23, 28, 23, generator=torch.Generator().manual_seed(0))
    cubes = CoarseVoxels.of(volumes, 8.0)
    z = cubes.encode(volumes)
    torch.testing.assert_close(z.mean(0), torch.zeros(z.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(z.shape[1]), atol=1e-3, rtol=0)
    assert cubes.decode(z).shape == volumes.shape
    nobody = cubes.decode(torch.zeros(1, z.shape[1]))
    assert (nobody - volumes.mean(0)).abs().mean() < volumes.std()


def test_f1_is_scikit_learns_and_its_interval_holds_it():
    rng = np.random.default_rng(0)
    ad = rng.random(200) < 0.4
    positive = rng.random(200) < np.where(ad, 0.7, 0.3)
    found = f1(positive, ad, seed=0)
    assert found.value == pytest.approx(f1_score(ad, positive), abs=1e-12)
    assert found.low < found.value < found.high
    figures = at_threshold(positive.astype(float), ad.astype(int), 0.5, seed=0)
    assert figures["f1"]["value"] == found.value
    mean = (figures["sensitivity"]["value"] + figures["specificity"]["value"]) / 2
    assert figures["balanced_accuracy"]["value"] == pytest.approx(mean)


def run_with(value, half, n=100):
    return {"auc": {"value": value, "low": value - half, "high": value + half, "n": n}}


def test_people_of_other_seeds_narrow_the_interval_and_the_same_people_do_not():
    runs = [run_with(0.8, 0.1), run_with(0.7, 0.1), run_with(0.9, 0.1), run_with(0.8, 0.1)]
    others = _over_seeds(runs, independent=True)["auc"]["over_people"]
    same = _over_seeds(runs, independent=False)["auc"]["over_people"]
    assert others["high"] - others["value"] == pytest.approx(0.05)
    assert same["high"] - same["value"] == pytest.approx(0.1)


class Brief(TableSettings):
    """A model that is trained for a step or two in each stage."""

    @property
    def model(self):
        tiny = PROFILES["tiny"]
        return replace(
            tiny,
            pretrain=replace(tiny.pretrain, epochs=1),
            propagate=replace(tiny.propagate, steps=4, decode_steps=1),
            distill=replace(tiny.distill, steps=4, blends=(0.0,)),
            classifier=replace(tiny.classifier, epochs=1),
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a few rows on 80 phantoms at 8 mm."""
    out = tmp_path_factory.mktemp("tables")
    brief = short()
    kept = {each.name: getattr(brief, each.name) for each in fields(brief)}
    settings = Brief(**kept | {"judged_images": 4})
    rows = ["mri", "lr", "mirage", "mirage-cnn", "ehr-to-latent", "lr-pseudo", "no-masking"]
    outcome = make_cells(
        out, settings, [1], [ROWS[row].cell for row in rows], workers=1, progress=lambda *_: None
    )
    assert not outcome.failed
    return Bench(out, settings, CELLS), rows


def test_the_tables_hold_every_row_on_the_same_people_with_intervals(made):
    bench, rows = made
    results = json.loads(json.dumps(tables(bench, [1], rows)))
    assert list(results["rows"]) == rows
    assert results["best_simple"] == "lr"
    judged = results["people"]["1"]["test"]
    for row in results["rows"].values():
        figure = row["seeds"]["1"]["auc"]
        assert figure["n"] == judged
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert results["rows"]["mri"]["seeds"]["1"]["difference"]["n"] == judged
    needed = with_needs(CELLS, [ROWS[row].cell for row in rows])
    cost = results["cost"]["1"]
    assert (cost["cells"], cost["of"]) == (len(needed), len(CELLS))
    spent_s = sum(bench.seconds(name, 1) for name in needed)
    assert cost["minutes"] == pytest.approx(spent_s / 60, abs=0.06)
    text = readable(results)
    assert f"seed 1: {len(needed)} of {len(CELLS)} cells in" in text
    assert "| LR | 1 |" in text
    assert "nobody hidden in training" in text


def test_nobody_trains_and_judges_and_everybody_has_a_fold(made):
    bench, _ = made
    dealt = people_of(bench, 1)
    assert not set(dealt.train.persons) & set(dealt.test.persons)
    assert len(dealt.train) + len(dealt.test) == 80
    assert set(dealt.fold.tolist()) == set(range(bench.settings.model.distill.folds))
    again = people_of(bench, 2) if bench.is_made("people", 2) else dealt
    assert again.train.persons == dealt.train.persons


def test_training_people_are_scored_by_what_had_not_seen_them(made):
    """The mean of the members saw them: it tells their diagnoses better than out of fold."""
    bench, _ = made
    kept = bench.tensors("mirage/ours", 1)
    assert not torch.equal(kept["served"], kept["train_surrogate"])
    scores = bench.figures("mirage/ours", 1)["scores"]["surrogate"]
    assert None not in scores["train"]
    assert len(scores["train"]) == len(kept["train_surrogate"])


def test_a_cohort_that_is_too_small_or_holds_copies_is_refused(tmp_path):
    cohort = make_phantom_cohort(tmp_path / "few", patients=12, spacing_mm=8.0, seed=1, workers=1)
    bench = Bench(tmp_path, replace(short(), cohort=cohort), CELLS)
    with pytest.raises(TablesError, match="the tables need 10 of each"):
        people_of(bench, 1)


def test_the_same_record_in_both_parts_is_refused(made, tmp_path):
    bench, _ = made
    [folder] = (bench.out / "cohorts").iterdir()
    copied = tmp_path / "copied"
    copied.mkdir()
    for each in folder.iterdir():
        if each.name != "ehr.csv":
            (copied / each.name).symlink_to(each)
    lines = (folder / "ehr.csv").read_text().splitlines()
    first = lines[1].partition(",")[2]
    rest = [f"{line.partition(',')[0]},{first}" for line in lines[1:]]
    (copied / "ehr.csv").write_text("\n".join([lines[0], *rest]) + "\n")
    assert len(Cohort.load(copied).records) == 80
    with pytest.raises(TablesError, match="exactly the record of somebody who trains"):
        people_of(Bench(tmp_path, replace(bench.settings, cohort=copied), CELLS), 1)


def test_of_oasis_those_old_enough_to_be_judged_are_dealt_with_the_inputs_it_has(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(people_module, "FEWEST", 2)  # few phantoms: they take the time
    folder = write_oasis(tmp_path, people=50)
    bench = Bench(tmp_path / "out", replace(short(), cohort=folder, train_share=0.5), CELLS)
    bench.make("people", 1)
    dealt = people_of(bench, 1)
    assert [each.id for each in dealt.scaler.concepts] == list(RECORD.values())
    ages = [each.values["age"] for part in (dealt.train, dealt.test) for each in part.records]
    assert min(ages) >= 60
    assert len(ages) == 50 - YOUNG - FAILED - LOST
    assert not set(dealt.train.persons) & set(dealt.test.persons)
