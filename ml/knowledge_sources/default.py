"""The default graph: what may be shipped, HPO's phenotypes and ICD-10-CM's diagnoses."""

from ml.knowledge_graph import KnowledgeGraph
from ml.knowledge_sources.hpo import read_hpo
from ml.knowledge_sources.icd10cm import read_icd10cm


def read_default() -> KnowledgeGraph:
    """Both ontologies side by side; the concept dictionary, put on top, ties them together.

    Example:
        >>> read_default().counts()["nodes"]["diagnosis"]
        47200
    """
    diagnoses = read_icd10cm()
    return read_hpo().joined(diagnoses.nodes, diagnoses.edges)
