r"""Serving: all members of a model as one computation over stored concept states.

A patient with an EHR alone only receives, so what each layer needs of the concepts is known when a
bundle is loaded. Everything that does not depend on the patient is computed there once, and the
members, which have the same shape, become one more dimension of the same few products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ml.graph_attention import SLOPE, ValueAttention
from ml.mirage import Member, Mirage, Reading
from ml.patient_graph import Findings
from ml.whitening import WhiteningColoring

MOST_FLOATS = 800_000
"""Of one step's messages, which so stay in the processor's cache. Changes no result."""


class StackedMembers:
    """The members of a fitted model, ready to read patients with an EHR alone.

    Gives what `Mirage.read` gives, to rounding (test: 1e-6).

    Args:
        mirage: fitted; later changes of its weights are not seen.
    """

    @torch.no_grad()
    def __init__(self, mirage: Mirage) -> None:
        members = [cast("Member", each) for each in mirage.members]
        readers = [member.reader for member in members]
        self._columns = len(mirage.scaler.columns)
        self._mask = torch.stack([reader.mask for reader in readers])
        self._layers = [
            _Layer.of(
                [reader.states[place] for reader in readers],
                [cast("nn.LayerNorm", reader.norms[place]) for reader in readers],
                [cast("ValueAttention", reader.attentions[place]) for reader in readers],
            )
            for place in range(len(readers[0].attentions))
        ]
        self._readout = _Linear.of([reader.readout for reader in readers])
        self._alignment = _Linear.of([_affine(member.alignment) for member in members])
        self._narrow = _Linear.of([member.adapter.narrow for member in members])
        self._widen = _Linear.of([member.adapter.widen for member in members])
        self._head = _Linear.of([member.head.linear for member in members])

    @torch.inference_mode()
    def read(self, findings: Findings) -> Reading:
        """Phases 2 and 3 for patients that are not in the graph; no voxel is computed."""
        embedding = self._readout(self._receive(findings))
        aligned = self._alignment(embedding)
        surrogate = aligned + self._widen(nn.functional.gelu(self._narrow(aligned)))
        return Reading(embedding.mean(0), surrogate.mean(0), self._head(surrogate).squeeze(2))

    def _receive(self, findings: Findings) -> Float[Tensor, "members patients width"]:
        members, width = self._mask.shape
        step = max(1, MOST_FLOATS // (members * width * max(1, findings.column.shape[1])))
        parts = torch.split(torch.arange(len(findings)), step)
        return torch.cat([self._receive_some(findings.rows(part)) for part in parts], 1)

    def _receive_some(self, findings: Findings) -> Float[Tensor, "members patients width"]:
        """Every layer, over the columns that some of these patients have."""
        state = self._mask[:, None].expand(-1, len(findings), -1)
        heard = _Heard.of(findings, self._columns)
        members, patients, width = state.shape
        messages = torch.empty(members, patients, len(heard.columns), width)
        for layer in self._layers:
            state = state + layer.receive(state, heard, messages)
        return state


@dataclass(frozen=True, slots=True)
class _Heard:
    """What some patients hear, over the columns that one of them has at least.

    Attributes:
        columns: numbers of those columns.
        value, presence: 0 where a patient has none.
        unheard: added to attention, 0 for a patient's own findings and next to minus infinity
            for others.
        any: 1 for patients with a finding, 0 for the others, to whom nobody speaks.
    """

    columns: Int[Tensor, " used"]
    value: Float[Tensor, "patients used"]
    presence: Float[Tensor, "patients used"]
    unheard: Float[Tensor, "patients used"]
    any: Float[Tensor, "patients 1"]

    @classmethod
    def of(cls, findings: Findings, columns: int) -> "_Heard":
        row, place = findings.observed.nonzero(as_tuple=True)
        column = findings.column[row, place]
        table = torch.zeros(3, len(findings), columns)
        table[0, row, column] = 1.0
        table[1:, row, column] = findings.value[row, place].T
        is_used = table[0].any(0)
        is_used[0] = True  # one column at least, or there would be nothing to sum over
        used = is_used.nonzero().squeeze(1)
        seen, value, presence = table.index_select(2, used)
        unheard = torch.where(seen > 0, 0.0, torch.finfo(seen.dtype).min / 2)
        return cls(used, value, presence, unheard, findings.observed.any(1, keepdim=True).float())


@dataclass(frozen=True, slots=True)
class _Linear:
    """One linear layer of every member."""

    weight: Float[Tensor, "members given made"]
    bias: Float[Tensor, "members 1 made"]

    @classmethod
    def of(cls, layers: Sequence[nn.Linear]) -> "_Linear":
        return cls(
            torch.stack([layer.weight.T for layer in layers]).contiguous(),
            torch.stack([layer.bias for layer in layers])[:, None],
        )

    def __call__(self, x: Float[Tensor, "members patients given"]) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


def _side_by_side(parts: Float[Tensor, "heads part"]) -> Float[Tensor, "heads width"]:
    """For each head its own part of the width, and 0 for the parts of the others."""
    return (torch.eye(len(parts))[:, :, None] * parts).flatten(1)


def _affine(alignment: WhiteningColoring) -> nn.Linear:
    """The alignment as one affine map."""
    width = len(alignment.source_mean)
    linear = nn.Linear(width, width)
    linear.bias.copy_(alignment(torch.zeros(1, width))[0])
    linear.weight.copy_((alignment(torch.eye(width)) - linear.bias).T)
    return linear


@dataclass(frozen=True, slots=True)
class _Layer:
    r"""One attention of every member (`ml.graph_attention.ValueAttention`).

    A message is $a_j + v_{ij} b_j + p_{ij} e$ with presence p, and a and b of the concepts alone.
    So the sum of the messages under the attention needs no message: it is the attention times a
    and the attention times v times b, one matrix product.
    """

    query: _Linear
    carried: Float[Tensor, "members 2 columns width"]
    presence: Float[Tensor, "members 1 width"]
    attention: Float[Tensor, "members heads width"]
    output: _Linear

    @classmethod
    def of(
        cls,
        states: Sequence[Float[Tensor, "columns width"]],
        norms: Sequence[nn.LayerNorm],
        attentions: Sequence[ValueAttention],
    ) -> "_Layer":
        query = _Linear.of([each.target for each in attentions])
        scale = torch.stack([norm.weight for norm in norms])
        shift = torch.stack([norm.bias for norm in norms])[:, None]
        plain = [
            each.source(state) + each.relation.weight[0]
            for state, each in zip(states, attentions, strict=True)
        ]
        modulated = [
            each.modulated(state) + each.edge.weight[:, 0]
            for state, each in zip(states, attentions, strict=True)
        ]
        return cls(
            _Linear(query.weight * scale[:, :, None], query(shift)),
            torch.stack([torch.stack(plain), torch.stack(modulated)], 1),
            torch.stack([each.edge.weight[:, 1] for each in attentions])[:, None],
            torch.stack([_side_by_side(each.attention) for each in attentions]),
            _Linear.of([each.output for each in attentions]),
        )

    def receive(
        self,
        state: Float[Tensor, "members patients width"],
        heard: _Heard,
        mixed: Float[Tensor, "members patients used width"],
    ) -> Float[Tensor, "members patients width"]:
        """What each patient receives; `mixed` is written over, as memory is dear to come by."""
        members, patients, width = state.shape
        heads = self.attention.shape[1]
        carried = self.carried.index_select(2, heard.columns)
        query = self.query(nn.functional.layer_norm(state, (width,)))
        torch.addcmul(carried[:, None, 0], heard.value[..., None], carried[:, None, 1], out=mixed)
        mixed.addcmul_(heard.presence[..., None], self.presence[:, None])
        mixed += query[:, :, None]
        spoken = nn.functional.leaky_relu_(mixed, SLOPE).view(members, -1, width)
        logits = torch.bmm(self.attention, spoken.transpose(1, 2))
        weight = (logits.view(members, heads, patients, -1) + heard.unheard).softmax(3)
        both = torch.stack([weight, weight * heard.value], 3).flatten(3)
        parts = carried.view(members, -1, heads, width // heads).permute(0, 2, 1, 3)
        present = (weight * heard.presence).sum(3, keepdim=True)
        summed = both @ parts + present * self.presence.view(members, heads, 1, -1)
        message = summed.permute(0, 2, 1, 3).flatten(2) * heard.any
        return self.output(message)
