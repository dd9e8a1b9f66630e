import csv
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from ml.bundle import check_size, load_decoder, load_mirage, round_decoder
from ml.card import BundleError, verify
from ml.config import PROFILES
from ml.data.cohort import Cohort, CohortError
from ml.data.phantom import make_phantom_cohort
from ml.evaluation.bundle_heads import bundle_heads
from ml.training.pipeline import train

pytestmark = pytest.mark.slow
TINY = PROFILES["tiny"]
QUICK = replace(
    TINY,
    pretrain=replace(TINY.pretrain, epochs=2),
    propagate=replace(TINY.propagate, steps=4, decode_steps=1),
    distill=replace(TINY.distill, folds=3, steps=4, decode_every=2, blends=(0.0, 0.5)),
    classifier=replace(TINY.classifier, epochs=1),
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_phantom_cohort(
        tmp_path_factory.mktemp("data") / "cohort", patients=36, spacing_mm=8.0, seed=2, workers=1
    )


@pytest.fixture(scope="module")
def text_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("text")


@pytest.fixture(scope="module")
def trained(cohort, text_cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundles") / "first"
    stages = []
    card = train(
        cohort, QUICK, 2, out, lambda stage, *_: stages.append(stage), text_cache=text_cache
    )
    return out, card, list(dict.fromkeys(stages))


def split_of(cohort_folder, card):
    from ml.training.split import split_people

    parts = split_people(Cohort.load(cohort_folder), 2)
    assert card.training["parts"] == {"train": len(parts.train), "test": len(parts.test)}
    return parts


def test_a_training_ends_with_a_bundle_that_its_card_describes(trained):
    out, card, stages = trained
    assert verify(out).to_json() == card.to_json()
    assert stages == [
        *("read scans", "autoencoder", "graph", "distillation"),
        *("pseudo-MRIs", "readers", "evaluation"),
    ]
    for name in ("auc", "auc_minus_logistic_regression", "brier"):
        assert (
            card.metrics[name]["low"] <= card.metrics[name]["value"] <= card.metrics[name]["high"]
        )
    assert card.reference.n == card.training["parts"]["train"]
    assert card.training["graph"]["links"]["code"] > 60


def test_nothing_about_test_people_reaches_the_weights_and_a_seed_fixes_them(
    cohort, text_cache, trained, tmp_path
):
    """Editing every test person leaves the weights bit for bit; editing one other does not."""
    _, card, _ = trained
    parts = split_of(cohort, card)
    copy = make_phantom_cohort(tmp_path / "cohort", patients=36, spacing_mm=8.0, seed=2, workers=1)
    edit(copy, parts.test)
    again = train(copy, QUICK, 2, tmp_path / "again", text_cache=text_cache)
    assert again.files == card.files
    assert again.metrics["ssim"] != card.metrics["ssim"]
    edit(copy, parts.train[:1])
    control = train(copy, QUICK, 2, tmp_path / "control", text_cache=text_cache)
    assert control.files != card.files


def test_a_finished_bundle_reads_its_held_out_people_as_its_card_says(trained, cohort):
    """The diagnoses of the donors, whom no bundle names, are found again by their hashes."""
    out, card, _ = trained
    again = bundle_heads(out, cohort)
    assert not again["new_cohort"]
    assert again["people"] == card.training["parts"]["test"]
    stated = card.metrics["heads"]
    assert {"cn_donors", "ad_donors", "donors_vote"} <= stated["neighbours"].keys()
    for name, figure in stated["neighbours"].items():
        assert again["neighbours"][name] == pytest.approx(figure, abs=1e-4), name
    for name in stated.keys() - {"neighbours"}:
        assert again[name] == pytest.approx(stated[name], abs=1e-4), name


def test_people_of_another_cohort_are_read_only_if_they_are_said_to_be_new(trained, tmp_path):
    """And nobody knows the donors' diagnoses there."""
    out, _, _ = trained
    other = make_phantom_cohort(tmp_path / "cohort", patients=30, spacing_mm=8.0, seed=5, workers=1)
    with pytest.raises(CohortError, match="is not the cohort that mirage"):
        bundle_heads(out, other)
    found = bundle_heads(out, other, new=True, most=12)
    assert found["people"] == 12
    assert not {"donors_vote", "cn_donors", "ad_donors"} & found["neighbours"].keys()


def edit(cohort_folder, ids):
    """Other ages, a turned scan and the opposite diagnosis for some people."""
    for participant in ids:
        path = Cohort.load(cohort_folder).scan_path(participant)
        image = nib.load(path)
        turned = np.ascontiguousarray(image.get_fdata()[::-1])
        nib.save(nib.Nifti1Image(turned, image.affine, image.header), path)
    rewrite(cohort_folder / "ehr.csv", ",", "patient", ids, {"age": "64.0", "education_years": "9"})
    table = cohort_folder / "participants.tsv"
    rewrite(table, "\t", "participant_id", ids, {"age": "64.0"})


def rewrite(path, delimiter, key, ids, values):
    with path.open(newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        rows, names = list(reader), reader.fieldnames
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter)
        writer.writeheader()
        writer.writerows(row | values if row[key] in ids else row for row in rows)


def test_a_stored_decoder_decodes_exactly_as_the_trained_one(trained):
    """Weights are rounded before training goes on, so half precision in the file loses nothing."""
    out, card, _ = trained
    stored = load_decoder(out, card)
    z = torch.randn(3, QUICK.unet.width, generator=torch.Generator().manual_seed(0))
    volumes = stored(z)
    round_decoder(stored.decoder.decoder)
    assert torch.equal(stored(z), volumes)


def test_a_bundle_that_would_be_too_large_is_refused_before_the_long_stages(trained, monkeypatch):
    out, card, _ = trained
    monkeypatch.setattr("ml.bundle.MAX_BYTES", 1000)
    with pytest.raises(BundleError, match="at most 0 are shipped"):
        check_size(load_mirage(out, card), load_decoder(out, card))


def test_a_cohort_too_small_to_train_on_says_what_it_lacks(tmp_path):
    few = make_phantom_cohort(tmp_path / "few", patients=6, spacing_mm=8.0, seed=1, workers=1)
    with pytest.raises(CohortError, match="Training needs 5 of each"):
        train(few, QUICK, 1, tmp_path / "out")
