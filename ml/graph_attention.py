r"""The arithmetic of one GATv2 attention whose messages carry the value of a finding.

Plain torch: the whole graph (`ml.graph_encoder`, on PyTorch Geometric) and the serving of single
patients (`ml.surrogate`) share these parameters and these lines.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

SLOPE = 0.2


class ValueAttention(nn.Module):
    r"""GATv2 attention with the value of the edge inside the message.

    $$m_{ij} = W_s h_j + v_{ij}\, W_m h_j + W_e e_{ij} + r_{ij}, \qquad
      \alpha_{ij} = \operatorname{softmax}_j\; a^\top \mathrm{LeakyReLU}(W_t h_i + m_{ij}), \qquad
      h_i' = W_o \sum_j \alpha_{ij} m_{ij}$$

    with e = (v, presence) and r the embedding of the relation.

    Paper: section 2, 'three GATv2 layers'. There the value can only enter the attention (as in
    the stock layer's `edge_dim`), from where the network cannot read it (method.md trap 5); the
    two terms with v and e in the message are ours.

    Args:
        width: length of a node's state, unitless.
        heads: attention heads; they share the width.
        relations: kinds of edge.
        attends: without it all messages weigh the same: a mean in place of the attention, as in
            the paper's ablation 'w/o GAT'.
    """

    def __init__(self, width: int, heads: int, relations: int = 1, *, attends: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.attends = attends
        self.source = nn.Linear(width, width)
        self.modulated = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(2, width, bias=False)
        self.relation = nn.Embedding(relations, width)
        self.target = nn.Linear(width, width)
        self.attention = nn.Parameter(torch.empty(heads, width // heads))
        self.output = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.attention)
        nn.init.normal_(self.relation.weight, std=0.02)

    def message(
        self,
        plain: Float[Tensor, "*edges width"],
        modulated: Float[Tensor, "*edges width"],
        value: Float[Tensor, "*edges 2"],
        relation: Int[Tensor, "*edges"],
    ) -> Float[Tensor, "*edges width"]:
        """What an edge carries, from its source's `source(h)` and `modulated(h)`."""
        carried: Tensor = plain + value[..., :1] * modulated
        carried += self.edge(value) + self.relation(relation)
        return carried

    def logits(
        self, query: Float[Tensor, "*#edges width"], message: Float[Tensor, "*#edges width"]
    ) -> Float[Tensor, "*#edges heads"]:
        """Attention before the softmax, from the target's `target(h)`."""
        if not self.attends:
            return message.new_zeros(*message.shape[:-1], self.heads)
        mixed = nn.functional.leaky_relu(query + message, SLOPE)
        logits: Tensor = (self.per_head(mixed) * self.attention).sum(-1)
        return logits

    def per_head(self, x: Float[Tensor, "*edges width"]) -> Float[Tensor, "*edges heads part"]:
        """The width, shared out among the heads."""
        return x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)

    def attend(
        self,
        target: Float[Tensor, "patients width"],
        source: Float[Tensor, "columns width"],
        column: Int[Tensor, "patients most"],
        value: Float[Tensor, "patients most 2"],
        observed: Bool[Tensor, "patients most"],
    ) -> tuple[Float[Tensor, "patients most heads"], Float[Tensor, "patients most width"]]:
        """How much patients heed each of their own padded findings, and what it carries.

        Weights sum to 1 over the findings of a patient and head; without findings they are 0.
        """
        message = self.message(
            self.source(source)[column],
            self.modulated(source)[column],
            value,
            torch.zeros_like(column),
        )
        logits = self.logits(self.target(target).unsqueeze(1), message)
        logits = logits.masked_fill(~observed.unsqueeze(-1), -torch.inf)
        peak = logits.amax(1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
        weight = (logits - peak).exp()
        weight = weight / weight.sum(1, keepdim=True).clamp_min(torch.finfo(logits.dtype).tiny)
        return weight, message

    def gather(
        self,
        weight: Float[Tensor, "patients most heads"],
        message: Float[Tensor, "patients most width"],
    ) -> Float[Tensor, "patients width"]:
        """What patients receive of weighted messages."""
        summed = (weight.unsqueeze(-1) * self.per_head(message)).sum(1)
        received: Tensor = self.output(summed.flatten(1))
        return received
