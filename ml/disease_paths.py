"""How the knowledge graph leads from a finding to Alzheimer disease.

A path climbs `is_a` from the phenotype that a concept stands for to the nearest thing that the
phenotype and the disease both are, and descends from there: each half is true of whatever is below
it. A path over siblings (nausea, digestive system, its neoplasms, neoplasms of the nervous system)
is shorter in some graphs and means nothing. Where only the root of all phenotypes is common, there
is no path.

The disease itself is not in the graph that a model reads, because what is nearly the diagnosis is
kept out of it (method.md trap 6); each step says whether the model's graph holds it.

Paper: none; ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ml.concepts import Concept, dictionary
from ml.knowledge_graph import KnowledgeGraph
from ml.knowledge_sources.default import read_default
from ml.knowledge_sources.hpo import hpo_file, read_hpo
from ml.patient_graph import graph_with_dictionary

DISEASE = "HP:0002511"
ROOTS = frozenset({"HP:0000001", "HP:0000118"})
"""All, and phenotypic abnormality: what everything is."""
GENES: Mapping[str, str] = {"apoe4": "APOE"}
"""Concepts that are a gene's alleles; the dictionary ties them to no phenotype."""


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a path.

    Attributes:
        id: identifier in the ontology; a gene's symbol for a gene.
        name: preferred name.
        kind: what it is: `phenotype`, `gene` or `disease`.
        read: whether the graph that a model is trained on holds the node.
    """

    id: str
    name: str
    kind: str
    read: bool


@dataclass(frozen=True, slots=True)
class DiseasePath:
    """From one concept's node to the disease.

    Attributes:
        concept: identifier in the dictionary.
        steps: the first is what the concept stands for, the last is the disease.
        shared: place of the step that both the finding and the disease are kinds of; for a gene,
            which is tied to the disease directly, its own place.
    """

    concept: str
    steps: tuple[Step, ...]
    shared: int


@dataclass(frozen=True, slots=True)
class DiseasePaths:
    """What the default graph says of the inputs of a bundle.

    Attributes:
        graph_nodes: nodes of the graph that a training with these inputs reads; a bundle whose
            card names another number was trained on another graph.
        paths: concept to its path; without those that have none.
    """

    graph_nodes: int
    paths: Mapping[str, DiseasePath]


@cache
def disease_paths(concepts: tuple[str, ...], children: int, diagnoses: bool) -> DiseasePaths:
    """A path for each of these concepts that has one; computed once in a process.

    Args:
        concepts: identifiers of what a bundle reads, its schema.
        children: steps below a linked node that the bundle's graph kept (`GraphConfig.children`).
        diagnoses: whether its graph holds ICD-10-CM, too (`GraphConfig.diagnoses`).

    Raises:
        KnowledgeGraphError: the ontology cannot be read.
    """
    ontology = read_default() if diagnoses else read_hpo()
    known = [dictionary()[name] for name in concepts if name in dictionary()]
    graph, _ = graph_with_dictionary(ontology, known, None, children=children)
    read = frozenset(graph.position)
    paths = {each.id: _climb(ontology, read, each) for each in known}
    tied = _genes_of_the_disease(hpo_file().with_name("genes_to_phenotype.txt"))
    for name, gene in GENES.items():
        if name in paths and gene in tied:
            steps = (Step(gene, f"{gene} gene", "gene", read=False), _step(ontology, read, DISEASE))
            paths[name] = DiseasePath(name, steps, shared=0)
    found = {name: path for name, path in paths.items() if path is not None}
    return DiseasePaths(len(graph.nodes), found)


def _climb(ontology: KnowledgeGraph, read: frozenset[str], concept: Concept) -> DiseasePath | None:
    """The shortest way up and down, over all phenotypes that the concept stands for."""
    above = _ancestry(ontology, DISEASE)
    best: tuple[int, str, str] | None = None
    for phenotype in concept.hpo:
        own = _ancestry(ontology, phenotype) if phenotype in ontology.position else {}
        for shared in (own.keys() & above.keys()) - ROOTS:
            length = len(own[shared]) + len(above[shared])
            best = min(best or (length, shared, phenotype), (length, shared, phenotype))
    if best is None:
        return None
    _, shared, phenotype = best
    up = _ancestry(ontology, phenotype)[shared]
    steps = (*up, *reversed(above[shared][:-1]))
    return DiseasePath(
        concept.id,
        tuple(_step(ontology, read, node) for node in steps),
        shared=len(up) - 1,
    )


def _ancestry(ontology: KnowledgeGraph, node: str) -> dict[str, tuple[str, ...]]:
    """Each ancestor with a shortest way up to it, which begins with the node and ends with it."""
    ways: dict[str, tuple[str, ...]] = {node: (node,)}
    frontier = [node]
    while frontier:
        reached: list[str] = []
        for low in frontier:
            for high in sorted(ontology.parents(low)):
                if high not in ways:
                    ways[high] = (*ways[low], high)
                    reached.append(high)
        frontier = reached
    return ways


def _step(ontology: KnowledgeGraph, read: frozenset[str], node: str) -> Step:
    name = ontology.nodes[ontology.position[node]].name
    return Step(node, name, "disease" if node == DISEASE else "phenotype", node in read)


def _genes_of_the_disease(path: Path) -> frozenset[str]:
    """Symbols of the genes that the ontology's annotations tie to the disease."""
    if not path.exists():
        return frozenset()
    with path.open(encoding="utf-8") as lines:
        rows = (line.split("\t") for line in lines if DISEASE in line)
        return frozenset(row[1] for row in rows)
