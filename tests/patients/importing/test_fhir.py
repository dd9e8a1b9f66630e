"""FHIR files go in entry by entry: one that is wrong is named and stops no other."""

import gzip
import json
from pathlib import Path

import pytest

from apps.patients.importing import opening
from apps.patients.importing.problems import ProblemLog
from apps.patients.importing.source import FileRefusedError
from apps.patients.importing.values import value_in
from tests.factories import NOW

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "fhir"
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ANN = {"resourceType": "Patient", "id": "ann", "gender": "female", "birthDate": "1950-01-02"}


def observation(code, value, unit="", *, of="Patient/ann", at="2020-01-02", **more):
    return {
        "resourceType": "Observation",
        "status": "final",
        "subject": {"reference": of},
        "effectiveDateTime": at,
        "code": {"coding": [{"system": LOINC, "code": code, "display": "Something"}]},
        "valueQuantity": {"value": value, "unit": unit},
        **more,
    }


def fact(kind, system, code, display, **more):
    name = "medicationCodeableConcept" if kind.startswith("Medication") else "code"
    return {
        "resourceType": kind,
        "subject": {"reference": "Patient/ann"},
        name: {"coding": [{"system": system, "code": code, "display": display}]},
        **more,
    }


def bundle(*resources):
    entries = [{"resource": resource} for resource in resources]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})


@pytest.fixture
def read(tmp_path):
    def of(content):
        path = tmp_path / "file.json"
        path.write_text(content)
        opened = opening.analyse(path)
        log = ProblemLog(None)
        reader = opening.reader_of(path, opened.facts, opened.columns, log=log, now=NOW)
        found = {}
        for row in reader.rows():
            for cell in row.cells:
                found[cell[4 : 4 + cell[3]].decode()] = round(value_in(cell), 4)
        return found, log.all()

    return of


def test_what_is_said_of_a_patient_becomes_findings(read):
    found, problems = read(
        bundle(
            ANN,
            observation("8480-6", 130, "mm[Hg]"),
            observation("29463-7", 154, "[lb_av]"),
            fact("Condition", SNOMED, "38341003", "Hypertension"),
            fact("Condition", "http://hl7.org/fhir/sid/icd-10-cm", "A00.0", "Cholera"),
            fact("MedicationRequest", RXNORM, "310436", "Galantamine 4 MG Oral Tablet"),
            fact("MedicationStatement", RXNORM, "1191", "Aspirin", status="active"),
            fact("Procedure", SNOMED, "73761001", "Colonoscopy", status="completed"),
        )
    )

    assert not problems
    assert found == {
        "female": 1,
        "age": 70.0,
        "systolic_mmhg": 130,
        "weight_kg": 69.8532,
        "hypertension": 1,
        "snomed:38341003": 1,
        "icd10cm:A00.0": 1,
        "galantamine": 1,
        "rxnorm:310436": 1,
        "rxnorm:1191": 1,
        "snomed:73761001": 1,
    }


def test_components_and_coded_answers_are_read(read):
    pressure = observation("85354-9", 1)
    del pressure["valueQuantity"]
    pressure["component"] = [
        {
            "code": {"coding": [{"system": LOINC, "code": code}]},
            "valueQuantity": {"value": value, "unit": "mmHg"},
        }
        for code, value in (("8480-6", 130), ("8462-4", 80))
    ]
    smoking = observation("72166-2", 1)
    del smoking["valueQuantity"]
    smoking["valueCodeableConcept"] = {"coding": [{"system": SNOMED, "code": "8517006"}]}

    found, problems = read(bundle(ANN, pressure, smoking))

    assert not problems
    assert (found["systolic_mmhg"], found["diastolic_mmhg"], found["history_smoking"]) == (
        130,
        80,
        1,
    )


def test_ndjson_is_read_line_by_line_and_a_broken_line_is_named(read):
    lines = [json.dumps(ANN), '{"resourceType": ', json.dumps(observation("8480-6", 130))]
    found, [problem] = read("\n".join(lines))

    assert found["systolic_mmhg"] == 130
    assert (problem.row, problem.code) == (2, "malformed")


WRONG = {
    "foreign_patient": observation("8480-6", 130, of="Patient/somebody"),
    "malformed": {**observation("8480-6", 130), "subject": "ann"},
    "unit": observation("29463-7", 70, "mmol/L"),
    "future_date": observation("8480-6", 130, at="2099-01-01"),
    "date_order": observation("8480-6", 130, at="1940-01-01"),
    "out_of_range": observation("8480-6", 13_000, "mm[Hg]"),
}


@pytest.mark.parametrize("code", WRONG)
def test_one_wrong_entry_is_named_and_the_rest_goes_in(read, code):
    found, [problem] = read(bundle(ANN, WRONG[code], observation("8462-4", 80)))

    assert (problem.row, problem.code) == (2, code)
    assert found["diastolic_mmhg"] == 80
    assert "systolic_mmhg" not in found


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": 7},
        7,
        None,
        observation("8480-6", "130"),
        observation("8480-6", True),
        {**observation("8480-6", 130), "effectiveDateTime": 7},
        {**observation("8480-6", 130), "code": {"coding": "8480-6"}},
        {**observation("8480-6", 130), "component": [7]},
        fact("Condition", SNOMED, "38341003", "\ud800"),
        fact("MedicationRequest", RXNORM, "1", "x", medicationCodeableConcept=7),
    ],
)
def test_malformed_entries_are_named(read, resource):
    found, problems = read(bundle(ANN, resource))

    assert [p.code for p in problems] == ["malformed"]
    assert found["female"] == 1


def test_values_of_a_child_are_left_out_with_a_notice(read):
    found, [problem] = read(bundle(ANN, observation("29463-7", 4.1, "kg", at="1950-03-01")))

    assert (problem.code, problem.severity) == ("childhood", "notice")
    assert "weight_kg" not in found


def test_entries_that_are_no_facts_are_left_out(read):
    found, [problem] = read(
        bundle(ANN, {**observation("8480-6", 130), "status": "entered-in-error"})
    )

    assert (problem.code, problem.severity) == ("not_done", "notice")
    assert "systolic_mmhg" not in found


def test_two_values_for_one_moment_are_a_contradiction(read):
    _, [problem] = read(bundle(ANN, observation("8480-6", 130), observation("8480-6", 140)))

    assert (problem.row, problem.code) == (3, "contradiction")


@pytest.mark.parametrize(
    "text",
    [
        '{"resourceType": "Patient"}{',
        '{"resourceType": "Bundle", "entry": 7}',
        '{"resourceType": "Bundle", "entry": []}',
        '{"resourceType": "Bundle", "entry": [{"resource": {"a": NaN}}]}',
        '{"resourceType": "Bundle", "type": "x", "type": "y"}',
        '{"resourceType": "Bundle", "entry": ' + "[" * 1_000 + "]" * 1_000 + "}",
        '{"resourceType": "Bundle", "total": ' + "9" * 5_000 + "}",
        "[1, 2]",
    ],
)
def test_a_file_that_is_no_bundle_is_refused_with_a_reason(read, text):
    with pytest.raises(FileRefusedError) as refused:
        read(text)
    assert len(str(refused.value)) > 20


def test_a_bundle_that_is_too_large_is_refused_unread(read, monkeypatch):
    from apps.patients.importing import fhir

    monkeypatch.setattr(fhir, "MAX_BUNDLE_BYTES", 1_000)
    with pytest.raises(FileRefusedError, match="NDJSON"):
        read(bundle(ANN, {"resourceType": "Binary", "data": "A" * 2_000}))


@pytest.mark.parametrize("number", range(1, 6))
def test_real_bundles_go_in_with_nearly_every_kind_of_observation_understood(read, number):
    path = SHARED / f"bundle_{number:02d}.json.gz"
    if not path.exists():
        pytest.skip("the sample bundles are not on this machine")
    found, problems = read(gzip.decompress(path.read_bytes()).decode())

    assert len(found) > 50
    assert {"age", "female", "systolic_mmhg", "weight_kg"} <= set(found)
    assert {p.code for p in problems} <= {"unit", "out_of_range", "contradiction", "critical"}
