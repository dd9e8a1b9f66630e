"""The adapter: a small correction of the aligned embedding towards what the decoder understands."""

from jaxtyping import Float
from torch import Tensor, nn


class Adapter(nn.Module):
    r"""A residual bottleneck from aligned embeddings to surrogates.

    $$\hat z = A(z') = z' + W_2\,\mathrm{GELU}(W_1 z')$$

    Paper: section 2, the adapter A; its form is not given. It starts as the identity, so training
    can only improve on the alignment.

    Args:
        width: length of z, unitless.
        hidden: units of the bottleneck; with 0 the adapter stays the identity.

    Shape:
        forward: `(patients, width) -> (patients, width)`
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        if hidden:
            self.narrow = nn.Linear(width, hidden)
            self.widen = nn.Linear(hidden, width)
            nn.init.zeros_(self.widen.weight)
            nn.init.zeros_(self.widen.bias)

    def forward(self, z: Float[Tensor, "patients width"]) -> Float[Tensor, "patients width"]:
        if not self.hidden:
            return z
        correction: Tensor = self.widen(nn.functional.gelu(self.narrow(z)))
        return z + correction
