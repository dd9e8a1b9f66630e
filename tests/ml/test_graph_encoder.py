from dataclasses import replace

import pytest
import torch

from ml.adapter import Adapter
from ml.graph_attention import ValueAttention
from ml.graph_encoder import GraphEncoder
from tests.ml.graph_case import CONFIG, LATENT_WIDTH, case


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def parts():
    return case(24)


def hide(*rows, of=24):
    hidden = torch.zeros(of, dtype=torch.bool)
    hidden[list(rows)] = True
    return hidden


@torch.no_grad()
def test_serving_by_stored_states_equals_the_whole_graph(parts):
    _, graph, findings, latent, encoder = parts
    senders, newcomers = torch.arange(16), torch.arange(16, 24)
    encoder.reader.states.copy_(
        encoder.concept_states(graph, findings.rows(senders), latent[senders])
    )
    whole = encoder(graph, findings, latent, hide(*range(16, 24)))[newcomers]
    served = encoder.reader(findings.rows(newcomers))
    torch.testing.assert_close(served, whole, atol=1e-6, rtol=0)
    assert whole.std(0).mean() > 0.01


@torch.no_grad()
def test_a_patient_without_findings_is_served_as_the_whole_graph_would(parts):
    _, graph, findings, latent, encoder = parts
    nothing = findings.without(hide(23).unsqueeze(1).expand_as(findings.observed))
    encoder.reader.states.copy_(
        encoder.concept_states(graph, findings.rows(torch.arange(23)), latent[:23])
    )
    whole = encoder(graph, nothing, latent, hide(23))[23:]
    served = encoder.reader(nothing.rows(torch.tensor([23])))
    torch.testing.assert_close(served, whole, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_hidden_patients_own_latent_is_never_read(parts):
    """Trap 1, the identity leak; the control shows the same change in plain sight."""
    _, graph, findings, latent, encoder = parts
    changed = latent.clone()
    changed[5] = 100.0
    before = encoder(graph, findings, latent, hide(5))
    assert torch.equal(before, encoder(graph, findings, changed, hide(5)))
    seen = encoder(graph, findings, changed, hide())
    assert (seen[5] - encoder(graph, findings, latent, hide())[5]).abs().max() > 0.1


def fit(encoder, graph, findings, latent, *, steps, leak=False, noise=False):
    """Guess latents; with `leak`, of patients that show them; with `noise`, new ones each step."""
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-2)
    for _ in range(steps):
        latent = torch.randn_like(latent) if noise else latent
        hidden = torch.zeros(len(latent), dtype=torch.bool)
        if not leak:
            hidden[torch.randperm(len(latent))[: len(latent) // 2]] = True
        guess = encoder(graph, findings, latent, hidden)
        scored = slice(None) if leak else hidden
        loss = (guess - latent)[scored].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


def test_latents_of_pure_noise_can_only_be_guessed_by_copying():
    """Trap 1 in training: hiding leaves nothing to copy, its absence does."""
    _, graph, findings, latent, encoder = case(40)
    torch.manual_seed(1)
    copied = fit(encoder, graph, findings, latent, steps=40, leak=True, noise=True)
    fresh = case(40)[4]
    torch.manual_seed(1)
    honest = fit(fresh, graph, findings, latent, steps=40, noise=True)
    assert copied < 0.3
    assert honest > 0.9


@torch.no_grad()
def test_patients_without_a_scan_change_nobody(parts):
    """Trap 2, batch dependence; the control lets the newcomers send."""
    _, graph, findings, latent, encoder = parts
    few = encoder(graph, findings.rows(torch.arange(12)), latent[:12], hide(10, 11, of=12))
    many = encoder(graph, findings, latent, hide(10, 11, *range(12, 24)))
    torch.testing.assert_close(many[:12], few, atol=1e-6, rtol=0)
    sending = encoder(graph, findings, latent, hide(10, 11))
    assert (sending[:12] - few).abs().max() > 1e-4


@torch.no_grad()
def test_the_order_of_a_records_findings_does_not_matter(parts):
    _, graph, findings, latent, encoder = parts
    encoder.reader.states.copy_(encoder.concept_states(graph, findings, latent))
    order = torch.randperm(findings.column.shape[1])
    turned = type(findings)(
        findings.column[:, order], findings.value[:, order], findings.observed[:, order]
    )
    torch.testing.assert_close(encoder.reader(turned), encoder.reader(findings), atol=1e-6, rtol=0)


@torch.no_grad()
def test_without_attention_a_patient_receives_the_mean_of_its_messages(parts):
    _, _, findings, _, encoder = parts
    torch.manual_seed(0)
    plain = ValueAttention(8, 2, attends=False)
    states, patients = torch.randn(encoder.reader.states.shape[1], 8), torch.randn(24, 8)
    given = findings.column, findings.value, findings.observed
    received = plain.gather(*plain.attend(patients, states, *given))
    messages = plain.message(
        plain.source(states)[findings.column],
        plain.modulated(states)[findings.column],
        findings.value,
        torch.zeros_like(findings.column),
    )
    seen = findings.observed.unsqueeze(-1)
    mean = (messages * seen).sum(1) / seen.sum(1)
    torch.testing.assert_close(received, plain.output(mean), atol=1e-5, rtol=1e-4)
    plain.attends = True
    assert (plain.gather(*plain.attend(patients, states, *given)) - received).abs().max() > 1e-3


@torch.no_grad()
def test_patients_who_may_not_send_leave_no_trace_in_the_concepts(parts):
    _, graph, findings, latent, _ = parts
    torch.manual_seed(0)
    silent = GraphEncoder(replace(CONFIG, patients_send=False), graph, LATENT_WIDTH).eval()
    torch.manual_seed(0)
    sending = GraphEncoder(CONFIG, graph, LATENT_WIDTH).eval()
    one, other = (silent.concept_states(graph, findings, each) for each in (latent, -latent))
    assert torch.equal(one, other)
    one, other = (sending.concept_states(graph, findings, each) for each in (latent, -latent))
    assert not torch.equal(one, other)


def test_an_adapter_of_no_width_is_the_identity_and_learns_nothing():
    adapter, z = Adapter(4, 0), torch.randn(3, 4)
    assert torch.equal(adapter(z), z)
    assert not list(adapter.parameters())
