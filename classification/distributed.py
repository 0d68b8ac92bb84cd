"""Distributed training: ranks, sums over processes, BatchNorm over the global batch.

A launcher such as torchrun starts the processes; a single process is a world of size 1 and does not
communicate. All processes make the same random draws for the global batch and each computes its
local batch, so a batch is the same on any number of devices.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from classification.errors import PipelineError, SharedError

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
            dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up each parameter's gradient over all processes, in place, in one exchange.

        Skips parameters without a gradient; they must have none in any process.
        """
        if self.alone:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        joined = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, joined.split(sizes), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def all_gather(self, value: T) -> list[T]:
        """Return each process's `value`, by rank, in all processes. It must be picklable."""
        if self.alone:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def from_first(self, make: Callable[[], T]) -> T:
        """Call `make` in the first process only and return its result in all; tensors on the CPU.

        If it raises PipelineError, all processes do (SharedError in the others).
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


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """A BatchNorm2d that in training uses the statistics of all processes' images."""

    def forward(self, values: Tensor) -> Tensor:
        """Normalise the local batch [B, C, H, W]."""
        if not self.training:
            return super().forward(values)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return synced_batch_norm(
            values,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=True,
            momentum=self.momentum or 0.0,
            eps=self.eps,
        )


def synchronize(model: nn.Module, world: World) -> None:
    """Make every BatchNorm2d of `model` use the statistics of all processes' images."""
    if world.alone:
        return
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            # Only the class changes: parameters, buffers and names stay the same.
            module.__class__ = SyncedBatchNorm2d


def synced_batch_norm(
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As torch.nn.functional.batch_norm on [B, C, H, W], over the images of all processes."""
    if not training:
        return F.batch_norm(values, running_mean, running_var, weight, bias, False, momentum, eps)
    normed, mean, variance, count = _Normalize.apply(values, eps)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean), momentum)
            unbiased = variance * (count / (count - 1))
            running_var.lerp_(unbiased.to(running_var), momentum)
    if weight is not None:
        normed = normed * weight[:, None, None]
    return normed if bias is None else normed + bias[:, None, None]


class _Normalize(torch.autograd.Function):
    """(values - mean) / sqrt(variance + eps) per channel; also mean, variance, pixel count."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exact = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
        number = exact.numel() // exact.shape[1]
        variance, mean = torch.var_mean(exact, (0, 2, 3), correction=0)
        # The processes' moments combined as in Chan et al. 1979: no difference of large sums.
        own = torch.cat([mean, variance, mean.new_tensor([number])])
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        means, variances, counts = torch.stack(parts).split([len(mean), len(mean), 1], 1)
        count = counts.sum()
        fractions = counts / count
        mean = (means * fractions).sum(0)
        variance = ((variances + (means - mean) ** 2) * fractions).sum(0)
        scale = (variance + eps).rsqrt()
        normed = (exact - mean[:, None, None]) * scale[:, None, None]
        ctx.save_for_backward(normed, scale, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return normed.to(values.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        normed, scale, count = ctx.saved_tensors
        gradient = gradients[0].to(normed.dtype)
        sums = torch.cat([gradient.sum((0, 2, 3)), (gradient * normed).sum((0, 2, 3))])
        dist.all_reduce(sums)
        first, second = (sums / count)[:, None, None].chunk(2)
        result = (gradient - first - normed * second) * scale[:, None, None]
        return result.to(gradients[0].dtype), None
