import json
import shutil
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest
import torch

from ml.bundle import load_decoder, load_reader
from ml.card import BundleError
from ml.data.mri import grid, is_marked_synthetic
from ml.patient_graph import RecordError
from ml.predictor import Predictor
from ml.records import Answer, PatientRecord
from tests.ml.graph_case import records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def predictor(bundle_folder):
    return Predictor.load(bundle_folder)


@pytest.fixture(scope="module")
def people():
    return records(50, seed=11)


def figures(predictions):
    return np.array([[p.probability or -1, p.low or -1, p.high or -1] for p in predictions])


def test_a_prediction_is_the_same_alone_in_a_batch_reversed_and_among_strangers(
    predictor, people, bundle_folder
):
    batch = predictor.predict(people)
    alone = [predictor.predict([record])[0] for record in people]
    backwards = predictor.predict(people[::-1])[::-1]
    crowd = predictor.predict([*records(100, seed=99), *people])[100:]
    restarted = Predictor.load(bundle_folder).predict(people)
    for other in (alone, backwards, crowd, restarted):
        np.testing.assert_allclose(figures(other), figures(batch), atol=1e-6, rtol=0)
        assert [p.answer for p in other] == [p.answer for p in batch]


def test_threads_do_not_change_a_prediction(predictor, people):
    before = torch.get_num_threads()
    results = []
    for threads in (1, 4):
        torch.set_num_threads(threads)
        results.append(figures(predictor.predict(people)))
    torch.set_num_threads(before)
    np.testing.assert_allclose(*results, atol=1e-6, rtol=0)


def test_predictions_come_in_the_order_of_the_records_with_what_is_missing(predictor, people):
    predictions = predictor.predict(people)
    assert [p.patient for p in predictions] == [r.patient for r in people]
    for prediction, record in zip(predictions, people, strict=True):
        assert set(prediction.missing) == set(predictor.card.schema) - set(record.values)
        assert prediction.bundle_version == predictor.card.version


def test_a_probability_lies_inside_its_interval(predictor, people):
    for prediction in predictor.predict(people):
        if prediction.probability is None:
            assert prediction.answer in (Answer.OUTSIDE, Answer.TOO_FEW)
            assert prediction.low is None
            assert prediction.reasons
        else:
            assert 0 <= prediction.low <= prediction.probability <= prediction.high <= 1
            assert not prediction.reasons


def test_too_few_inputs_get_the_reason_and_no_probability(predictor):
    empty, few = predictor.predict(
        [
            PatientRecord(patient="a", values={}),
            PatientRecord(patient="b", values={"age": 70.0, "female": 1.0}),
        ]
    )
    assert empty.answer is few.answer is Answer.TOO_FEW
    assert few.probability is few.low is few.high is None
    assert few.reasons == (
        f"2 of the {len(predictor.card.schema)} inputs are known; "
        f"the model needs at least {predictor.card.min_inputs}.",
    )


def test_somebody_unlike_the_training_people_is_told_so_in_words(predictor, people):
    child = PatientRecord(patient="x", values={**people[0].values, "age": 19.0})
    (prediction,) = predictor.predict([child])
    assert prediction.answer is Answer.OUTSIDE
    assert prediction.probability is None
    assert "Age is 19 years; the people the model was trained on had" in prediction.reasons[0]


def test_label_proximal_findings_do_not_move_the_probability(predictor, people):
    clean = [
        PatientRecord(
            patient=r.patient, values={k: v for k, v in r.values.items() if k != "wandering"}
        )
        for r in people
    ]
    told = [
        PatientRecord(patient=r.patient, values={**r.values, "wandering": 1.0, "mmse": 10.0})
        for r in clean
    ]
    np.testing.assert_array_equal(
        figures(predictor.predict(told)), figures(predictor.predict(clean))
    )


def test_what_cannot_be_read_stops_the_batch(predictor, people):
    bad = PatientRecord(patient="x", values={**people[0].values, "age": 500.0})
    with pytest.raises(RecordError, match="Record 2: Age must lie between"):
        predictor.predict([people[0], bad])


def test_no_records_give_no_predictions(predictor):
    assert predictor.predict([]) == []


def test_a_pseudo_mri_is_marked_placed_and_belongs_to_its_record(predictor, people, tmp_path):
    predictor.decode(people[0], tmp_path / "a.nii")
    predictor.decode(people[0], tmp_path / "again.nii")
    predictor.decode(people[1], tmp_path / "b.nii")
    first, again, other = (nib.load(tmp_path / name) for name in ("a.nii", "again.nii", "b.nii"))
    assert is_marked_synthetic(tmp_path / "a.nii")
    assert int(first.header["sform_code"]) == int(first.header["qform_code"]) == 4
    here = grid(predictor.card.spacing_mm)
    np.testing.assert_allclose(first.affine, here.affine)
    assert first.shape == here.shape
    np.testing.assert_array_equal(first.get_fdata(), again.get_fdata())
    assert np.abs(first.get_fdata() - other.get_fdata()).max() > 1e-4
    assert 0.3 < first.get_fdata().max() < 2.0


def test_a_pseudo_mri_is_read_by_the_cnn_and_fused_alike_each_time(predictor, people, tmp_path):
    """The CNN sees what was drawn: fused and alone they are the stored readers' own figures."""
    first, again, other = (predictor.decode(people[row], tmp_path / "x.nii") for row in (0, 0, 1))
    assert first == again
    assert first.volumes_ml != other.volumes_ml
    assert min(first.volumes_ml.values()) > 0
    reader = load_reader(predictor._folder, predictor.card)
    logits = []
    for record, found in ((people[0], first), (people[1], other)):
        findings = predictor._mirage.scaler.encode([record])
        reading = predictor._mirage.read(findings)
        drawn = load_decoder(predictor._folder, predictor.card).decoder(reading.surrogate)[:, 0]
        logit = reader.cnn_logit(drawn)
        fused = reader.fused_probability(reading.logits.mean(0), logit, findings)
        assert found.cnn_probability == pytest.approx(float(reader.cnn_probability(logit)))
        assert found.fused_probability == pytest.approx(float(fused))
        logits.append(float(logit))
    assert logits[0] != logits[1]


def test_who_gets_no_probability_gets_none_from_a_pseudo_mri_either(predictor, people, tmp_path):
    child = PatientRecord(patient="x", values={**people[0].values, "age": 19.0})
    found = predictor.decode(child, tmp_path / "x.nii")
    assert found.cnn_probability is found.fused_probability is None
    assert found.volumes_ml


def test_a_bundle_older_than_the_cnn_still_draws(bundle_folder, people, tmp_path):
    copy = shutil.copytree(bundle_folder, tmp_path / "bundle")
    entries = json.loads((copy / "card.json").read_text())
    del entries["files"]["reader.safetensors"]
    (copy / "card.json").write_text(json.dumps(entries))
    (copy / "reader.safetensors").unlink()
    found = Predictor.load(copy).decode(people[0], tmp_path / "x.nii")
    assert found.cnn_probability is found.fused_probability is None
    assert found.volumes_ml


def test_one_patient_takes_at_most_20_ms_of_processor_time(predictor, people):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    predictor.predict(people[:1])
    times = []
    for _ in range(20):
        start = time.process_time()
        predictor.predict(people[:1])
        times.append(time.process_time() - start)
    torch.set_num_threads(threads)
    assert np.median(times) < 0.020


def test_serving_loads_nothing_that_only_training_needs(bundle_folder):
    code = (
        "import sys; from pathlib import Path; from ml.predictor import Predictor;"
        "from ml.records import PatientRecord;"
        f"p = Predictor.load(Path({str(bundle_folder)!r}));"
        "p.predict([PatientRecord(patient='a', values={'age': 70.0})]);"
        "heavy = {'torch_geometric', 'transformers', 'nilearn', 'sklearn', 'pandas', 'monai'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "name", ["surrogate.safetensors", "decoder.safetensors", "reader.safetensors"]
)
def test_a_bundle_with_a_changed_file_is_not_loaded(bundle_folder, tmp_path, name):
    copy = shutil.copytree(bundle_folder, tmp_path / "bundle")
    content = bytearray((copy / name).read_bytes())
    content[-1] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} .* was changed or cut"):
        Predictor.load(copy)


def test_a_bundle_of_another_shape_is_refused(bundle_folder, tmp_path):
    copy = shutil.copytree(bundle_folder, tmp_path / "bundle")
    text = (copy / "card.json").read_text()
    (copy / "card.json").write_text(text.replace('"width": 32', '"width": 48'))
    with pytest.raises(BundleError, match="does not fit this version"):
        Predictor.load(copy)


def test_a_bundle_older_than_a_setting_still_loads(bundle_folder, tmp_path):
    copy = shutil.copytree(bundle_folder, tmp_path / "bundle")
    entries = json.loads((copy / "card.json").read_text())
    del entries["training"]["settings"]["pretrain"]["max_scans"]
    (copy / "card.json").write_text(json.dumps(entries))
    assert Predictor.load(copy).predict([]) == []
