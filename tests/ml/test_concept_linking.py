import pytest
import torch

from ml.concept_linking import (
    Link,
    Way,
    assign_one_to_one,
    coverage,
    link_concepts,
    nearest,
    with_ancestors,
)
from ml.concepts import Concept, Kind
from ml.knowledge_graph import KnowledgeGraph, Node
from ml.knowledge_sources.icd10cm import read_icd10cm
from ml.text_encoder import TextEncoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return TextEncoder(cache=tmp_path_factory.mktemp("cache"))


def concept(name, label, *, group="Symptom checklist", hpo=(), synonyms=(), codes=None):
    return Concept(
        codes=codes or {},
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


def test_coverage_counts_every_way_and_names_the_unlinked():
    report = coverage([Link("a", ("HP:1",), Way.CODE, 1.0), Link("b", (), Way.NONE, 0.3)])
    assert report["code"] == 1
    assert report["none"] == 1
    assert report["unlinked"] == ["b"]


def test_a_code_of_another_system_finds_its_node():
    graph = KnowledgeGraph(
        (
            Node("disease::1", "disease", "Alzheimer", (), ("icd10:G30", "umls:C0002395")),
            Node("disease::2", "disease", "Stroke", (), ("icd10:I63",)),
        ),
        (),
    )
    ours = concept("dementia", "Stroke", codes={"icd10": ("F03", "G30"), "snomed": ("1",)})
    (link,) = link_concepts([ours], graph, None)
    assert link == Link("dementia", ("disease::1",), Way.CODE, 1.0)


def test_phenotypes_are_not_asked_of_a_graph_that_has_none():
    graph = KnowledgeGraph((Node("Symptom::1", "Symptom", "Hypertension"),), ())
    (link,) = link_concepts([concept("bp", "Hypertension", hpo=("HP:1",))], graph, None)
    assert link == Link("bp", ("Symptom::1",), Way.NAME, 1.0)


def test_without_an_encoder_only_codes_and_names_link():
    links = link_concepts(
        [concept("a", "Hypertension"), concept("b", "trouble with falling asleep")], GRAPH, None
    )
    assert [link.way for link in links] == [Way.NAME, Way.NONE]


def test_a_link_to_a_code_is_closed_by_what_it_is_a_kind_of_each_once():
    graph = read_icd10cm()
    strokes = ("ICD10CM:I63.8", "ICD10CM:I63.9")
    closed, nothing = with_ancestors(
        [Link("stroke", strokes, Way.CODE, 1.0), Link("none", (), Way.NONE, 0.0)], graph
    )
    above = ("ICD10CM:I63", "ICD10CM:I60-I69", "ICD10CM:chapter 9")
    assert closed.nodes == (*strokes, *above)
    assert nothing.nodes == ()


def test_the_nearest_in_blocks_are_those_of_the_whole_table():
    torch.manual_seed(0)
    ours, theirs = (torch.nn.functional.normalize(torch.randn(n, 8), dim=1) for n in (7, 103))
    scores, places = nearest(ours, theirs.split(10), 5)
    reference = (ours @ theirs.T).topk(5, dim=1)
    torch.testing.assert_close(scores, reference.values)
    assert torch.equal(places, reference.indices)


def test_of_equally_near_names_the_first_is_taken():
    ours = torch.eye(2)[:1]
    theirs = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    for size in (1, 2, 3, 4):
        assert nearest(ours, theirs.split(size), 2)[1].tolist() == [[1, 2]]


def test_one_to_one_gives_the_largest_sum_and_no_node_twice():
    # The first row likes node 4 a little more than node 7; the second has nothing but node 4.
    scores = torch.tensor([[0.9, 0.8], [0.85, 0.1]])
    places = torch.tensor([[4, 7], [4, 9]])
    best, at = assign_one_to_one(scores, places)
    assert at[:, 0].tolist() == [7, 4]
    torch.testing.assert_close(best[:, 0], torch.tensor([0.8, 0.85]))


def test_what_a_code_took_is_not_given_again():
    best, at = assign_one_to_one(torch.tensor([[0.9, 0.7]]), torch.tensor([[4, 7]]), taken={4})
    assert (at.item(), round(best.item(), 2)) == (7, 0.7)
    best, _ = assign_one_to_one(torch.tensor([[0.9]]), torch.tensor([[4]]), taken={4})
    assert best.item() == 0


def test_two_concepts_share_a_node_unless_links_are_one_to_one(encoder):
    both = [concept("a", "high tension of the blood"), concept("b", "raised blood pressure value")]
    near = KnowledgeGraph(
        (Node("HP:1", "phenotype", "High blood pressure"), Node("HP:2", "phenotype", "Hemotypia")),
        (),
    )
    shared = link_concepts(both, near, encoder, threshold=0.0)
    assert {link.nodes for link in shared} == {("HP:1",)}
    apart = link_concepts(both, near, encoder, threshold=0.0, one_to_one=True)
    assert {link.nodes for link in apart} == {("HP:1",), ("HP:2",)}
