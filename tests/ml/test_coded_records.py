"""The graph lets rare sibling codes share what was learned; nonsense in its place does not."""

import numpy as np
import pytest
import torch

from ml.code_graph import with_ancestors
from ml.data.phantom_codes import presence_concept
from ml.evaluation.baselines import fit_table
from ml.evaluation.coded_model import CodedConfig, fit_coded_model, read_codes_with
from ml.evaluation.coded_records import rewired
from ml.evaluation.metrics import auc, auc_difference
from ml.evaluation.tables import mean_of
from ml.graph_encoder import ConceptGraph
from ml.knowledge_graph import KnowledgeGraph, Node
from ml.patient_graph import FindingScaler
from ml.records import PatientRecord

CATEGORIES, SIBLINGS, HARMFUL = 12, 8, 3


@pytest.fixture(scope="module")
def graph():
    nodes = [Node(f"x:{c}", "diagnosis", f"category {c}") for c in range(CATEGORIES)]
    edges = []
    for category in range(CATEGORIES):
        for sibling in range(SIBLINGS):
            nodes.append(Node(f"x:{category}.{sibling}", "diagnosis", f"code {category} {sibling}"))
            edges.append((nodes[-1].id, "is_a", f"x:{category}"))
    return KnowledgeGraph(nodes, edges)


def site(first, count, seed):
    """The site uses every second sibling, from the first or from the second on."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    records = []
    for label in labels:
        risk = np.where(np.arange(CATEGORIES) < HARMFUL, 0.15 + 0.35 * label, 0.3)
        codes = {
            f"x:{category}.{first + 2 * rng.integers(SIBLINGS // 2)}": 1.0
            for category in np.flatnonzero(rng.random(CATEGORIES) < risk)
        }
        records.append(PatientRecord(patient="", values=codes))
    return records, labels


def fitted(graph, edges, closure, train, labels):
    records = with_ancestors(train, graph) if closure else train
    scaler = FindingScaler([presence_concept(n.id, n.name) for n in graph.nodes]).fit(records)
    text = torch.eye(len(graph.nodes))
    concepts = ConceptGraph.build(edges, text, scaler)
    config = CodedConfig(ridge=0.03)
    model = fit_coded_model(config, concepts, scaler.encode(records), labels, seed=0)

    def read(asked):
        asked = with_ancestors(asked, graph) if closure else asked
        return read_codes_with(model, concepts, scaler.encode(asked))

    return read


def test_with_the_graph_another_sites_siblings_are_read_and_without_it_they_are_not(graph):
    train, labels = site(0, 300, 1)
    other, truth = site(1, 400, 2)
    with_graph = fitted(graph, graph, True, train, labels)(other)
    without = fitted(graph, KnowledgeGraph(graph.nodes, ()), False, train, labels)(other)
    assert auc(with_graph, truth).low > 0.65
    assert auc(without, truth).low <= 0.5 <= auc(without, truth).high
    assert auc_difference(with_graph, without, truth).low > 0.1


def test_a_person_is_read_alike_alone_and_among_others(graph):
    train, labels = site(0, 100, 1)
    read = fitted(graph, graph, True, train, labels)
    people, _ = site(0, 20, 3)
    assert read(people)[4] == pytest.approx(read(people[4:5])[0], abs=1e-6)


def test_without_messages_the_reader_is_a_ridge_regression(graph):
    train, labels = site(0, 300, 1)
    people, truth = site(0, 400, 2)
    read = fitted(graph, KnowledgeGraph(graph.nodes, ()), True, train, labels)(people)
    scaler = FindingScaler([presence_concept(n.id, n.name) for n in graph.nodes])
    scaler.fit(with_ancestors(train, graph))
    width = len(scaler.columns)
    tables = [scaler.encode(with_ancestors(r, graph)).sparse(width) for r in (train, people)]
    model, _ = fit_table("lr", tables[0], labels, seed=0)
    ridge = model.predict_proba(tables[1])[:, 1]
    assert auc(read, truth).value == pytest.approx(auc(ridge, truth).value, abs=0.03)


def test_rewiring_keeps_everybodys_number_of_edges_and_little_else(graph):
    mixed = rewired(graph, 0)
    assert mixed.edges != graph.edges
    for ends in ("source", "target"):
        counts = [np.bincount(getattr(g.table, ends), minlength=108) for g in (graph, mixed)]
        assert np.array_equal(*counts)
    kept = set(mixed.edges) & set(graph.edges)
    assert len(kept) < 0.3 * len(graph.edges)


def test_a_mean_over_seeds_has_students_interval():
    figures = [{"value": v, "low": 0.0, "high": 1.0, "n": 10} for v in (0.5, 0.6, 0.7)]
    mean = mean_of(figures)
    assert mean["value"] == pytest.approx(0.6)
    assert mean["high"] - 0.6 == pytest.approx(4.3027 * 0.1 / np.sqrt(3), abs=1e-3)
    assert mean["n"] == 30
    assert mean_of(figures[:1]) == figures[0]
