import pytest

from ml.knowledge_graph import DanglingEdgeError, DoubledNodeError, KnowledgeGraphError
from ml.knowledge_sources.ibkh import TABLES, VOCABULARIES, read_ibkh
from tests.ml.ibkh_case import append, write_ibkh


@pytest.fixture
def folder(tmp_path):
    return write_ibkh(tmp_path)


def test_all_kinds_of_entity_and_relation_are_read(folder):
    graph = read_ibkh(folder).graph
    assert set(graph.kinds) == set(VOCABULARIES.values())
    assert {name.partition(":")[0] for name in graph.relations} == set(TABLES)
    assert len(VOCABULARIES) == 11
    assert len(TABLES) == 18


def test_both_spellings_of_the_folders_give_the_same_graph(folder, tmp_path):
    other = write_ibkh(tmp_path / "other", entity="Entity", relation="Relation")
    assert read_ibkh(other).graph.version == read_ibkh(folder).graph.version


def test_every_column_of_a_wide_table_is_a_relation_of_its_own(folder):
    edges = read_ibkh(folder).graph.edges
    drug, disease = "drug::DrugBank:DB00843", "disease::DOID:10652"
    assert (drug, "D_Di:Treats", disease) in edges
    assert (drug, "D_Di:Inferred_Relation", disease) in edges
    assert (drug, "D_Di:Palliates", disease) not in edges


def test_keys_are_told_by_their_names_not_by_their_order(folder):
    assert ("gene::HGNC:613", "A_G:Express", "anatomy::UBERON:1") in read_ibkh(folder).graph.edges


def test_cells_written_as_decimals_or_left_empty_are_read(folder):
    edges = [edge for edge in read_ibkh(folder).graph.edges if edge[1].startswith("Di_G:")]
    assert edges == [
        ("disease::DOID:10652", "Di_G:Associate", "gene::HGNC:613"),
        ("disease::DOID:10652", "Di_G:Inferred_Relation", "gene::HGNC:5"),
    ]


def test_the_same_identifier_in_two_vocabularies_is_two_nodes(folder):
    graph = read_ibkh(folder).graph
    assert {"symptom::UMLS:C0018681", "side_effect::UMLS:C0018681"} <= set(graph.position)


def test_names_codes_and_odd_symbols_are_kept_as_written(folder):
    graph = read_ibkh(folder).graph
    node = graph.nodes[graph.position["disease::DOID:10652"]]
    assert node.name == "alzheimer's disease"
    assert node.codes == ("icd10:G30", "umls:C0002395", "mesh:D000544")
    assert graph.nodes[graph.position["gene::HGNC:5"]].name == "NAN"
    assert graph.nodes[graph.position["molecule::CHEMBL:1"]].name == "CHEMBL:1"
    assert graph.nodes[graph.position["disease::DOID:9,X"]].name == "sclerosis, lateral"


def test_its_own_hierarchy_gives_ancestors(folder):
    graph = read_ibkh(folder).graph
    assert graph.ancestors("disease::DOID:10652") == ("disease::DOID:1307",)


def test_what_is_left_out_is_counted(folder):
    left_out = read_ibkh(folder).left_out
    assert left_out["rows of D_Di_res.csv without a relation"] == 1
    assert left_out["edges listed twice"] == 1
    assert left_out["columns that are no relation (source, score)"] == 18 + 2
    assert len(left_out) == 3


def test_what_nothing_touches_can_be_dropped(folder):
    graph = read_ibkh(folder).graph
    gone = set(graph.position) - set(graph.connected().position)
    assert gone == {"molecule::CHEMBL:1", "molecule::CHEMBL:2"}
    assert len(graph.connected().edges) == len(graph.edges)


def test_an_edge_that_ends_nowhere_is_named_or_counted(folder):
    append(folder / "relation/D_SE_res.csv", "CID100000085,UMLS:C0018681,1,SIDER")
    with pytest.raises(DanglingEdgeError, match=r"D_SE_res\.csv names CID100000085, .* no drug"):
        read_ibkh(folder)
    repaired = read_ibkh(folder, repair=True)
    assert repaired.left_out["rows of D_SE_res.csv that end nowhere"] == 1


def test_a_doubled_identifier_is_named_or_counted(folder):
    append(folder / "entity/gene_vocab.csv", "HGNC:5,TWIN,5,1,PA24356")
    with pytest.raises(DoubledNodeError, match=r"gene_vocab\.csv .* the first is HGNC:5"):
        read_ibkh(folder)
    repaired = read_ibkh(folder, repair=True)
    assert repaired.left_out["doubled identifiers in gene_vocab.csv"] == 1
    assert repaired.graph.nodes[repaired.graph.position["gene::HGNC:5"]].name == "NAN"


@pytest.mark.parametrize("cell", ["2", "yes", "0.5"])
def test_a_cell_that_is_neither_0_nor_1_is_named(folder, cell):
    append(folder / "relation/D_G_res.csv", f"DrugBank:DB00843,HGNC:613,{cell},0,X")
    with pytest.raises(KnowledgeGraphError, match=r"D_G_res\.csv.* neither 0 nor 1"):
        read_ibkh(folder)


def test_a_missing_file_is_named(folder):
    (folder / "relation/Di_G_res.csv").unlink()
    with pytest.raises(KnowledgeGraphError, match=r"1 files of iBKH are missing .* Di_G"):
        read_ibkh(folder)


def test_a_file_that_is_not_ibkhs_is_named(folder):
    (folder / "relation/Di_G_old.csv").write_text("a,b\n")
    with pytest.raises(KnowledgeGraphError, match=r"Di_G_old\.csv is no file of iBKH"):
        read_ibkh(folder)


def test_a_table_with_other_keys_is_named(folder):
    (folder / "relation/D_G_res.csv").write_text("Drug,Disease,Target\n")
    with pytest.raises(KnowledgeGraphError, match="should have the keys of drug and gene"):
        read_ibkh(folder)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(KnowledgeGraphError, match="has no folder `entity`"):
        read_ibkh(tmp_path)


def test_the_progress_ends_at_the_last_byte(folder):
    seen = []
    read_ibkh(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == sum(f.stat().st_size for f in folder.rglob("*.csv"))
