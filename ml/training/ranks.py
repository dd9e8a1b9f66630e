"""Processes that share the batches of the autoencoder, as `torchrun` starts them.

Gradients, in-batch donors and mean skips are those of the whole batch, so several processes learn
what one learns, up to rounding. The later stages are small and run in the first process alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ml.training_plan import TrainingError


class ShareDoneError(TrainingError):
    """A process other than the first has done its share; it ends, and the first goes on."""

    exit_code = 0


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this is; the only one by default."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: torch.device) -> "Ranks":
        """Join the processes that torchrun started; alone if it started none."""
        if not dist.is_torchelastic_launched():
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @staticmethod
    def place() -> int:
        """Which GPU of this machine is this process's own."""
        return dist.get_node_local_rank(0) if dist.is_torchelastic_launched() else 0

    @property
    def first(self) -> bool:
        """Whether this is the process that tells, saves and goes on alone."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process's rows of a batch; the first processes take what cannot be shared evenly."""
        return batch.tensor_split(self.world)[self.rank]

    def gathered(self, own: Tensor) -> Tensor:
        """The rows of all processes, in the order of the batch; gradients find their way back."""
        return own if self.world == 1 else _Gathered.apply(own, self)  # type: ignore[no-untyped-call]

    def places(self, own: int, whole: int) -> slice:
        """Where this process's rows are among all."""
        before = sum(whole // self.world + (each < whole % self.world) for each in range(self.rank))
        return slice(before, before + own)

    def add_gradients(self, weights: Iterable[Tensor]) -> None:
        """Sum the gradients of all processes, in one message."""
        if self.world == 1:
            return
        held = [weight for weight in weights if weight.requires_grad]
        for weight in held:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        flat = torch.cat([weight.grad.flatten() for weight in held if weight.grad is not None])
        dist.all_reduce(flat)
        parts = torch.split(flat, [weight.numel() for weight in held])
        for weight, part in zip(held, parts, strict=True):
            if weight.grad is not None:
                weight.grad.copy_(part.view(weight.shape))

    def total(self, value: Tensor) -> Tensor:
        """The sum of a number over all processes."""
        if self.world > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
        return value

    def agreed(self, asked: bool) -> bool:
        """What the first process says, in all of them."""
        if self.world == 1:
            return asked
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        said = torch.tensor([int(asked)], device=device)
        dist.broadcast(said, 0)
        return bool(said.item())

    def part(self) -> None:
        """Leave the others.

        Raises:
            ShareDoneError: in all processes but the first.
        """
        if self.world == 1:
            return
        dist.barrier()
        dist.destroy_process_group()
        if not self.first:
            raise ShareDoneError("The autoencoder is trained; the first process goes on alone.")


class _Gathered(torch.autograd.Function):
    """Rows of all processes; backwards, each gets the sum of what all found for its own rows."""

    @staticmethod
    def forward(context: Any, own: Tensor, ranks: Ranks) -> Tensor:
        counts = [torch.zeros(1, dtype=torch.int64, device=own.device) for _ in range(ranks.world)]
        dist.all_gather(counts, torch.tensor([len(own)], device=own.device))
        most = max(int(each) for each in counts)
        padded = own.new_zeros(most, *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in range(ranks.world)]
        dist.all_gather(parts, padded)
        held = [part[: int(count)] for part, count in zip(parts, counts, strict=True)]
        before = sum(len(each) for each in held[: ranks.rank])
        context.rows = slice(before, before + len(own))
        return torch.cat(held)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        whole = gradients[0].contiguous()
        dist.all_reduce(whole)
        return whole[context.rows], None
