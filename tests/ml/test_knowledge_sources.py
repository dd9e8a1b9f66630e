import gzip
from pathlib import Path

import pytest

from ml.knowledge_graph import (
    DanglingEdgeError,
    DoubledNodeError,
    KnowledgeGraph,
    KnowledgeGraphError,
    Node,
)
from ml.knowledge_sources.default import read_default
from ml.knowledge_sources.hetionet import read_hetionet
from ml.knowledge_sources.primekg import read_primekg

HETIONET = Path(__file__).resolve().parents[3] / "shared" / "data" / "kg"
PRIMEKG = (
    "relation,display_relation,x_index,x_id,x_type,x_name,x_source,"
    "y_index,y_id,y_type,y_name,y_source\n"
)
ALZHEIMER, APOE, DEMENTIA = (
    "7,4975,disease,Alzheimer disease,MONDO",
    "3,348,gene/protein,APOE,NCBI",
    "9,1627,disease,dementia,MONDO",
)


def hetionet(folder, edges, nodes=("Disease::1\tdementia\tDisease", "Gene::348\tAPOE\tGene")):
    folder.mkdir(exist_ok=True)
    (folder / "nodes.tsv").write_text("\n".join(["id\tname\tkind", *nodes]) + "\n")
    with gzip.open(folder / "edges.sif.gz", "wt") as file:
        file.write("\n".join(["source\tmetaedge\ttarget", *edges]) + "\n")
    return folder


def primekg(folder, *rows):
    (folder / "kg.csv").write_text(PRIMEKG + "".join(f"{row}\n" for row in rows))
    return folder


def test_hetionet_is_read_from_its_nodes_and_edges(tmp_path):
    reading = read_hetionet(hetionet(tmp_path, ["Disease::1\tDaG\tGene::348"]))
    assert reading.graph.edges == (("Disease::1", "DaG", "Gene::348"),)
    assert reading.graph.kinds == ("Disease", "Gene")
    assert reading.left_out == {}


def test_a_real_slice_of_hetionet_is_read_whole():
    if not HETIONET.exists():
        pytest.skip("the slice of Hetionet is not on this machine")
    reading = read_hetionet(HETIONET)
    counts = reading.graph.counts()
    assert counts["nodes"]["Disease"] == 137
    assert sum(counts["nodes"].values()) == 47_031
    assert len(counts["edges"]) == 24
    assert counts["edges"]["DpS"] == 3_357
    assert reading.left_out == {"files with other columns": 1}


def test_an_edge_of_hetionet_that_ends_nowhere_is_named_or_counted(tmp_path):
    folder = hetionet(tmp_path, ["Disease::1\tDaG\tGene::9"])
    with pytest.raises(DanglingEdgeError, match="names Gene::9"):
        read_hetionet(folder)
    assert read_hetionet(folder, repair=True).left_out == {
        "rows of edges.sif.gz that end nowhere": 1
    }


def test_a_doubled_node_of_hetionet_is_named(tmp_path):
    folder = hetionet(tmp_path, [], nodes=["Gene::1\ta\tGene", "Gene::1\tb\tGene"])
    with pytest.raises(DoubledNodeError, match="Gene::1"):
        read_hetionet(folder)


def test_a_folder_without_hetionet_is_refused(tmp_path):
    with pytest.raises(KnowledgeGraphError, match=r"0 tables with the columns id, name, kind"):
        read_hetionet(tmp_path)


def test_primekg_keeps_one_direction_of_what_it_lists_in_both(tmp_path):
    pair = "disease_protein,associated with"
    reading = read_primekg(
        primekg(tmp_path, f"{pair},{APOE},{ALZHEIMER}", f"{pair},{ALZHEIMER},{APOE}")
    )
    assert reading.graph.edges == (
        ("disease::4975", "disease_protein:associated with", "gene/protein::348"),
    )
    assert reading.left_out == {"edges listed twice": 1}
    assert reading.graph.nodes[reading.graph.position["disease::4975"]].codes == ("mondo:4975",)


def test_relations_of_primekg_that_differ_in_what_is_shown_stay_apart(tmp_path):
    rows = [f"disease_disease,{shown},{ALZHEIMER},{DEMENTIA}" for shown in ("parent-child", "like")]
    graph = read_primekg(primekg(tmp_path, *rows)).graph
    assert graph.relations == ("disease_disease:like", "disease_disease:parent-child")


def test_two_descriptions_of_one_node_of_primekg_are_named_or_counted(tmp_path):
    other = "7,4975,disease,Another disease,MONDO"
    folder = primekg(tmp_path, f"a,b,{ALZHEIMER},{APOE}", f"a,b,{other},{DEMENTIA}")
    with pytest.raises(DoubledNodeError, match="index 7 is 'Alzheimer disease' and 'Another"):
        read_primekg(folder)
    assert read_primekg(folder, repair=True).left_out == {"second descriptions of a node": 1}


def test_a_table_that_is_not_primekgs_is_refused(tmp_path):
    (tmp_path / "kg.csv").write_text("relation,x_index\n")
    with pytest.raises(KnowledgeGraphError, match="lacks the columns display_relation"):
        read_primekg(tmp_path)
    with pytest.raises(KnowledgeGraphError, match=r"holds no kg\.csv"):
        read_primekg(tmp_path / "nowhere")


def test_the_default_graph_holds_phenotypes_and_diagnoses():
    graph = read_default()
    assert graph.kinds == ("diagnosis", "phenotype")
    assert graph.ancestors("ICD10CM:I63.9")[-1] == "ICD10CM:chapter 9"
    assert "HP:0001268" in graph.ancestors("HP:0000726")


def test_everything_within_some_steps_of_a_seed_is_kept_and_nothing_else():
    names = ("far", "near", "seed", "beside", "off")
    graph = KnowledgeGraph(
        [Node(name, "k", name) for name in names],
        [("seed", "r", "near"), ("far", "q", "near"), ("beside", "r", "seed")],
    )
    assert [node.id for node in graph.within(["seed"], 0).nodes] == ["seed"]
    one = graph.within(["seed"], 1)
    assert [node.id for node in one.nodes] == ["near", "seed", "beside"]
    assert one.relations == ("r",)
    assert len(graph.within(["seed"], 2).nodes) == 4
