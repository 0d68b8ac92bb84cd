"""The processes that train together: how many, which of them this one is, and how they agree.

A launcher such as torchrun starts them; alone, a process is a world of one and all of this costs
nothing. What is random is drawn alike by all of them for the whole batch, and each computes its
share of it, so a batch is the same on any number of devices.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from classification.errors import PipelineError, SharedError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """`size` processes of which this is number `rank`."""

    rank: int = 0
    size: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks for all."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch [B, ...]: every `size`-th row from its rank on."""
        return batch if self.alone else batch[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """`values` added up over all processes, in place."""
        if not self.alone:
            dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Each parameter's gradient added up over all processes, in place, in one exchange."""
        if self.alone:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        joined = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, joined.split(sizes), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def gather(self, value: T) -> list[T]:
        """Each process's `value`, by rank, in all of them. Needs to be picklable."""
        if self.alone:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, which alone calls it; tensors on the CPU.

        Raises PipelineError in all of them if it raises one there (SharedError in the others).
        """
        if self.alone:
            return make()
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
        """`make()` in every process; if it raises a PipelineError in one, it does so in all.

        The first process raises it as it is and the others a SharedError, so one reports it.
        """
        if self.alone:
            return make()
        result: T | None = None
        problem: PipelineError | None = None
        try:
            result = make()
        except PipelineError as error:
            problem = error
        for other in self.gather(problem):
            if other is not None:
                raise other if self.is_first else SharedError(str(other))
        return result  # type: ignore[return-value]


ALONE = World()
