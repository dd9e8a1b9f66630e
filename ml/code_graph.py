"""The graph behind coded records: what a code is a kind of, and what a drug is given for.

Thousands of codes mean nearly the same as their siblings, and each is rare. A record that holds a
code also holds what the code is a kind of (the true-path rule of ontologies), so that siblings
share what was learned; GRAM (Choi et al. 2017) found that this pays for rare codes.
"""

from collections.abc import Iterable, Sequence

from ml.data.phantom_codes import DIAGNOSIS, DRUG, Family
from ml.knowledge_graph import IS_A, Edge, KnowledgeGraph, Node
from ml.records import PatientRecord

GIVEN_FOR, SHOWS = "given_for", "shows"
_ROOTS = {f"{DRUG} class:all": "Drugs", "lab:all": "Laboratory tests out of range"}


def code_graph(families: Sequence[Family], icd10cm: KnowledgeGraph) -> KnowledgeGraph:
    """The codes of some families under their categories, blocks and chapters, drugs and tests.

    Args:
        families: codes in use and what they have in common.
        icd10cm: the whole hierarchy of diagnoses (`ml.knowledge_sources.icd10cm`).

    Raises:
        DanglingEdgeError: a diagnosis is no code of the hierarchy.
    """
    diagnoses = [each for each in families if each.id.startswith(DIAGNOSIS)]
    others = [each for each in families if not each.id.startswith(DIAGNOSIS)]
    used = [code for family in diagnoses for code in family.members]
    pruned = icd10cm.pruned(used, children=0)
    nodes = [Node(root, root.partition(":")[0], name) for root, name in _ROOTS.items()]
    edges: list[Edge] = []
    for family in others:
        kind = family.id.partition(":")[0]
        nodes.append(Node(family.id, kind, family.name))
        edges.append((family.id, IS_A, f"{kind}:all"))
        relation = SHOWS if kind == "lab" else GIVEN_FOR
        edges += [(family.id, relation, each) for each in family.related]
        for code, name in family.members.items():
            nodes.append(Node(code, code.partition(":")[0], name))
            edges.append((code, IS_A, family.id))
    return pruned.joined(nodes, edges)


def with_ancestors(records: Iterable[PatientRecord], graph: KnowledgeGraph) -> list[PatientRecord]:
    """The same records, each with everything that its codes are a kind of.

    A value whose name is no node of the graph (age, sex) stays as it is.
    """
    above = {node.id: dict.fromkeys(graph.ancestors(node.id), 1.0) for node in graph.nodes}
    closed = []
    for record in records:
        values = dict(record.values)
        for code in record.values:
            values.update(above.get(code, {}))
        closed.append(PatientRecord(patient=record.patient, values=values))
    return closed
