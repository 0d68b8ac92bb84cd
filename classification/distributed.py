"""Distributed training: BatchNorm over the global batch of all processes of a world."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from classification.world import World


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
