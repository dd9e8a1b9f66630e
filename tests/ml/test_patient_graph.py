import math

import pytest
import torch

from ml.concepts import Concept, Kind, dictionary
from ml.patient_graph import CLIP, FindingScaler, RecordError, columns_of
from ml.records import PatientRecord
from tests.ml.graph_case import knowledge, model_concepts, records


def record(**values):
    return PatientRecord(patient="x", values={name: float(value) for name, value in values.items()})


def small(*names):
    return [dictionary()[name] for name in names]


@pytest.fixture
def scaler():
    people = [record(age=60 + i, female=i % 2, hypertension=i % 2) for i in range(11)]
    return FindingScaler(small("age", "female", "hypertension")).fit(people)


def test_values_are_on_the_scale_of_the_training_people(scaler):
    findings = scaler.encode([record(age=65), record(age=70)])
    assert findings.value[:, 0, 0].tolist() == pytest.approx([0.0, 5 / math.sqrt(10)], abs=1e-6)


def test_an_absent_finding_is_an_edge_without_presence_and_a_missing_one_is_no_edge(scaler):
    findings = scaler.encode([record(hypertension=0), record(hypertension=1), record()])
    assert findings.observed.sum(1).tolist() == [1, 1, 0]
    assert findings.value[:2, 0, 1].tolist() == [0.0, 1.0]


def test_a_record_is_encoded_alike_alone_and_among_others():
    people = records(30)
    scaler = FindingScaler(model_concepts()).fit(people[:20])
    together = scaler.encode(people)
    for row in (0, 25):
        alone = scaler.encode([people[row]])
        count = int(alone.observed.sum())
        assert torch.equal(together.column[row, :count], alone.column[0, :count])
        assert torch.equal(together.value[row, :count], alone.value[0, :count])


def test_a_column_that_nobody_in_training_has_makes_no_edge(scaler):
    assert scaler.encode([record(age=65, female=1)]).observed.sum() == 2
    constant = FindingScaler(small("age", "female")).fit([record(age=60, female=1)] * 5)
    assert constant.encode([record(age=65, female=1)]).observed.sum() == 0


def test_extreme_values_are_clipped(scaler):
    assert scaler.encode([record(age=110)]).value[0, 0, 0] == CLIP


def test_the_levels_of_a_category_are_columns_of_their_own():
    category = Concept(
        id="colour",
        label="Colour",
        group="g",
        kind=Kind.CATEGORICAL,
        low=1.0,
        high=3.0,
        levels={1: "red", 2: "green", 3: "blue"},
        source="test",
    )
    assert [column.node for column in columns_of([category])] == [
        "level:colour=1",
        "level:colour=2",
        "level:colour=3",
    ]
    scaler = FindingScaler([category]).fit([record(colour=1 + i % 3) for i in range(9)])
    assert scaler.encode([record(colour=2)]).value[0, :, 1].tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shoe_size": 42}, "`shoe_size`, which is no concept"),
        ({"age": 17}, "Record 1: Age must lie between 18 and 110"),
        ({"age": math.nan}, "Age must lie between"),
        ({"age": math.inf}, "Age must lie between"),
        ({"mmse": 99}, "Mini-Mental State Examination must lie"),
    ],
)
def test_what_cannot_be_read_is_refused_without_repeating_the_value(scaler, values, message):
    with pytest.raises(RecordError, match=message) as error:
        scaler.encode([record(**values)])
    for value in values.values():
        assert str(value) not in str(error.value)


def test_a_known_concept_that_the_model_does_not_read_changes_nothing(scaler):
    with_score = scaler.encode([record(age=65, mmse=20)])
    assert torch.equal(with_score.value, scaler.encode([record(age=65)]).value)


def test_the_table_holds_the_scores_and_0_where_nothing_was_observed(scaler):
    table = scaler.encode([record(age=70)]).dense(3)
    assert table[0].tolist() == pytest.approx([5 / math.sqrt(10), 0, 0], abs=1e-6)


def test_every_column_has_its_node_and_every_concept_reaches_its_phenotype():
    graph, _ = knowledge()
    for column in columns_of(model_concepts()):
        assert column.node in graph.position
    assert ("concept:stroke", "stands_for", "HP:0001297") in graph.edges
    assert ("concept:stroke", "in_group", "group:Modified Hachinski") in graph.edges
    assert all(not target.startswith("HP") for source, _, target in graph.edges if "apoe" in source)


def test_what_is_nearly_the_diagnosis_is_not_read():
    assert all(not concept.label_proximal for concept in model_concepts())
    assert len(model_concepts()) == 82


def code(name):
    return Concept(
        id=name, label=name, group="codes", kind=Kind.PRESENCE, low=1.0, high=1.0, source="test"
    )


def test_a_code_that_is_there_is_an_edge_although_it_has_one_value_only():
    codes = [code("icd10cm:I10"), code("icd10cm:I63.9"), code("icd10cm:W19")]
    people = [record(**{"icd10cm:I10": 1}), record(**{"icd10cm:I63.9": 1}), record()]
    scaler = FindingScaler(codes).fit(people)
    findings = scaler.encode([record(**{"icd10cm:I63.9": 1, "icd10cm:W19": 1}), record()])
    assert findings.observed.sum(1).tolist() == [1, 0]
    assert findings.column[0, 0] == 1
    assert findings.value[0, 0].tolist() == [1.0, 1.0]
    with pytest.raises(RecordError, match=r"icd10cm:I10 must lie between 1 and 1"):
        scaler.encode([record(**{"icd10cm:I10": 0})])


def test_the_order_of_a_record_changes_nothing(scaler):
    first = scaler.encode([record(age=65, female=1, hypertension=0)])
    second = scaler.encode([record(hypertension=0, female=1, age=65)])
    assert torch.equal(first.column, second.column)
    assert torch.equal(first.value, second.value)


def test_thousands_of_columns_cost_what_was_observed():
    codes = [code(f"code:{number}") for number in range(5_000)]
    people = [
        record(**{f"code:{(number * 7 + k) % 5_000}": 1 for k in range(30)})
        for number in range(2_000)
    ]
    scaler = FindingScaler(codes).fit(people)
    findings = scaler.encode(people)
    assert findings.value.shape == (2_000, 30, 2)
    table = findings.sparse(5_000)
    assert table.nnz == 60_000
    assert table[:20].toarray() == pytest.approx(
        findings.rows(torch.arange(20)).dense(5_000).numpy()
    )
