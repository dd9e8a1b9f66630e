"""Coded records look like an EHR; severity moves what the table of causes says; sites differ."""

import csv

import numpy as np
import pytest

from ml.code_graph import code_graph, with_ancestors
from ml.data.phantom_codes import (
    code_concepts,
    families,
    read_codes,
    sample_codes,
    write_codes,
)
from ml.icd10 import normalise_icd10
from ml.knowledge_graph import KnowledgeGraph, Node
from ml.patient_graph import FindingScaler, columns_of
from ml.records import PatientRecord

PEOPLE = 1_500


def draw(seed=0, people=PEOPLE, **person):
    settings = {"age_years": 75.0, "female": False, "severity": 0.0, "site": "north", **person}
    rng = np.random.default_rng(seed)
    return [sample_codes(rng, **settings) for _ in range(people)]


def share(records, family):
    return np.mean([any(code in record for code in family.members) for record in records])


@pytest.fixture(scope="module")
def healthy():
    return draw()


@pytest.fixture(scope="module")
def severe():
    return draw(severity=2.5)


@pytest.fixture(scope="module")
def graph():
    """Codes under what they begin with, and strokes' sequels up to their chapter."""
    above = {"ICD10CM:I69": "ICD10CM:I60-I69", "ICD10CM:I60-I69": "ICD10CM:chapter 9"}
    for family in families():
        low = [code for code in family.members if code.startswith("ICD10CM:")]
        while low := [code for code in low if code != family.id]:
            above.update((code, code[:-1].rstrip(".")) for code in low)
            low = [above[code] for code in low]
    names = dict.fromkeys([*above, *above.values(), *(family.id for family in families())])
    nodes = [Node(name, "diagnosis", name) for name in names if name.startswith("ICD10CM:")]
    hierarchy = KnowledgeGraph(nodes, [(low, "is_a", high) for low, high in above.items()])
    return code_graph(families(), hierarchy)


def test_the_codes_are_real_ones_and_none_is_nearly_the_diagnosis():
    diagnoses = [each.id.removeprefix("ICD10CM:") for each in code_concepts() if "ICD" in each.id]
    assert len(diagnoses) > 1_500
    assert all(normalise_icd10(code) == code for code in diagnoses)
    near = ("F0", "G30", "G31", "G32", "R41", "R54")
    assert not [code for code in diagnoses if code.startswith(near)]
    assert not [each for each in code_concepts() if "donepezil" in each.id or "memant" in each.id]


def test_a_record_holds_tens_of_codes_and_nothing_for_what_is_absent(healthy):
    assert 15 < np.median([len(record) for record in healthy]) < 60
    known = {concept.id for concept in code_concepts()}
    assert all(set(record) <= known for record in healthy)
    codes = [value for record in healthy for name, value in record.items() if ":" in name]
    assert set(codes) == {1.0}


def test_severity_moves_what_the_table_of_causes_says_and_nothing_else(healthy, severe):
    for family in families():
        before, after = share(healthy, family), share(severe, family)
        if family.severity >= 0.2:
            assert after > before, family.id
        elif not family.severity:
            error = np.sqrt((before * (1 - before) + after * (1 - after)) / PEOPLE + 1e-6)
            assert abs(after - before) < 4.5 * error, family.id


def test_a_person_differs_between_sites_by_habit_alone_and_equal_generators_agree():
    assert draw(people=20) == draw(people=20)
    north, south = draw(people=400), draw(people=400, site="south")
    stroke = next(family for family in families() if family.id == "ICD10CM:I63")
    favourites = [
        max(stroke.members, key=lambda code: sum(code in record for record in records))
        for records in (north, south)
    ]
    assert favourites[0] != favourites[1]


def test_every_record_draws_the_same_amount_of_chance():
    ends = set()
    for severity, site in ((-2.0, "north"), (4.0, "south")):
        rng = np.random.default_rng(5)
        sample_codes(rng, age_years=80.0, female=True, severity=severity, site=site)
        ends.add(rng.random())
    assert len(ends) == 1


def test_a_code_brings_along_what_it_is_a_kind_of(graph):
    [closed] = with_ancestors(
        [PatientRecord(patient="x", values={"age": 70.0, "ICD10CM:I69.30": 1.0})], graph
    )
    assert {"ICD10CM:I69.3", "ICD10CM:I69", "ICD10CM:I60-I69", "ICD10CM:chapter 9"} <= set(
        closed.values
    )
    assert closed.values["age"] == 70.0
    assert len(closed.values) == 6
    assert ("drug class:Antidepressants", "given_for", "ICD10CM:F32") in graph.edges


def test_every_code_is_a_node_and_the_scaler_keeps_the_codes_that_training_has(graph, healthy):
    codes = code_concepts()
    assert all(each.node in graph.position for each in columns_of(codes[2:]))
    people = [PatientRecord(patient="x", values=values) for values in healthy[:300]]
    scaler = FindingScaler(codes).fit(people)
    counts = [sum(code.id in person.values for person in people) for code in codes[2:]]
    assert scaler.seen[2:].tolist() == counts


def test_a_phantom_cohort_gets_its_coded_records(tmp_path, healthy):
    _write_cohort(tmp_path)
    path = write_codes(tmp_path, site="north", seed=1)
    records = read_codes(path)
    assert [record.patient for record in records] == ["sub-0001", "sub-0002"]
    assert records[0].values["age"] == 70.5
    assert records[1].values["female"] == 1.0
    write_codes(tmp_path, site="north", seed=1)
    assert read_codes(path) == records


def test_codes_are_invented_for_phantoms_only_and_other_files_are_refused(tmp_path):
    _write_cohort(tmp_path)
    (tmp_path / "truth.tsv").unlink()
    with pytest.raises(ValueError, match="for phantoms only"):
        write_codes(tmp_path, site="north", seed=1)
    wrong = tmp_path / "codes.csv"
    wrong.write_text("patient,code\n1,I10\n")
    with pytest.raises(ValueError, match="must be: patient,code,value"):
        read_codes(wrong)
    wrong.write_text("patient,code,value\n1,I10,yes\n")
    with pytest.raises(ValueError, match="line 2"):
        read_codes(wrong)


def _write_cohort(folder):
    (folder / "participants.tsv").write_text(
        "participant_id\tage\tsex\tdiagnosis\nsub-0001\t70.5\tM\tAD\nsub-0002\t66\tF\tCN\n"
    )
    (folder / "truth.tsv").write_text(
        "participant_id\tseverity\tstate\tlabel\nsub-0001\t2.5\t1\t1\nsub-0002\t-1\t0\t0\n"
    )
    with (folder / "ehr.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["patient", "age"], ["sub-0001", 70.5], ["sub-0002", 66]])
