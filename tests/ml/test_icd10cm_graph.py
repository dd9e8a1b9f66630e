import pytest

from ml.concepts import dictionary
from ml.icd10 import listed_icd10
from ml.knowledge_graph import DanglingEdgeError
from ml.knowledge_sources.icd10cm import icd10cm_node, read_icd10cm


@pytest.fixture(scope="module")
def icd10cm():
    return read_icd10cm()


def test_every_chapter_block_and_code_is_read(icd10cm):
    assert len(icd10cm.nodes) == 22 + 297 + 46_881
    assert icd10cm.relations == ("is_a",)
    assert all(node.name for node in icd10cm.nodes)


def test_everything_but_a_chapter_stands_under_exactly_one_thing(icd10cm):
    under = [source for source, _, _ in icd10cm.edges]
    chapters = {node.id for node in icd10cm.nodes if node.id.startswith("ICD10CM:chapter")}
    assert len(under) == len(set(under))
    assert {node.id for node in icd10cm.nodes} - set(under) == chapters


def test_a_stroke_is_a_cerebrovascular_disease(icd10cm):
    above = icd10cm.ancestors(icd10cm_node("I63.9"))
    assert above == ("ICD10CM:I63", "ICD10CM:I60-I69", "ICD10CM:chapter 9")
    names = [icd10cm.nodes[icd10cm.position[each]].name for each in above]
    assert names[0] == "Cerebral infarction"
    assert names[1].startswith("Cerebrovascular diseases")


def test_a_code_carries_its_inclusion_terms_and_its_code(icd10cm):
    node = icd10cm.nodes[icd10cm.position["ICD10CM:I63.9"]]
    assert "Stroke NOS" in node.synonyms
    assert node.codes == ("icd10:I63.9",)


def test_every_code_of_the_dictionary_has_a_node_or_begins_some(icd10cm):
    stems = {code for concept in dictionary().values() for code in concept.codes.get("icd10", ())}
    lost = [code for code in stems if icd10cm_node(code) not in icd10cm.position]
    assert lost == ["C"]


def test_a_code_for_one_encounter_falls_under_the_code_it_extends(icd10cm):
    assert icd10cm_node(listed_icd10("S06.0X0A")) in icd10cm.position


def test_ancestors_of_what_is_no_node_are_refused(icd10cm):
    with pytest.raises(DanglingEdgeError, match=r"ICD10CM:I99\.99"):
        icd10cm.ancestors("ICD10CM:I99.99")
