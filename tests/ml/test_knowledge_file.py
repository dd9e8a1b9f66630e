import json
import struct

import pytest

from ml.knowledge_file import KnowledgeFileError, read_knowledge, write_knowledge
from ml.knowledge_graph import KnowledgeGraph, Node

GRAPH = KnowledgeGraph(
    [
        Node("HP:1", "phenotype", "Verwirrtheit\u2028in\nzwei Zeilen", ("confusion",)),
        Node("I63", "diagnosis", "Cerebral infarction", (), ("icd10:I63",)),
    ],
    [("I63", "causes", "HP:1")],
)


@pytest.fixture
def path(tmp_path):
    write_knowledge(tmp_path / "graph.safetensors", GRAPH)
    return tmp_path / "graph.safetensors"


def test_a_graph_comes_back_as_it_was_written(path):
    back = read_knowledge(path)
    assert back.nodes == GRAPH.nodes
    assert back.edges == GRAPH.edges
    assert back.version == GRAPH.version


def test_a_graph_without_edges_comes_back(tmp_path):
    bare = KnowledgeGraph(GRAPH.nodes, ())
    write_knowledge(tmp_path / "bare.safetensors", bare)
    assert read_knowledge(tmp_path / "bare.safetensors").version == bare.version


@pytest.mark.parametrize("where", [-1, -40, -80])
def test_a_changed_byte_is_noticed(path, where):
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(KnowledgeFileError, match="it was changed"):
        read_knowledge(path)


def test_a_file_that_was_cut_off_is_refused(path):
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(KnowledgeFileError, match="cannot be read"):
        read_knowledge(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(KnowledgeFileError, match="Make it again"):
        read_knowledge(tmp_path / "none.safetensors")


def test_a_file_of_another_format_is_refused(tmp_path):
    header = json.dumps({"__metadata__": {"format": "other 2"}}).encode()
    path = tmp_path / "other.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(KnowledgeFileError, match="'other 2'; this version reads"):
        read_knowledge(path)
