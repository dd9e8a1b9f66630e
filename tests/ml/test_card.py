import json
import subprocess
import sys

import pytest

from ml.card import (
    CARD_FILE,
    BundleCard,
    BundleError,
    Reference,
    fingerprint,
    judge,
    read_card,
    readable,
    sha256_of,
    verify,
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    card = BundleCard(
        name="phantom",
        version="2026-11-22",
        created_at="2026-11-22T03:00:00+00:00",
        command="python -m ml train --seed 1",
        seed=1,
        profile="tiny",
        spacing_mm=8.0,
        schema=("age", "sex"),
        reference=Reference(
            n=40, n_ad=20, age_low_years=60.0, age_high_years=90.0, description="Phantoms."
        ),
        base_rate=0.5,
        min_inputs=5,
        metrics={"auc": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 12}, "swap_ratio": 0.7},
        training={"graph": {"nodes": 100}},
        gates=(judge("swap_ratio", 0.7, 0.8, 12), judge("other", 0.9, 0.8, 200)),
        limits="Not for diagnosis.",
        files={"model.safetensors": sha256_of(tmp_path / "model.safetensors")},
    )
    (tmp_path / CARD_FILE).write_text(card.to_json())
    return tmp_path


def test_a_card_comes_back_as_it_was_written(folder):
    card = verify(folder)
    assert card.to_json() == (folder / CARD_FILE).read_text()
    assert card.reference.n_ad == 20
    assert card.schema == ("age", "sex")


def test_gates_are_printed_with_their_verdicts(folder):
    text = readable(verify(folder))
    assert "swap ratio 0.70, at least 0.80: not judged, 12 test people are too few" in text
    assert "other 0.90, at least 0.80: passed" in text


def test_a_card_older_than_gates_is_read_and_has_none(folder):
    entries = json.loads((folder / CARD_FILE).read_text())
    del entries["gates"]
    (folder / CARD_FILE).write_text(json.dumps(entries))
    assert verify(folder).gates == ()


def test_a_changed_file_is_named_with_the_way_out(folder):
    (folder / "model.safetensors").write_bytes(b"weightz")
    read_card(folder)
    with pytest.raises(BundleError, match=r"model\.safetensors .* changed or cut\. Copy"):
        verify(folder)


def test_a_missing_file_is_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"model\.safetensors is missing"):
        verify(folder)


def test_a_card_cannot_point_outside_its_folder(folder):
    text = (folder / CARD_FILE).read_text()
    (folder / CARD_FILE).write_text(text.replace('"model.safetensors"', '"../secret"'))
    with pytest.raises(BundleError, match="outside its folder"):
        verify(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "card format None"),
        ('{"format": 99}', "card format 99"),
        ('{"format": 1, "schema": []}', "not a complete card"),
    ],
)
def test_a_broken_card_is_refused_with_the_reason(folder, text, message):
    (folder / CARD_FILE).write_text(text)
    with pytest.raises(BundleError, match=message):
        read_card(folder)


def test_an_empty_folder_is_answered_with_the_command_that_fills_it(tmp_path):
    with pytest.raises(BundleError, match="python -m ml train"):
        read_card(tmp_path)
    with pytest.raises(BundleError, match="python -m ml train"):
        fingerprint(tmp_path)


def test_the_fingerprint_changes_with_the_card(folder):
    before = fingerprint(folder)
    text = (folder / CARD_FILE).read_text()
    (folder / CARD_FILE).write_text(text.replace("phantom", "fantom"))
    assert fingerprint(folder) != before


def test_the_readable_card_holds_figures_with_their_intervals(folder):
    text = readable(read_card(folder))
    assert "auc: 0.8 (95 % 0.7 to 0.9, n = 12)" in text
    assert "swap_ratio: 0.7" in text
    assert "graph.nodes: 100" in text


def test_reading_cards_needs_the_standard_library_only():
    code = (
        "import sys; before = set(sys.modules); import ml.card;"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(new - set(sys.stdlib_module_names) - {'ml'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
