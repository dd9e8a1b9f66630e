"""Tie the concept dictionary to the knowledge graph: links first, names second, embeddings last."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ml.concepts import Concept
from ml.knowledge_graph import KnowledgeGraph

THRESHOLD = 0.60
NEVER_BY_TEXT = frozenset({"Demographics and genetics"})
"""Groups that the dictionary links or nobody does: "APOE e4 alleles" lands on apnoea by text."""

CANDIDATES = 10
"""Nearest nodes of a concept among which a one-to-one assignment chooses."""
BLOCK = 65_536
"""Names that are compared at a time, which bounds the memory; the search is exact."""

Embed = Callable[[Sequence[str]], Float[Tensor, "texts width"]]
"""Texts to unit vectors, such as `ml.text_encoder.TextEncoder`."""


class Way(StrEnum):
    """How a concept was tied to a node, the surest first."""

    CODE = "code"
    NAME = "name"
    TEXT = "text"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Link:
    """One concept and the nodes of the knowledge graph that it stands for.

    Attributes:
        concept: identifier in the dictionary.
        nodes: identifiers in the graph; empty if `way` is NONE.
        way: how they were found.
        score: 1 for codes and names, the cosine of the two texts otherwise.
        nearest: for NONE by text, the node just below the threshold, for a person to decide on.
    """

    concept: str
    nodes: tuple[str, ...]
    way: Way
    score: float
    nearest: str = ""


def link_concepts(
    concepts: Sequence[Concept],
    graph: KnowledgeGraph,
    embed: Embed | None,
    *,
    threshold: float = THRESHOLD,
    one_to_one: bool = False,
) -> tuple[Link, ...]:
    """Find each concept's nodes: its codes, else its exact name or synonym, else its text.

    Paper: concept linking by cosine similarity of text embeddings. Codes and names before it, a
    threshold under it, and groups that text may not touch are ours (method.md section 8).

    Args:
        concepts: what to link.
        graph: where to.
        embed: texts to unit vectors; None links by codes and names alone.
        threshold: a cosine below it is no link; .60 separates hits from misses for MiniLM.
        one_to_one: text gives no node to two concepts, and none that a code or name took: the
            assignment with the largest sum of cosines (Hungarian method).

    Raises:
        KeyError: a concept's code is no node of the graph.
    """
    coded = coded_nodes(concepts, graph)
    by_name = {_plain(node.name): node.id for node in reversed(graph.nodes)}
    synonyms = {_plain(text): node.id for node in graph.nodes for text in node.synonyms}
    by_name = synonyms | by_name
    links: dict[str, Link] = {}
    for concept in concepts:
        links[concept.id] = _without_text(concept, coded[concept.id], by_name)
    open_ = [
        concept
        for concept in concepts
        if links[concept.id].way is Way.NONE and concept.group not in NEVER_BY_TEXT
    ]
    if open_ and embed is not None and graph.nodes:
        scores, places = _candidates(open_, graph, embed)
        if one_to_one:
            taken = {graph.position[node] for link in links.values() for node in link.nodes}
            scores, places = assign_one_to_one(scores, places, taken)
        for concept, score, place in zip(open_, scores[:, 0], places[:, 0], strict=True):
            links[concept.id] = _by_text(
                concept, graph.nodes[int(place)].id, float(score), threshold
            )
    return tuple(links.values())


def coded_nodes(concepts: Sequence[Concept], graph: KnowledgeGraph) -> dict[str, tuple[str, ...]]:
    """Nodes that a concept's codes name, itself (HPO) or in another code system (ICD-10-CM ...).

    Raises:
        KeyError: the graph has phenotypes of HPO, but not one that the dictionary links to.
    """
    by_code: dict[str, list[str]] = {}
    for node in graph.nodes:
        for code in node.codes:
            by_code.setdefault(code, []).append(node.id)
    has_hpo = any(name.startswith("HP:") for name in graph.position)
    found: dict[str, tuple[str, ...]] = {}
    for concept in concepts:
        nodes: list[str] = []
        for code in concept.hpo if has_hpo else ():
            if code not in graph.position:
                raise KeyError(
                    f"The concept {concept.id} links to {code}, which the graph lacks. "
                    "Correct `hpo` in ml/concepts.toml."
                )
            nodes.append(code)
        for system, codes in concept.codes.items():
            for code in codes:
                nodes += by_code.get(f"{system}:{code}", ())
        found[concept.id] = tuple(dict.fromkeys(nodes))
    return found


def with_ancestors(links: Iterable[Link], graph: KnowledgeGraph) -> tuple[Link, ...]:
    """The same links, each also to everything that its nodes are a kind of (true-path rule).

    Whoever has I63.9 has I63 and a disease of I60-I69, whichever code of them a site writes.
    """
    closed = []
    for link in links:
        above = [far for node in link.nodes for far in graph.ancestors(node)]
        closed.append(replace(link, nodes=tuple(dict.fromkeys((*link.nodes, *above)))))
    return tuple(closed)


def nearest(
    ours: Float[Tensor, "texts width"],
    theirs: Iterable[Float[Tensor, "_ width"]],
    count: int,
) -> tuple[Float[Tensor, "texts count"], Int[Tensor, "texts count"]]:
    """The largest cosines and where they are, exactly, best first; of equals the first place.

    Args:
        ours: unit vectors to find neighbours of.
        theirs: unit vectors in blocks, so that millions need no more memory than one block.
        count: how many neighbours; fewer if there are fewer.
    """
    scores = torch.zeros(len(ours), 0)
    places = torch.zeros(len(ours), 0, dtype=torch.long)
    before = 0
    for block in theirs:
        near = ours @ block.T
        here = torch.arange(before, before + len(block)).expand(len(ours), -1)
        both = torch.cat([scores, near], dim=1)
        kept = both.sort(dim=1, descending=True, stable=True).indices[:, :count]
        scores = both.gather(1, kept)
        places = torch.cat([places, here], dim=1).gather(1, kept)
        before += len(block)
    return scores, places


def assign_one_to_one(
    scores: Float[Tensor, "rows candidates"],
    places: Int[Tensor, "rows candidates"],
    taken: Iterable[int] = (),
) -> tuple[Float[Tensor, "rows 1"], Int[Tensor, "rows 1"]]:
    """One candidate for each row, none for two rows, with the largest sum of scores.

    A row whose candidates all go to others keeps its first one with a score of 0, which is below
    any threshold.

    Args:
        scores, places: of each row's candidates.
        taken: places that are not to be given.
    """
    from scipy.optimize import linear_sum_assignment  # serving, which never links, goes without

    choice = torch.tensor(sorted(set(places.flatten().tolist())), dtype=torch.long)
    table = torch.zeros(len(scores), len(choice))
    table.scatter_(1, torch.searchsorted(choice, places), scores.clamp_min(0))
    table[:, torch.isin(choice, torch.tensor(sorted(taken), dtype=torch.long))] = 0
    best, at = torch.zeros(len(scores), 1), places[:, :1].clone()
    for row, column in zip(*linear_sum_assignment(table.numpy(), maximize=True), strict=True):
        if table[row, column] > 0:
            best[row, 0], at[row, 0] = table[row, column], choice[column]
    return best, at


def _without_text(concept: Concept, coded: tuple[str, ...], by_name: Mapping[str, str]) -> Link:
    if coded:
        return Link(concept.id, coded, Way.CODE, 1.0)
    if concept.group not in NEVER_BY_TEXT:
        for text in (concept.label, *concept.synonyms):
            if _plain(text) in by_name:
                return Link(concept.id, (by_name[_plain(text)],), Way.NAME, 1.0)
    return Link(concept.id, (), Way.NONE, 0.0)


def _candidates(
    concepts: Sequence[Concept], graph: KnowledgeGraph, embed: Embed
) -> tuple[Float[Tensor, "texts count"], Int[Tensor, "texts count"]]:
    names = [node.name for node in graph.nodes]
    blocks = (embed(names[start : start + BLOCK]) for start in range(0, len(names), BLOCK))
    return nearest(embed([concept.label for concept in concepts]), blocks, CANDIDATES)


def _by_text(concept: Concept, node: str, score: float, threshold: float) -> Link:
    if score >= threshold:
        return Link(concept.id, (node,), Way.TEXT, score)
    return Link(concept.id, (), Way.NONE, score, nearest=node)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def coverage(links: Sequence[Link]) -> dict[str, object]:
    """How many concepts were linked in which way, and which were not, for the card."""
    counts: dict[str, object] = {way.value: sum(link.way is way for link in links) for way in Way}
    return counts | {
        "concepts": len(links),
        "unlinked": [link.concept for link in links if link.way is Way.NONE],
    }
