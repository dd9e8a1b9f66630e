import pytest
import torch

from ml.concept_linking import Link, TextEncoder, TextEncoderError, Way, coverage, link_concepts
from ml.concepts import Concept, Kind
from ml.knowledge_graph import KnowledgeGraph, Node


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return TextEncoder(cache=tmp_path_factory.mktemp("cache"))


def concept(name, label, *, group="Symptom checklist", hpo=(), synonyms=()):
    return Concept(
        id=name,
        label=label,
        group=group,
        kind=Kind.BINARY,
        low=0.0,
        high=1.0,
        hpo=hpo,
        synonyms=synonyms,
        source="test",
    )


GRAPH = KnowledgeGraph(
    (
        Node("HP:1", "phenotype", "Hypertension", ("High blood pressure",)),
        Node("HP:2", "phenotype", "Sleep apnea", ("Apnoea during sleep",)),
        Node("HP:3", "phenotype", "Difficulty falling asleep"),
    ),
    (),
)


def test_a_code_wins_over_a_name_and_a_name_over_text(encoder):
    links = link_concepts(
        [
            concept("coded", "Sleep apnea", hpo=("HP:1",)),
            concept("named", "HIGH blood-pressure"),
            concept("other_word", "whatever", synonyms=("sleep apnea",)),
            concept("by_text", "trouble with falling asleep"),
        ],
        GRAPH,
        encoder,
    )
    assert [(link.nodes, link.way) for link in links] == [
        (("HP:1",), Way.CODE),
        (("HP:1",), Way.NAME),
        (("HP:2",), Way.NAME),
        (("HP:3",), Way.TEXT),
    ]
    assert links[3].score > 0.6


def test_text_below_the_threshold_is_left_to_a_person(encoder):
    (link,) = link_concepts([concept("far", "Major surgery")], GRAPH, encoder)
    assert link.way is Way.NONE
    assert link.nodes == ()
    assert 0 < link.score < 0.6
    assert link.nearest in GRAPH.position


def test_apoe_age_and_education_are_never_linked_by_text():
    near = KnowledgeGraph((Node("HP:2", "phenotype", "APOE e4 apnea"),), ())

    def same_vector(texts):
        return torch.nn.functional.normalize(torch.ones(len(texts), 4), dim=1)

    demographic = concept("apoe4", "APOE e4", group="Demographics and genetics")
    (guarded,) = link_concepts([demographic], near, same_vector)
    assert guarded.way is Way.NONE
    (control,) = link_concepts([concept("apoe4", "APOE e4")], near, same_vector)
    assert control.nodes == ("HP:2",)


def test_a_code_that_the_graph_lacks_is_named(encoder):
    with pytest.raises(KeyError, match="HP:9, which the graph lacks"):
        link_concepts([concept("lost", "Lost", hpo=("HP:9",))], GRAPH, encoder)


def test_vectors_are_unit_and_the_same_from_the_cache(tmp_path):
    texts = ["Hypertension", "High blood pressure", "Car engine"]
    first = TextEncoder(cache=tmp_path)(texts)
    again = TextEncoder(cache=tmp_path)
    again._encode = None  # the second time must not compute
    torch.testing.assert_close(again(texts), first, atol=0, rtol=0)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))
    assert first[0] @ first[1] > first[0] @ first[2] + 0.3


def test_a_vector_does_not_depend_on_the_texts_beside_it(encoder):
    alone = encoder(["Tremor"])
    beside = encoder(["Tremor", "A much longer name of a clinical finding than the other"])
    torch.testing.assert_close(alone[0], beside[0], atol=1e-5, rtol=0)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(TextEncoderError, match=r"config\.json"):
        TextEncoder(tmp_path)(["Tremor"])


def test_coverage_counts_every_way_and_names_the_unlinked():
    report = coverage([Link("a", ("HP:1",), Way.CODE, 1.0), Link("b", (), Way.NONE, 0.3)])
    assert report["code"] == 1
    assert report["none"] == 1
    assert report["unlinked"] == ["b"]
