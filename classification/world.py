"""The processes that train together: their ranks, and sums and values over all of them.

A launcher such as torchrun starts the processes; a single process is a world of size 1 and does not
communicate. All processes make the same random draws for the global batch and each computes its
local batch, so a batch is the same on any number of devices. Torch is imported when processes
communicate, because it is slow to import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from classification.errors import PipelineError, SharedError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """A group of `size` processes; this one is number `rank`."""

    rank: int = 0
    size: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and messages for all."""
        return self.rank == 0

    def local_batch(self, batch: Tensor) -> Tensor:
        """Return the local part of a global batch [B, ...]: every `size`-th row from `rank` on."""
        return batch if self.alone else batch[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """Add up `values` over all processes, in place, and return them."""
        if not self.alone:
            import torch.distributed as dist

            dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up each parameter's gradient over all processes, in place, in one exchange.

        Skips parameters without a gradient; they must have none in any process.
        """
        if self.alone:
            return
        import torch

        gradients = [each.grad for each in parameters if each.grad is not None]
        joined = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, joined.split(sizes), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def all_gather(self, value: T) -> list[T]:
        """Return each process's `value`, by rank, in all processes. It must be picklable."""
        if self.alone:
            return [value]
        import torch.distributed as dist

        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def from_first(self, make: Callable[[], T]) -> T:
        """Call `make` in the first process only and return its result in all; tensors on the CPU.

        If it raises PipelineError, all processes do (SharedError in the others).
        """
        if self.alone:
            return make()
        import torch
        import torch.distributed as dist

        sent: list[T | PipelineError | None] = [None]
        if self.is_first:
            try:
                sent = [make()]
            except PipelineError as error:
                sent = [error]
        dist.broadcast_object_list(sent, device=torch.device("cpu"))
        if isinstance(sent[0], PipelineError):
            raise sent[0] if self.is_first else SharedError(str(sent[0]))
        return sent[0]  # type: ignore[return-value]

    def together(self, make: Callable[[], T]) -> T:
        """Call `make` in every process; if it raises PipelineError in one, all raise.

        The first process raises the error itself and the others SharedError: one report.
        """
        if self.alone:
            return make()
        result: T | None = None
        problem: PipelineError | None = None
        try:
            result = make()
        except PipelineError as error:
            problem = error
        for other in self.all_gather(problem):
            if other is not None:
                raise other if self.is_first else SharedError(str(other))
        return result  # type: ignore[return-value]


ALONE = World()
