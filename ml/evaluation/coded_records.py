"""Where the graph earns its place: coded records, and a site with other habits of coding."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ml.code_graph import code_graph, with_ancestors
from ml.concept_linking import Embed
from ml.data.phantom import PhantomConfig
from ml.data.phantom_codes import code_concepts, families, presence_concept
from ml.data.phantom_people import People, coded_people
from ml.evaluation.baselines import fit_table
from ml.evaluation.coded_model import CodedConfig, fit_coded_model, read_codes_with
from ml.evaluation.metrics import auc, auc_difference
from ml.evaluation.tables import mean_of, shown
from ml.graph_encoder import ConceptGraph
from ml.knowledge_graph import EdgeTable, KnowledgeGraph, Node
from ml.knowledge_sources.icd10cm import read_icd10cm
from ml.patient_graph import CONCEPT, FindingScaler
from ml.records import PatientRecord

TRAIN, VALIDATION, TEST = 800, 500, 2_000
OPTIONS = (
    CodedConfig(ridge=0.03, own_ridge=0.1),
    CodedConfig(ridge=0.1, own_ridge=0.03),
    CodedConfig(ridge=0.3, own_ridge=0.0),
)
"""What the validation people of the first site choose from, for ours and for each control."""
PHANTOMS = PhantomConfig(ad_share=0.5, ad_severity=2.0)
FULL = "ours, with the graph"
NO_EDGES = "ours, without the graph's edges"
ONE_HOT = ("logistic regression, one-hot codes", "random forest, one-hot codes")
ANCESTORS = "logistic regression, codes and their ancestors"


@dataclass(frozen=True, slots=True)
class Variant:
    """Our model with the graph, or with something taken from it.

    Attributes:
        closure: the hierarchy that brings ancestors into a record; None brings none.
        graph: what messages pass over.
        text: embedding of each node's name.
    """

    closure: KnowledgeGraph | None
    graph: KnowledgeGraph
    text: Float[Tensor, "nodes text"]


@dataclass(frozen=True, slots=True)
class Sites:
    """One draw of everybody: three parts of one site, and people of another.

    Attributes:
        parts: train, validation, same and other.
    """

    parts: Mapping[str, People]

    @classmethod
    def draw(cls, seed: int) -> "Sites":
        """Equal seeds give equal people and habits."""
        here, there = f"site {seed} a", f"site {seed} b"
        asked = {
            "train": (TRAIN, here),
            "validation": (VALIDATION, here),
            "same": (TEST, here),
            "other": (TEST, there),
        }
        return cls(
            {
                name: coded_people(count, site=site, entropy=(seed, number), config=PHANTOMS)
                for number, (name, (count, site)) in enumerate(asked.items())
            }
        )


def compare_codes(
    seeds: Sequence[int],
    embed: Embed,
    *,
    done: Sequence[Mapping[str, Any]] = (),
    save: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Baselines on codes, our model with the graph, and our model with parts of it taken away.

    For each seed: 800 training people of one site, options chosen by the AUC of 500 validation
    people of that site, then 2,000 test people of it and 2,000 of another are looked at once.
    Labels alone are learned from; no scan takes part.

    Args:
        seeds: each draws its own people and its own habits of two sites.
        embed: names to unit vectors.
        done: `runs` of earlier results, whose seeds are not run again.
        save: called with the results after each seed.

    Returns:
        JSON: AUC and paired differences of each seed, and their means over the seeds.
    """
    graph = _knowledge()
    text = embed([node.name for node in graph.nodes])
    runs = {run["seed"]: run for run in done}
    results: dict[str, Any] = {}
    for seed in seeds:
        if seed not in runs:
            runs[seed] = _run(seed, graph, text)
        finished = [runs[each] for each in seeds if each in runs]
        results = {
            "people": {"train": TRAIN, "validation": VALIDATION, "test": TEST},
            "codes": len(code_concepts()),
            "nodes": len(graph.nodes),
            "edges": len(graph.table),
            "options": [asdict(option) for option in OPTIONS],
            "runs": finished,
            "mean": _summary(finished),
        }
        if save is not None:
            save(results)
    return results


def _knowledge() -> KnowledgeGraph:
    """The graph of all codes in use; age and sex stand in it without an edge."""
    people = (
        Node(f"{CONCEPT}:age", "person", "Age"),
        Node(f"{CONCEPT}:female", "person", "Female"),
    )
    return code_graph(families(), read_icd10cm()).joined(people, ())


def _run(seed: int, graph: KnowledgeGraph, text: Tensor) -> dict[str, Any]:
    sites = Sites.draw(seed)
    scores: dict[str, dict[str, np.ndarray]] = {}
    chosen: dict[str, Any] = {}
    for name, model, closure in (
        (ONE_HOT[0], "lr", None),
        (ONE_HOT[1], "rf", None),
        (ANCESTORS, "lr", graph),
    ):
        scores[name], chosen[name] = _baseline(model, sites, closure, seed)
    for name, variant in variants(graph, text, seed).items():
        scores[name], chosen[name] = _ours(variant, sites, seed)
    return {
        "seed": seed,
        "chosen": chosen,
        "auc": {
            name: {
                part: asdict(auc(score[part], sites.parts[part].state))
                for part in ("same", "other")
            }
            for name, score in scores.items()
        },
        "differences": _differences(scores, sites),
    }


def variants(graph: KnowledgeGraph, text: Tensor, seed: int) -> dict[str, Variant]:
    """Ours and its controls; the last two put nonsense in the place of the graph's content."""
    bare = KnowledgeGraph(graph.nodes, ())
    wired = rewired(graph, seed)
    noise = torch.randn(text.shape, generator=torch.Generator().manual_seed(seed))
    noise = torch.nn.functional.normalize(noise, dim=1)
    return {
        FULL: Variant(graph, graph, text),
        NO_EDGES: Variant(None, bare, text),
        "ours, ancestors but no messages": Variant(graph, bare, text),
        "ours, edges rewired at random": Variant(wired, wired, text),
        "ours, random text embeddings": Variant(graph, graph, noise),
    }


def rewired(graph: KnowledgeGraph, seed: int) -> KnowledgeGraph:
    """The same graph with the far ends of its edges exchanged at random.

    Ends change places among edges of one relation whose ends stand equally deep in the hierarchy,
    so every node keeps its number of edges of each relation, and a code still has a category above
    it, and that a block; but not its own.
    """
    rng = np.random.default_rng(seed)
    depth = np.array([len(graph.ancestors(node.id)) for node in graph.nodes])
    table = graph.table
    target = table.target.copy()
    for relation in range(len(table.relations)):
        for level in np.unique(depth):
            rows = np.flatnonzero((table.relation == relation) & (depth[table.target] == level))
            target[rows] = rng.permutation(target[rows])
    return KnowledgeGraph(
        graph.nodes, EdgeTable(table.source, table.relation, target, table.relations)
    )


def _records(people: People, closure: KnowledgeGraph | None) -> list[PatientRecord]:
    return people.records if closure is None else with_ancestors(people.records, closure)


def _scaler(closure: KnowledgeGraph | None, train: list[PatientRecord]) -> FindingScaler:
    concepts = list(code_concepts())
    if closure is not None:
        known = {concept.id for concept in concepts}
        above = [node for node in closure.nodes if node.id not in known and node.kind != "person"]
        concepts += [presence_concept(node.id, node.name) for node in above]
    return FindingScaler(concepts).fit(train)


def _baseline(
    model: str, sites: Sites, closure: KnowledgeGraph | None, seed: int
) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
    records = {part: _records(people, closure) for part, people in sites.parts.items()}
    scaler = _scaler(closure, records["train"])
    width = len(scaler.columns)
    tables = {part: scaler.encode(each).sparse(width) for part, each in records.items()}
    fitted, settings = fit_table(model, tables["train"], sites.parts["train"].state, seed=seed)
    settings = {
        key: value if isinstance(value, str) else float(value) for key, value in settings.items()
    }
    return {part: fitted.predict_proba(tables[part])[:, 1] for part in ("same", "other")}, settings


def _ours(
    variant: Variant, sites: Sites, seed: int
) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
    records = {part: _records(people, variant.closure) for part, people in sites.parts.items()}
    scaler = _scaler(variant.closure, records["train"])
    graph = ConceptGraph.build(variant.graph, variant.text, scaler)
    findings = {part: scaler.encode(each) for part, each in records.items()}
    truth = {part: people.state for part, people in sites.parts.items()}
    fitted = [
        fit_coded_model(option, graph, findings["train"], truth["train"], seed=seed)
        for option in OPTIONS
    ]
    heard = [
        auc(read_codes_with(model, graph, findings["validation"]), truth["validation"]).value
        for model in fitted
    ]
    best = int(np.argmax(heard))
    scores = {
        part: read_codes_with(fitted[best], graph, findings[part]) for part in ("same", "other")
    }
    option = OPTIONS[best]
    return scores, {
        "ridge": option.ridge,
        "own_ridge": option.own_ridge,
        "attention": option.attention,
        "validation_auc": heard,
    }


def _differences(scores: Mapping[str, Mapping[str, np.ndarray]], sites: Sites) -> dict[str, Any]:
    """Ours minus each other model, paired; the better one-hot model is that of the test people."""
    found: dict[str, Any] = {}
    for part in ("same", "other"):
        truth = sites.parts[part].state
        best = max(ONE_HOT, key=lambda name: auc(scores[name][part], truth).value)
        others = {name: name for name in scores if name != FULL} | {"best one-hot": best}
        found[part] = {
            shown: asdict(auc_difference(scores[FULL][part], scores[name][part], truth))
            for shown, name in others.items()
        }
    return found


def _summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the seeds with Student's interval, which holds training and test chance."""
    parts = ("same", "other")
    return {
        "auc": {
            name: {part: mean_of([run["auc"][name][part] for run in runs]) for part in parts}
            for name in runs[0]["auc"]
        },
        "differences": {
            part: {
                name: mean_of([run["differences"][part][name] for run in runs])
                for name in runs[0]["differences"][part]
            }
            for part in parts
        },
    }


def readable(results: Mapping[str, Any]) -> str:
    """The table that docs/results.md quotes."""
    mean = results["mean"]
    lines = [
        "| AUC | same site | other site | ours minus it, other site |",
        "| --- | --- | --- | --- |",
    ]
    for name, figures in mean["auc"].items():
        gain = mean["differences"]["other"].get(name)
        cells = [shown(figures["same"]), shown(figures["other"]), shown(gain, sign=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    best = mean["differences"]["other"]["best one-hot"]
    return "\n".join(
        [*lines, "", f"Ours minus the better one-hot model, other site: {shown(best, sign=True)}"]
    )
