from dataclasses import replace

import pytest

from ml.concepts import dictionary
from ml.config import PROFILES
from ml.graph_encoder import ConceptGraph
from ml.knowledge_file import write_knowledge
from ml.knowledge_sources.ibkh import read_ibkh
from ml.neighbour_sampler import NeighbourSampler
from ml.patient_graph import FindingScaler
from ml.training.learn import knowledge
from tests.ml.graph_case import records
from tests.ml.ibkh_case import write_ibkh

CONCEPTS = ("stroke", "hypertension", "age")
TINY = PROFILES["tiny"]


@pytest.fixture(scope="module")
def scaler():
    return FindingScaler([dictionary()[name] for name in CONCEPTS]).fit(records(20))


def with_graph(**settings):
    return replace(TINY, graph=replace(TINY.graph, **settings))


def test_diagnoses_stand_beside_phenotypes_if_the_settings_say_so(scaler):
    plain, without = knowledge(scaler, TINY, None)
    both, figures = knowledge(scaler, with_graph(diagnoses=True), None)
    assert isinstance(both, ConceptGraph)
    assert both.sizes.kinds == plain.sizes.kinds + 1
    assert figures["nodes"] > without["nodes"]
    assert figures["version"] != without["version"]


def test_a_graph_from_a_file_is_kept_as_far_as_the_settings_say(tmp_path):
    scaler = FindingScaler([dictionary()["dementia_code"]])  # Alzheimer's disease by its code
    write_knowledge(tmp_path / "graph", read_ibkh(write_ibkh(tmp_path / "ibkh")).graph)
    sizes = [
        knowledge(scaler, with_graph(hops=hops), None, tmp_path / "graph")[1]["nodes"]
        for hops in (0, 1, 2)
    ]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_fanouts_in_the_settings_give_a_sampler_of_the_same_sizes(scaler):
    whole, _ = knowledge(scaler, TINY, None)
    drawing, _ = knowledge(scaler, with_graph(fanouts=(3, 3)), None)
    assert isinstance(drawing, NeighbourSampler)
    assert drawing.sizes == whole.sizes
