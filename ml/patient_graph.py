"""Patients on the knowledge graph: which findings tie whom to which concept, on what scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from torch import Tensor, nn

from ml.concept_linking import Embed, Link, coded_nodes, link_concepts
from ml.concepts import Concept, Kind, dictionary
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
        """Identifier of its node in the graph; a code (`ICD10CM:I10`) is a node already."""
        if ":" in self.concept:
            return self.concept
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

    def sparse(self, columns: int) -> csr_array:
        """The same table where most of it is 0: thousands of columns, tens of findings each."""
        count = self.observed.sum(1).numpy()
        score = self.value[..., 0][self.observed].double().numpy()
        column = self.column[self.observed].numpy().astype(np.int32)  # trees read no other
        start = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
        return csr_array((score, column, start), shape=(len(self), columns))

    def without_a_group(self, group: Int[Tensor, " columns"], probability: float) -> "Findings":
        """Each person loses, with this probability, one group of its columns drawn at random.

        Whole parts of a record are missing together, so a model must learn to do without them
        (group masking of MDR-Dx).

        Args:
            group: number of each column's group, from 0 (`FindingScaler.group`).
            probability: 0 to 1.
        """
        drawn = torch.randint(int(group.max()) + 1, (len(self), 1))
        loses = torch.rand(len(self), 1) < probability
        return self.without(loses & (group[self.column] == drawn))

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
        known = {**dictionary(), **{concept.id: concept for concept in self.concepts}}
        read = {concept.id: place for place, concept in enumerate(self.concepts)}
        self._names = {name: number for number, name in enumerate(known)}
        self._place = np.array([read.get(name, -1) for name in known] + [-1])
        # A name of no concept is looked up last; no value lies between its limits.
        self._lowest_allowed = np.array([concept.low for concept in known.values()] + [math.inf])
        self._most_allowed = np.array([concept.high for concept in known.values()] + [-math.inf])
        self._width = np.array(
            [len(c.levels) if c.kind is Kind.CATEGORICAL else 1 for c in self.concepts], dtype=int
        )
        self._first = np.cumsum(self._width) - self._width
        self._level = np.array(
            [math.nan if column.level is None else column.level for column in self.columns]
        )
        kinds = np.repeat([concept.kind for concept in self.concepts], self._width)
        self._binary = np.isin(kinds, [Kind.BINARY, Kind.CATEGORICAL])
        self._presence = kinds == Kind.PRESENCE

    @property
    def group(self) -> Int[Tensor, " columns"]:
        """Number of the heading under which the dictionary lists each column's concept."""
        names = list(dict.fromkeys(concept.group for concept in self.concepts))
        numbers = [names.index(concept.group) for concept in self.concepts]
        return torch.from_numpy(np.repeat(np.array(numbers, dtype=np.int64), self._width))

    @property
    def average_presence(self) -> Float[Tensor, " columns"]:
        """Share of the training people with a value in whom the finding is present."""
        always = torch.from_numpy(~(self._binary | self._presence))
        return torch.where(always, torch.ones_like(self.mean), self.mean)

    def fit(self, records: Sequence[PatientRecord]) -> "FindingScaler":
        """Take mean, spread and range of each column from the training people.

        A column that nobody in training has, or in which all are equal, carries nothing that could
        have been learned: its findings make no edges later. A column of presence is 1 wherever it
        is recorded; what it says lies in who has it, so it stays as it is.

        Raises:
            RecordError: a record holds an invalid value.
        """
        _, column, value = self._observations(records)
        width = len(self.columns)
        seen = np.bincount(column, minlength=width)
        people = np.maximum(seen, 1)
        mean = np.bincount(column, value, width) / people
        spread = np.sqrt(np.bincount(column, (value - mean[column]) ** 2, width) / people)
        lowest, highest = np.full(width, np.inf), np.full(width, -np.inf)
        np.minimum.at(lowest, column, value)
        np.maximum.at(highest, column, value)
        varies = (seen >= 2) & (lowest < highest)
        for buffer, figures, default in (
            (self.mean, mean, 0.0),
            (self.spread, spread, 1.0),
            (self.lowest, lowest, 0.0),
            (self.highest, highest, 0.0),
        ):
            buffer.copy_(torch.from_numpy(np.where(varies, figures, default)))
        self.seen.copy_(torch.from_numpy(np.where(varies | self._presence, seen, 0)))
        return self

    def encode(self, records: Sequence[PatientRecord]) -> Findings:
        """The findings of some patients, each computed from its own record alone.

        Memory and time grow with the findings that were observed, not with the columns.

        Raises:
            RecordError: a record holds an unknown concept, NaN, infinity, or a value outside the
                plausible range of its concept.
        """
        row, column, value = self._observations(records)
        learned = self.seen.numpy()[column] > 0
        row, column, value = row[learned], column[learned], value[learned]
        score = (value - self.mean.numpy()[column]) / self.spread.numpy()[column]
        presence = np.where(self._binary[column], value, 1.0)
        count = np.bincount(row, minlength=len(records))
        place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        shape = (len(records), max(1, int(count.max(initial=0))))
        columns = np.zeros(shape, dtype=np.int64)
        values = np.zeros((*shape, VALUE_WIDTH), dtype=np.float32)
        columns[row, place] = column
        values[row, place, 0] = np.clip(score, -CLIP, CLIP)
        values[row, place, 1] = presence
        observed = np.arange(shape[1]) < count[:, None]
        return Findings(
            torch.from_numpy(columns), torch.from_numpy(values), torch.from_numpy(observed)
        )

    def _observations(
        self, records: Sequence[PatientRecord]
    ) -> tuple[Int[np.ndarray, " seen"], Int[np.ndarray, " seen"], Float[np.ndarray, " seen"]]:
        """Row, column and value of what was observed, row by row and column by column."""
        number_of, unknown = self._names.get, len(self._names)
        numbers: list[int] = []
        values: list[float] = []
        for record in records:
            numbers += [number_of(name, unknown) for name in record.values]
            values += record.values.values()
        number = np.array(numbers, dtype=np.int64)
        value_ = np.array(values, dtype=np.float64)
        row_ = np.repeat(np.arange(len(records)), [len(record.values) for record in records])
        allowed = (self._lowest_allowed[number] <= value_) & (value_ <= self._most_allowed[number])
        if not allowed.all():
            self._refuse(records, int(allowed.argmin()), row_)
        concept = self._place[number]
        is_read = concept >= 0
        concept, value_, row_ = concept[is_read], value_[is_read], row_[is_read]
        width = self._width[concept]
        finding = np.repeat(np.arange(len(concept)), width)
        level = np.arange(len(finding)) - np.repeat(np.cumsum(width) - width, width)
        column = self._first[concept][finding] + level
        level_of = self._level[column]
        value_ = np.where(np.isnan(level_of), value_[finding], value_[finding] == level_of)
        row_ = row_[finding]
        order = np.lexsort((column, row_))
        return row_[order], column[order], value_[order]

    def _refuse(
        self, records: Sequence[PatientRecord], observation: int, row_: Int[np.ndarray, " given"]
    ) -> NoReturn:
        """Name what is wrong with an observation, counted over all records."""
        row = int(row_[observation])
        names = list(records[row].values)
        raise self._refusal(row, names[observation - int(np.searchsorted(row_, row))])

    def _refusal(self, row: int, name: str) -> RecordError:
        concept = next((c for c in self.concepts if c.id == name), dictionary().get(name))
        if concept is None:
            return RecordError(
                f"Record {row + 1} holds `{name[:40]}`, which is no concept of "
                "ml/concepts.toml. Leave it out or use the concept's identifier."
            )
        return RecordError(
            f"Record {row + 1}: {concept.label} must lie between {concept.low:g} and "
            f"{concept.high:g} {concept.unit}".rstrip()
            + ". Correct the value or leave it out."
        )


def graph_with_dictionary(
    ontology: KnowledgeGraph,
    concepts: Sequence[Concept],
    embed: Embed | None,
    *,
    children: int,
    hops: int | None = None,
) -> tuple[KnowledgeGraph, tuple[Link, ...]]:
    """The dictionary's concepts on top of what they reach in the ontology.

    Every column of `columns_of(concepts)` gets a node. A concept is tied to its phenotypes and to
    the group under which a page lists it, a level to its concept. Concepts without a code are
    linked by name or text to what the coded ones reach.

    Args:
        ontology: the whole ontology.
        concepts: the concepts that the model reads.
        embed: texts to unit vectors; None links by codes and names alone.
        children: steps down from a linked node along `is_a` that are kept, beside its ancestors.
        hops: for graphs that are no ontology (iBKH), keep instead what is so many edges away from
            a linked node; text then links to every node.

    Returns:
        The graph, and how each concept was linked.

    Raises:
        KeyError: a code of the dictionary is not in the ontology.
    """
    if hops is None:
        coded = {node for nodes in coded_nodes(concepts, ontology).values() for node in nodes}
        pruned = ontology.pruned(sorted(coded), children=children)
        links = link_concepts(concepts, pruned, embed)
    else:
        links = link_concepts(concepts, ontology, embed)
        pruned = ontology.within({node for link in links for node in link.nodes}, hops)
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
