"""Patients on the knowledge graph: which findings tie whom to which concept, on what scale."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ml.concept_linking import Embed, Link, link_concepts
from ml.concepts import Concept, Kind
from ml.knowledge_graph import KnowledgeGraph, Node
from ml.records import PatientRecord

VALUE_WIDTH = 2
"""An edge carries the z-score of the value, and presence: 0 for a finding looked for and absent."""
CLIP = 5.0
CONCEPT, LEVEL, GROUP = "concept", "level", "group"


class RecordError(ValueError):
    """A record holds something that the model cannot read; the text names concept and remedy."""


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that a patient can be tied to: a concept, or one level of a categorical concept.

    Attributes:
        concept: identifier in the dictionary.
        level: number of the level, for categorical concepts, whose numbers have no order.
    """

    concept: str
    level: int | None = None

    @property
    def node(self) -> str:
        """Identifier of its node in the knowledge graph."""
        if self.level is None:
            return f"{CONCEPT}:{self.concept}"
        return f"{LEVEL}:{self.concept}={self.level}"


def columns_of(concepts: Sequence[Concept]) -> tuple[Column, ...]:
    """One column a concept, and one a level of the categorical ones."""
    columns: list[Column] = []
    for concept in concepts:
        if concept.kind is Kind.CATEGORICAL:
            columns += [Column(concept.id, level) for level in concept.levels]
        else:
            columns.append(Column(concept.id))
    return tuple(columns)


@dataclass(frozen=True, slots=True)
class Findings:
    """The observed findings of some patients, each row padded to the longest.

    Attributes:
        column: which column each finding belongs to; 0 where there is none.
        value: z-score and presence of each finding, unitless.
        observed: where there is a finding.
    """

    column: Int[Tensor, "patients most"]
    value: Float[Tensor, "patients most 2"]
    observed: Bool[Tensor, "patients most"]

    def __len__(self) -> int:
        return self.column.shape[0]

    def rows(self, index: Int[Tensor, " some"]) -> "Findings":
        """The findings of some of the patients."""
        return Findings(self.column[index], self.value[index], self.observed[index])

    def without(self, dropped: Bool[Tensor, "patients most"]) -> "Findings":
        """The findings that remain when some are hidden."""
        return Findings(self.column, self.value, self.observed & ~dropped)

    def dense(self, columns: int) -> Float[Tensor, "patients columns"]:
        """z-scores as a table, 0 (the training mean) where nothing was observed."""
        table = torch.zeros(len(self), columns)
        score = self.value[..., 0] * self.observed
        return table.scatter_add(1, self.column, score)

    def edges(
        self,
    ) -> tuple[Int[Tensor, " edges"], Int[Tensor, " edges"], Float[Tensor, "edges 2"]]:
        """Patient, column and value of each finding, patient by patient."""
        patient, place = self.observed.nonzero(as_tuple=True)
        return patient, self.column[patient, place], self.value[patient, place]


class FindingScaler(nn.Module):
    """Turns records into findings on the scale of the training people.

    The unit of a value is fixed by the concept dictionary and its mean, spread and range by the
    training people alone, so a prediction never depends on who is predicted beside it (method.md
    traps 2 and 11).

    Args:
        concepts: the concepts that the model reads, in order.

    Example:
        >>> from ml.concepts import dictionary
        >>> from ml.records import PatientRecord
        >>> people = [PatientRecord(patient=str(i), values={"age": 60.0 + i}) for i in range(11)]
        >>> scaler = FindingScaler([dictionary()["age"]]).fit(people)
        >>> scaler.encode([PatientRecord(patient="x", values={"age": 65.0})]).value[0, 0]
        tensor([0., 1.])
    """

    mean: Tensor
    spread: Tensor
    seen: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, concepts: Sequence[Concept]) -> None:
        super().__init__()
        self.concepts = tuple(concepts)
        self.columns = columns_of(concepts)
        width = len(self.columns)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("seen", torch.zeros(width))
        self.register_buffer("lowest", torch.zeros(width))
        self.register_buffer("highest", torch.zeros(width))
        self._known = {concept.id: concept for concept in self.concepts}
        places = {concept.id: place for place, concept in enumerate(self.concepts)}
        self._source = np.array([places[column.concept] for column in self.columns])
        self._level = np.array(
            [math.nan if column.level is None else column.level for column in self.columns]
        )
        self._binary = np.array(
            [
                self._known[column.concept].kind in (Kind.BINARY, Kind.CATEGORICAL)
                for column in self.columns
            ]
        )

    def fit(self, records: Sequence[PatientRecord]) -> "FindingScaler":
        """Take mean, spread and range of each column from the training people.

        A column that nobody in training has, or in which all are equal, carries nothing that could
        have been learned: its findings make no edges later.

        Raises:
            RecordError: a record holds an invalid value.
        """
        table = self._table(records)
        for place, column in enumerate(table.T):
            values = column[~np.isnan(column)]
            self.seen[place] = float(len(values))
            if len(values) < 2 or values.min() == values.max():
                self.seen[place] = 0.0
                continue
            self.mean[place] = float(values.mean())
            self.spread[place] = float(values.std())
            self.lowest[place] = float(values.min())
            self.highest[place] = float(values.max())
        return self

    def encode(self, records: Sequence[PatientRecord]) -> Findings:
        """The findings of some patients, each computed from its own record alone.

        Raises:
            RecordError: a record holds an unknown concept, NaN, infinity, or a value outside the
                plausible range of its concept.
        """
        table = self._table(records)
        presence = np.where(self._binary[None], np.nan_to_num(table), 1.0)
        score = (table - self.mean.numpy()) / self.spread.numpy()
        observed = ~np.isnan(table) & (self.seen.numpy() > 0)
        most = max(1, int(observed.sum(1).max(initial=0)))
        order = np.argsort(~observed, axis=1, kind="stable")[:, :most]
        taken = np.take_along_axis(observed, order, 1)
        value = np.stack([np.clip(score, -CLIP, CLIP), presence], axis=-1)
        value = np.take_along_axis(value, order[..., None], 1)
        value = np.where(taken[..., None], value, 0.0)
        return Findings(
            torch.from_numpy(np.where(taken, order, 0)),
            torch.from_numpy(value.astype(np.float32)),
            torch.from_numpy(taken),
        )

    def _table(self, records: Sequence[PatientRecord]) -> Float[np.ndarray, "patients columns"]:
        self._check(records)
        wide = np.array(
            [[record.values.get(each, math.nan) for each in self._known] for record in records],
            dtype=np.float64,
        ).reshape(len(records), len(self.concepts))
        table = wide[:, self._source]
        is_level = ~np.isnan(self._level)
        levels = np.where(np.isnan(table), math.nan, table == self._level)
        return np.where(is_level[None], levels, table)

    def _check(self, records: Sequence[PatientRecord]) -> None:
        from ml.concepts import dictionary

        known: Mapping[str, Concept] = {**dictionary(), **self._known}
        for number, record in enumerate(records, start=1):
            for name, value in record.values.items():
                concept = known.get(name)
                if concept is None:
                    raise RecordError(
                        f"Record {number} holds `{name[:40]}`, which is no concept of "
                        "ml/concepts.toml. Leave it out or use the concept's identifier."
                    )
                if not concept.low <= value <= concept.high:
                    raise RecordError(
                        f"Record {number}: {concept.label} must lie between {concept.low:g} and "
                        f"{concept.high:g} {concept.unit}".rstrip()
                        + ". Correct the value or leave it out."
                    )


def graph_with_dictionary(
    ontology: KnowledgeGraph, concepts: Sequence[Concept], embed: Embed, *, children: int
) -> tuple[KnowledgeGraph, tuple[Link, ...]]:
    """The dictionary's concepts on top of what they reach in the ontology.

    Every column of `columns_of(concepts)` gets a node. A concept is tied to its phenotypes and to
    the group under which a page lists it, a level to its concept. Concepts without a code are
    linked by name or text to what the coded ones reach.

    Args:
        ontology: the whole ontology.
        concepts: the concepts that the model reads.
        embed: texts to unit vectors.
        children: steps down from a linked phenotype that are kept.

    Returns:
        The graph, and how each concept was linked.

    Raises:
        DanglingEdgeError: a code of the dictionary is not in the ontology.
    """
    codes = sorted({code for concept in concepts for code in concept.hpo})
    pruned = ontology.pruned(codes, children=children)
    links = link_concepts(concepts, pruned, embed)
    nodes = [Node(f"{CONCEPT}:{each.id}", CONCEPT, each.label) for each in concepts]
    groups = dict.fromkeys(each.group for each in concepts)
    nodes += [Node(f"{GROUP}:{group}", GROUP, group) for group in groups]
    edges = [(f"{CONCEPT}:{each.id}", "in_group", f"{GROUP}:{each.group}") for each in concepts]
    for link in links:
        edges += [(f"{CONCEPT}:{link.concept}", "stands_for", node) for node in link.nodes]
    for concept in concepts:
        if concept.kind is Kind.CATEGORICAL:
            for level, label in concept.levels.items():
                node = Column(concept.id, level).node
                nodes.append(Node(node, LEVEL, f"{concept.label}: {label}"))
                edges.append((node, "level_of", f"{CONCEPT}:{concept.id}"))
    return pruned.joined(nodes, edges), links
