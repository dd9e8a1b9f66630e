"""A small real patient graph: the dictionary on HPO, some phantom records, random latents."""

from functools import cache

import numpy as np
import torch

from ml.concepts import dictionary, schema
from ml.config import GraphConfig
from ml.data.phantom_ehr import sample_ehr
from ml.graph_encoder import ConceptGraph, GraphEncoder
from ml.knowledge_sources.hpo import read_hpo
from ml.patient_graph import FindingScaler, graph_with_dictionary
from ml.records import PatientRecord
from ml.text_encoder import TextEncoder

CONFIG = GraphConfig(children=0, width=32, layers=3, dropout=0.1)
LATENT_WIDTH = 12


def model_concepts():
    return [dictionary()[name] for name in schema() if not dictionary()[name].label_proximal]


def records(count, seed=0, severity=None):
    """Phantom records; severity is drawn unless given for everybody."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(0.5, 1.2, count) if severity is None else np.full(count, severity)
    return [
        PatientRecord(
            patient=f"p{seed}-{number}",
            values=sample_ehr(
                rng,
                age_years=float(rng.uniform(60, 90)),
                female=bool(rng.integers(2)),
                education_years=float(rng.integers(8, 20)),
                apoe4=int(rng.integers(3)),
                severity=float(drawn[number]),
            ),
        )
        for number in range(count)
    ]


@cache
def knowledge():
    """The pruned graph and the embeddings of its names, computed once a test run."""
    encoder = TextEncoder()
    graph, _ = graph_with_dictionary(
        read_hpo(), model_concepts(), encoder, children=CONFIG.children
    )
    return graph, encoder([node.name for node in graph.nodes])


def case(patients=24, seed=0):
    """Scaler, concept graph, findings, latents and an untrained encoder."""
    graph, text = knowledge()
    people = records(patients, seed)
    scaler = FindingScaler(model_concepts()).fit(people)
    concept_graph = ConceptGraph.build(graph, text, scaler)
    torch.manual_seed(seed)
    latent = torch.randn(patients, LATENT_WIDTH)
    encoder = GraphEncoder(CONFIG, concept_graph, LATENT_WIDTH).eval()
    return scaler, concept_graph, scaler.encode(people), latent, encoder
