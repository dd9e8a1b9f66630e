"""Heads over seeds: a seed that is done is kept, and the mean says how seeds differ."""

import json
from pathlib import Path

import pytest

from ml.evaluation.heads_over_seeds import heads_over_seeds, readable


def figure(value: float) -> dict[str, float | int]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "n": 2000}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for seed, real, pseudo in ((1, 0.88, 0.82), (2, 0.86, 0.84)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        figures = {
            "bundle": f"b{seed}",
            "cnn_on_real_mri": figure(real),
            "cnn_pseudo_minus_real": figure(pseudo - real),
            "neighbours": {"true": figure(pseudo)},
        }
        (folder / "heads.json").write_text(json.dumps(figures))
    return tmp_path


def results_of(work: Path) -> dict:
    def told(stage: str, done: int, total: int) -> None:
        pytest.fail(f"{stage} was made again")

    return heads_over_seeds(
        work,
        (1, 2),
        profile="tiny",
        spacing_mm=8.0,
        people=64,
        test_people=30,
        text_cache=None,
        progress=told,
    )


def test_seeds_that_are_done_are_not_run_again(work: Path) -> None:
    assert [run["bundle"] for run in results_of(work)["runs"]] == ["b1", "b2"]


def test_the_interval_of_the_mean_is_students_over_the_seeds(work: Path) -> None:
    difference = results_of(work)["mean"]["cnn_pseudo_minus_real"]
    # Two values: half their distance times the .975 quantile of Student's t with one degree.
    assert difference["value"] == pytest.approx(-0.04)
    assert difference["high"] - difference["value"] == pytest.approx(0.02 * 12.7062, rel=1e-4)


def test_the_table_has_a_column_a_seed_and_signs_differences(work: Path) -> None:
    table = readable(results_of(work))
    assert "| AUC | seed 1 | seed 2 | mean |" in table
    assert "−0.060 (−0.080 to −0.040)" in table
    assert "neighbours" not in table
