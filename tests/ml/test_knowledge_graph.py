import itertools

import pytest

from ml.concepts import dictionary
from ml.knowledge_graph import (
    DanglingEdgeError,
    DoubledNodeError,
    KnowledgeGraph,
    KnowledgeGraphError,
    Node,
)
from ml.knowledge_sources.hpo import read_hpo


@pytest.fixture(scope="module")
def hpo():
    return read_hpo()


def chain(*names):
    """root <- a <- b ... along is_a."""
    nodes = tuple(Node(name, "phenotype", name) for name in names)
    return KnowledgeGraph(
        nodes, tuple((low, "is_a", high) for high, low in itertools.pairwise(names))
    )


def test_hpo_is_read_with_its_names_synonyms_and_parents(hpo):
    dementia = hpo.nodes[hpo.position["HP:0000726"]]
    assert dementia.name == "Dementia"
    assert "Dementia, progressive" in dementia.synonyms
    assert ("HP:0000726", "is_a", "HP:0001268") in hpo.edges
    assert len(hpo.nodes) > 18_000
    assert hpo.relations == ("is_a",)


def test_every_term_but_the_root_has_a_parent(hpo):
    with_parent = {source for source, _, _ in hpo.edges}
    assert {node.id for node in hpo.nodes} - with_parent == {"HP:0000001"}


def test_every_link_of_the_dictionary_is_a_term(hpo):
    links = {link for concept in dictionary().values() for link in concept.hpo}
    assert links - set(hpo.position) == set()
    assert len(links) > 50


def test_pruning_keeps_ancestors_and_a_bounded_neighbourhood():
    graph = chain("root", "organ", "disease", "subtype", "rare")
    assert [node.id for node in graph.pruned(["disease"], children=1).nodes] == [
        "root",
        "organ",
        "disease",
        "subtype",
    ]
    assert len(graph.pruned(["disease"], children=0).edges) == 2


def test_a_seed_that_is_no_node_is_named():
    with pytest.raises(DanglingEdgeError, match="the first is lost"):
        chain("root", "organ").pruned(["lost"], children=0)


def test_doubled_identifiers_are_refused():
    with pytest.raises(DoubledNodeError, match="the first is a"):
        KnowledgeGraph((Node("a", "k", "A"), Node("a", "k", "B")), ())


def test_dangling_edges_are_refused():
    with pytest.raises(DanglingEdgeError, match="a is_a b names b"):
        KnowledgeGraph((Node("a", "k", "A"),), (("a", "is_a", "b"),))


def test_the_version_is_the_content():
    graph = chain("root", "organ")
    assert graph.version == chain("root", "organ").version
    assert graph.version != chain("root", "organs").version
    assert graph.version != KnowledgeGraph(graph.nodes, ()).version


def test_a_file_that_is_no_ontology_is_refused(tmp_path):
    (tmp_path / "hp.obo").write_text("binary junk")
    with pytest.raises(KnowledgeGraphError, match=r"hp\.obo holds no"):
        read_hpo(tmp_path / "hp.obo")
    with pytest.raises(KnowledgeGraphError, match="cannot be read"):
        read_hpo(tmp_path / "missing.obo")
