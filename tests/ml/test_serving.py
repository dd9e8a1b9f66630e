"""Serving by stored concept states, all members at once."""

import pytest
import torch

from ml.config import PROFILES
from ml.mirage import Member, Mirage
from ml.patient_graph import FindingScaler
from ml.records import PatientRecord
from ml.serving import StackedMembers
from ml.whitening import WhiteningColoring
from tests.ml.graph_case import model_concepts, records


@pytest.fixture(scope="module")
def mirage():
    """Every weight drawn at random, so that no term is 0 and none could be left out unseen."""
    torch.manual_seed(3)
    model = Mirage(FindingScaler(model_concepts()).fit(records(80)), PROFILES["tiny"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn_like(parameter))
    for member in model.members:
        assert isinstance(member, Member)
        member.reader.states.copy_(torch.randn_like(member.reader.states))
        width = model.profile.unet.width
        member.alignment = WhiteningColoring(
            torch.randn(width), torch.randn(width), torch.randn(width, width) / width, blend=0.4
        )
    return model.eval()


@pytest.fixture(scope="module")
def people():
    """Full, thin and empty records."""
    thin = [PatientRecord(patient=f"t{n}", values={"age": 60.0 + n}) for n in range(3)]
    return [*records(40, seed=5), *thin, PatientRecord(patient="nobody", values={})]


def differences(one, other):
    """The largest of each, as a share of the largest value."""
    return [
        float((a - b).abs().max() / b.abs().max())
        for a, b in (
            (one.embedding, other.embedding),
            (one.surrogate, other.surrogate),
            (one.logits.sigmoid(), other.logits.sigmoid()),
        )
    ]


def test_all_members_at_once_read_what_each_reads_alone(mirage, people):
    findings = mirage.scaler.encode(people)

    plain, stacked = mirage.read(findings), StackedMembers(mirage).read(findings)

    assert max(differences(stacked, plain)) < 1e-6
    assert float(plain.logits.sigmoid().std()) > 0.01


def test_the_size_of_a_step_changes_nothing(mirage, people, monkeypatch):
    findings = mirage.scaler.encode(people)
    together = StackedMembers(mirage).read(findings)

    monkeypatch.setattr("ml.serving.MOST_FLOATS", 1)
    one_by_one = StackedMembers(mirage).read(findings)

    assert max(differences(one_by_one, together)) < 1e-6


def test_a_patient_without_findings_hears_nobody(mirage):
    findings = mirage.scaler.encode([PatientRecord(patient="nobody", values={})])

    stacked = StackedMembers(mirage)

    assert max(differences(stacked.read(findings), mirage.read(findings))) < 1e-6


def test_a_changed_weight_is_not_seen_by_what_was_stacked_before(mirage, people):
    """So a bundle is stacked when it is loaded, and training reads `Mirage` itself."""
    findings = mirage.scaler.encode(people[:5])
    stacked = StackedMembers(mirage)
    before = stacked.read(findings)

    with torch.no_grad():
        mirage.members[0].head.linear.weight += 1.0
    after, true = stacked.read(findings), mirage.read(findings)
    with torch.no_grad():
        mirage.members[0].head.linear.weight -= 1.0

    assert torch.equal(before.logits, after.logits)
    assert not torch.allclose(true.logits, after.logits)
