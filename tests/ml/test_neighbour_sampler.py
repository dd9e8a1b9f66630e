import numpy as np
import pytest
import torch

from ml.config import GraphConfig
from ml.graph_encoder import ConceptGraph, GraphEncoder
from ml.knowledge_graph import EdgeTable, KnowledgeGraph, Node
from ml.neighbour_sampler import Neighbours, NeighbourSampler, training_graph
from ml.patient_graph import FindingScaler
from tests.ml.graph_case import CONFIG, LATENT_WIDTH, case, knowledge, model_concepts, records

ALL = 10**6


def sampler(fanouts, seed=0, patients=24):
    scaler = FindingScaler(model_concepts()).fit(records(patients, seed))
    return NeighbourSampler.build(*knowledge(), scaler, fanouts)


def star(arms, hub="hub"):
    """One hub to which many nodes send along two relations, and nothing else."""
    nodes = [Node(hub, "k", hub), *(Node(f"n{i}", "k", f"n{i}") for i in range(arms))]
    edges = [(f"n{i}", "rare" if i < arms // 10 else "common", hub) for i in range(arms)]
    return KnowledgeGraph(nodes, edges)


@torch.no_grad()
def test_fanouts_that_cover_every_neighbour_give_what_the_whole_graph_gives():
    _, graph, findings, latent, encoder = case(24)
    hidden = torch.arange(24) >= 12
    part = sampler((ALL, ALL)).drawn(1)
    assert len(part.kind) < len(graph.kind)
    whole = encoder(graph, findings, latent, hidden)
    torch.testing.assert_close(encoder(part, findings, latent, hidden), whole, atol=1e-6, rtol=0)
    states = encoder.concept_states(graph, findings, latent)
    torch.testing.assert_close(
        encoder.concept_states(part, findings, latent), states, atol=1e-6, rtol=0
    )


@torch.no_grad()
def test_one_step_outwards_is_not_enough_for_three_layers():
    """The control of the test above: three layers look two steps beyond a column's node."""
    _, graph, findings, latent, encoder = case(24)
    hidden = torch.arange(24) >= 12
    near = encoder(sampler((ALL,)).drawn(1), findings, latent, hidden)
    whole = encoder(graph, findings, latent, hidden)
    assert (near - whole).abs().max() > 1e-4


def test_the_same_seed_draws_the_same_part_and_another_one_another():
    drawing = sampler((2, 2))
    first, again, other = drawing.drawn(5), drawing.drawn(5), drawing.drawn(6)
    assert torch.equal(first.edge, again.edge)
    assert torch.equal(first.text, again.text)
    assert first.edge.shape != other.edge.shape or not torch.equal(first.edge, other.edge)


def test_no_node_receives_more_edges_than_the_fanout():
    part = sampler((1, 2)).drawn(0)
    received = torch.bincount(part.edge[1], minlength=len(part.kind))
    columns = torch.zeros(len(part.kind), dtype=torch.bool)
    columns[part.column_node] = True
    assert received[columns].max() == 1
    assert received[~columns].max() == 2


def test_every_drawn_edge_is_an_edge_of_the_graph():
    graph, _ = knowledge()
    scaler = FindingScaler(model_concepts()).fit(records(24))
    numbers = torch.arange(len(graph.nodes)).unsqueeze(1).float()  # a text that names the node
    part = NeighbourSampler.build(graph, numbers, scaler, (2, 4)).drawn(3)
    ids = [graph.nodes[int(number)].id for number in part.text[:, 0]]
    count = len(graph.relations)
    edges = set(graph.edges)
    assert len(part.relation) > len(part.column_node)
    for (source, target), code in zip(part.edge.T.tolist(), part.relation.tolist(), strict=True):
        ends = (source, target) if code < count else (target, source)
        assert (ids[ends[0]], graph.relations[code % count], ids[ends[1]]) in edges
    assert [ids[node] for node in part.column_node] == [each.node for each in scaler.columns]


def test_every_neighbour_has_the_same_chance_and_a_rare_relation_keeps_its_share():
    graph = star(100)
    neighbours = Neighbours.of(graph)
    rng = np.random.default_rng(0)
    hits = np.zeros(101)
    rare = []
    for _ in range(4000):
        places, row = neighbours.sampled(np.array([0]), 20, rng)
        assert len(set(places.tolist())) == 20
        assert not row.any()
        hits[neighbours.sender[places]] += 1
        rare.append((neighbours.relation[places] == graph.relations.index("rare")).sum())
    assert hits[0] == 0
    np.testing.assert_allclose(hits[1:] / 4000, 0.2, atol=0.03)
    assert set(rare) <= {1, 2, 3}


def test_both_directions_of_an_edge_are_found_with_relations_of_their_own():
    neighbours = Neighbours.of(star(3))
    into_hub, into_arm = (neighbours.sender[a:b] for a, b in ((0, 3), (3, 4)))
    assert into_hub.tolist() == [1, 2, 3]
    assert into_arm.tolist() == [0]
    assert neighbours.relations == 2 * len(star(3).relations)
    assert set(neighbours.relation[:3].tolist()).isdisjoint(neighbours.relation[3:].tolist())


def test_a_large_graph_is_drawn_from_without_touching_the_rest():
    """200,000 nodes, 2 million edges; a part has at most columns x (1 + 5 + 25) nodes."""
    rng = np.random.default_rng(0)
    count, edges = 200_000, 2_000_000
    nodes = tuple(Node(str(i), "k", str(i)) for i in range(count))
    ends = rng.integers(0, count, (2, edges), dtype=np.int32)
    table = EdgeTable(ends[0], np.zeros(edges, dtype=np.int16), ends[1], ("r",))
    drawing = NeighbourSampler(
        Neighbours.of(KnowledgeGraph(nodes, table)),
        torch.zeros(count, 4),
        torch.zeros(count, dtype=torch.long),
        torch.arange(10),
        (5, 5),
    )
    part = drawing.drawn(0)
    assert 10 < len(part.kind) <= 10 * 31
    assert part.edge.shape[1] <= 10 * 5 + 50 * 5


def test_a_model_is_made_for_the_whole_graph_and_trains_on_its_parts():
    drawing = sampler((3, 3))
    assert drawing.sizes == case(24)[1].sizes
    _, _, findings, latent, _ = case(24)
    torch.manual_seed(0)
    encoder = GraphEncoder(CONFIG, drawing, LATENT_WIDTH)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-2)
    losses = []
    for step in range(30):
        hidden = torch.zeros(24, dtype=torch.bool)
        hidden[torch.randperm(24)[:12]] = True
        guess = encoder(drawing.drawn(step), findings, latent, hidden)
        loss = (guess - latent)[hidden].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * losses[0]


def test_fanouts_in_the_settings_choose_the_sampler():
    scaler = FindingScaler(model_concepts()).fit(records(24))
    assert isinstance(training_graph(*knowledge(), scaler, ()), ConceptGraph)
    assert isinstance(training_graph(*knowledge(), scaler, (3, 3)), NeighbourSampler)


def test_edges_are_dropped_in_training_and_never_afterwards():
    _, graph, findings, latent, _ = case(24)
    torch.manual_seed(0)
    config = GraphConfig(children=0, width=32, dropout=0.0, edge_dropout=0.5)
    encoder = GraphEncoder(config, graph, LATENT_WIDTH)
    hidden = torch.arange(24) >= 12
    with torch.no_grad():
        twice = [encoder(graph, findings, latent, hidden) for _ in range(2)]
        assert not torch.equal(*twice)
        encoder.eval()
        twice = [encoder(graph, findings, latent, hidden) for _ in range(2)]
        assert torch.equal(*twice)


@pytest.mark.parametrize("fanout", [1, 2, 7])
def test_a_list_of_any_length_is_cut_into_stretches_without_a_repeat(fanout):
    rng = np.random.default_rng(1)
    for arms in range(1, 40):
        places, _ = Neighbours.of(star(arms)).sampled(np.array([0]), fanout, rng)
        assert len(set(places.tolist())) == len(places) == min(arms, fanout)
