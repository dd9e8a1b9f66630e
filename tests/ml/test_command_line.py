import csv
import json
import subprocess
import sys

import pytest

from ml.__main__ import PREDICTION_COLUMNS, write_predictions
from ml.concepts import schema
from ml.records import Answer, Prediction
from tests.ml.graph_case import records

pytestmark = pytest.mark.slow


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ml", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("ehr") / "ehr.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", *schema()])
        for record in records(5, seed=4):
            writer.writerow([record.patient, *(record.values.get(name, "") for name in schema())])
    return path


def test_predict_answers_in_the_order_of_the_input_and_draws_on_request(
    bundle_folder, table, tmp_path
):
    done = run(
        "predict",
        "--bundle", bundle_folder,
        "--ehr", table,
        "--out", tmp_path / "out.csv",
        "--pseudo-mri", tmp_path / "drawn",
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["patients"] == 5
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == PREDICTION_COLUMNS
    assert [row["patient"] for row in rows] == [f"p4-{number}" for number in range(5)]
    for row in rows:
        if row["probability"]:
            assert float(row["low"]) <= float(row["probability"]) <= float(row["high"])
    assert len(list((tmp_path / "drawn").glob("*.nii"))) == 5


def test_the_card_is_printed_for_people_and_for_programs(bundle_folder):
    text, entries = run("card", bundle_folder), run("card", bundle_folder, "--json")
    assert "trained on" in text.stdout
    assert json.loads(entries.stdout)["profile"] == "tiny"
    assert json.loads(entries.stdout)["fingerprint"] in text.stdout


def test_bad_input_ends_with_a_sentence_and_status_2(bundle_folder, table, tmp_path):
    (tmp_path / "junk.csv").write_bytes(b"\x00\x01\x02")
    for arguments, words in (
        (("card", tmp_path / "nowhere"), "There is no card.json"),
        (("predict", "--bundle", bundle_folder, "--ehr", tmp_path / "junk.csv", "--out", "x"), ""),
        (("train", "--cohort", tmp_path, "--out", tmp_path / "b", "--profile", "tiny"), "phantom"),
    ):
        done = run(*arguments)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
        assert words in done.stderr


def test_a_patient_key_that_looks_like_a_formula_cannot_run_in_a_spreadsheet(tmp_path):
    prediction = Prediction(
        patient="=1+1",
        answer=Answer.TOO_FEW,
        probability=None,
        low=None,
        high=None,
        missing=("age", "female"),
        reasons=("few",),
        bundle_version="1",
    )
    write_predictions(tmp_path / "out.csv", [prediction])
    line = (tmp_path / "out.csv").read_text().splitlines()[1]
    assert line == "'=1+1,,,,too_few,age female"
