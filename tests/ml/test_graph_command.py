import json
import subprocess
import sys

import pytest

from ml.__main__ import _outline
from ml.knowledge_file import read_knowledge
from tests.ml.ibkh_case import append, write_ibkh

pytestmark = pytest.mark.slow


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ml", "graph", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    return write_ibkh(tmp_path / "ibkh")


def test_ibkh_is_written_to_a_file_and_counted(folder, tmp_path):
    out = tmp_path / "graph.safetensors"
    done = run("--source", "ibkh", "--in", folder, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    graph = read_knowledge(out)
    assert report["version"] == graph.version
    assert report["read"] == graph.counts()
    assert report["read"]["nodes"]["disease"] == 3
    assert report["read"]["edges"]["D_Di:Treats"] == 1
    assert report["left_out"]["nodes without an edge"] == 2


def test_what_the_dictionary_reaches_is_kept_and_its_links_are_counted(folder, tmp_path):
    out = tmp_path / "graph.safetensors"
    done = run(
        "--source", "ibkh", "--in", folder, "--out", out, "--concepts", "all", "--hops", 1, "--json"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    graph = read_knowledge(out)
    edges = set(graph.edges)
    assert ("concept:dementia_code", "stands_for", "disease::DOID:10652") in edges
    assert "gene::HGNC:613" in graph.position  # one edge from Alzheimer's disease
    assert "pathway::REACT:R-1" in graph.position
    assert "therapeutic_class::UMLS:C1" not in graph.position  # three edges away
    assert report["links"]["code"] >= 1
    assert report["links"]["none"] == len(report["links"]["unlinked"])


def test_a_graph_that_contradicts_itself_ends_with_a_sentence_and_status_2(folder, tmp_path):
    append(folder / "relation/D_SE_res.csv", "CID1,UMLS:C0018681,1,SIDER")
    out = tmp_path / "graph.safetensors"
    done = run("--source", "ibkh", "--in", folder, "--out", out)
    assert done.returncode == 2
    assert "CID1, which is no drug" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
    repaired = run("--source", "ibkh", "--in", folder, "--out", out, "--repair")
    assert "that end nowhere: 1" in repaired.stdout


def test_a_source_without_its_folder_says_what_to_give(tmp_path):
    done = run("--source", "primekg", "--out", tmp_path / "graph")
    assert done.returncode == 2
    assert "--in" in done.stderr


def test_a_report_is_indented_by_what_it_belongs_to():
    report = {"read": {"nodes": {"gene": 2}}, "unlinked": ["a", "b"]}
    assert _outline(report) == "read\n  nodes\n    gene: 2\nunlinked: a, b"
