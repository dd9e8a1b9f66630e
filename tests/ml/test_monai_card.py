"""The card in the words of MONAI's bundle specification."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ml.card import read_card
from ml.data.mri import grid
from ml.monai_card import monai_metadata, with_interval

MANDATORY = {
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "optional_packages_version",
    "task",
    "description",
    "authors",
    "copyright",
    "network_data_format",
}
OF_A_TENSOR = {
    "type",
    "format",
    "modality",
    "num_channels",
    "spatial_shape",
    "dtype",
    "value_range",
    "is_patch_data",
    "channel_def",
}


@pytest.fixture(scope="module")
def card():
    return read_card(Path("bundles/demo"))


def test_every_key_that_monai_asks_for_is_there(card):
    metadata = monai_metadata(card)
    assert set(metadata) >= MANDATORY
    tensors = metadata["network_data_format"]
    for tensor in [*tensors["inputs"].values(), *tensors["outputs"].values()]:
        assert set(tensor) == OF_A_TENSOR
        assert len(tensor["channel_def"]) == tensor["num_channels"]


def test_inputs_and_volume_are_those_of_the_bundle(card):
    metadata = monai_metadata(card)["network_data_format"]
    assert metadata["inputs"]["findings"]["num_channels"] == len(card.schema)
    volume = metadata["outputs"]["pseudo_mri"]
    assert volume["spatial_shape"] == list(grid(card.spacing_mm).shape)
    assert "SYNTHETIC" in volume["channel_def"]["0"]


def test_no_figure_comes_without_its_interval(card):
    figures = monai_metadata(card)["eval_metrics"]
    assert figures["auc"]["value"] == card.metrics["auc"]["value"]
    assert all({"value", "low", "high"} <= set(each) for each in figures.values())
    assert "swap_ratio" in card.metrics
    assert "swap_ratio" not in with_interval(card.metrics)


def test_figures_of_an_evaluation_take_the_place_of_the_cards_own(card):
    measured = {"auc": {"value": 0.5, "low": 0.4, "high": 0.6}}
    assert monai_metadata(card, measured)["eval_metrics"] == measured


def test_the_command_prints_it(card):
    done = subprocess.run(
        [sys.executable, "-m", "ml", "card", "bundles/demo", "--monai"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["version"] == card.version
