"""Depthwise convolutions whose gradients are computed by the fast kernels of a CPU.

oneDNN, which computes them, has a fast weight gradient for kernels of up to 3 columns, and fast
gradients for undilated kernels alone. All others are put together from these by two views of maps
in channels_last: neighbouring columns as channels ("folded"), in which a step of one column is one
of two, and rows of one parity as images.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FAST_COLUMNS = 3
_ENOUGH_VALUES = 100_000  # of maps; for fewer, one slow call is faster than two fast ones


class DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel by itself: odd kernel, stride and dilation 1 or 2.

    Its parameters are those of nn.Conv2d, and so are outputs and input gradients, to the bit on the
    processors tried; weight gradients are sums of the same products in another order. The other
    gradients serve training on a CPU in float32.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel - 1) // 2
        super().__init__(
            channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
        columns, stride, dilation = self.kernel_size[1], self.stride[0], self.dilation[0]
        if not self.training or maps.device.type != "cpu" or maps.dtype != torch.float32:
            return super().forward(maps)
        if stride == dilation == 2:  # such a kernel meets every other pixel only
            maps, stride, dilation = maps[:, :, ::2, ::2], 1, 1
        height, width = maps.shape[2:]
        slow = dilation == 2 or (columns > _FAST_COLUMNS and maps.numel() >= _ENOUGH_VALUES)
        if slow and width % 2 == 0 and (dilation == 1 or height % 2 == 0):
            return _Depthwise.apply(maps, self.weight, stride, dilation)
        return _convolve(maps, self.weight, stride, dilation)


def _convolve(maps: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    padding = dilation * (weight.shape[3] - 1) // 2
    return F.conv2d(maps, weight, None, stride, padding, dilation, len(weight))


class _Depthwise(torch.autograd.Function):
    """The same convolution, with a backward pass made of fast ones. Not both are 2: stride and
    dilation."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.stride, ctx.dilated = stride, dilation == 2
        return _convolve(maps, weight, stride, dilation)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        maps, gradient = (
            each.contiguous(memory_format=torch.channels_last) for each in (maps, gradient)
        )
        if ctx.dilated:
            maps, gradient, weight = _split(maps), _split(gradient), weight.repeat(2, 1, 1, 1)
        of_maps = of_weight = None
        if ctx.needs_input_grad[0]:
            of_maps, _ = _gradients(maps, gradient, weight, ctx.stride, of_maps=True)
            of_maps = _join(of_maps) if ctx.dilated else of_maps
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(maps, gradient, weight, ctx.stride)
            of_weight = of_weight.unflatten(0, (2, -1)).sum(0) if ctx.dilated else of_weight
        return of_maps, of_weight, None, None


def _weight_gradient(maps: Tensor, gradient: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the gradient [C, 1, k, k] of the weight of an undilated convolution."""
    if weight.shape[3] <= _FAST_COLUMNS or maps.shape[3] % 2 or maps.numel() < _ENOUGH_VALUES:
        return _gradients(maps, gradient, weight, stride)[1]
    narrow = weight[..., :_FAST_COLUMNS]
    wide = narrow.repeat(2, 1, 1, 1)
    if stride == 2:
        # The first, third and last of 5 columns meet the even columns of the maps, the others the
        # odd ones; a third column there would be a sixth.
        both = torch.cat([gradient, gradient], dim=1)
        even, odd = _gradients(_fold(maps), both, wide, (2, 1))[1].unflatten(0, (2, -1))
        columns = even[..., :1], odd[..., :1], even[..., 1:2], odd[..., 1:2], even[..., 2:]
        return torch.cat(columns, dim=3)
    # The middle three at once; the first and last as neighbours of the third in folded maps.
    middle = _gradients(maps, gradient, narrow, 1)[1]
    folded = _gradients(_fold(maps), _fold(gradient), wide, 1)[1].unflatten(0, (2, -1)).sum(0)
    return torch.cat([folded[..., :1], middle, folded[..., 2:]], dim=3)


def _gradients(
    maps: Tensor,
    gradient: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int],
    of_maps: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the gradient of the maps and that of the weight, of which one is computed."""
    strides = [stride, stride] if isinstance(stride, int) else list(stride)
    padding = [side // 2 for side in weight.shape[2:]]
    convolution = strides, padding, [1, 1], False, [0, 0], len(weight)
    of_which = [of_maps, not of_maps, False]
    return torch.ops.aten.convolution_backward(
        gradient, maps, weight, None, *convolution, of_which
    )[:2]


def _fold(maps: Tensor) -> Tensor:
    """View [N, C, H, W] in channels_last as [N, 2C, H, W/2]: even columns, then odd ones."""
    images, channels, height, width = maps.shape
    pixels = maps.permute(0, 2, 3, 1).reshape(images, height, width // 2, 2 * channels)
    return pixels.permute(0, 3, 1, 2)


def _split(maps: Tensor) -> Tensor:
    """Copy [N, C, H, W] to [2N, 2C, H/2, W/2]: rows by parity as images, columns as channels."""
    images, channels, height, width = maps.shape
    rows = maps.permute(0, 2, 3, 1).reshape(images, height // 2, 2, width // 2, 2 * channels)
    return rows.transpose(1, 2).flatten(0, 1).permute(0, 3, 1, 2)


def _join(maps: Tensor) -> Tensor:
    """Invert `_split`."""
    images, channels, height, width = maps.shape
    rows = maps.permute(0, 2, 3, 1).reshape(images // 2, 2, height, width, channels)
    joined = rows.transpose(1, 2).reshape(images // 2, 2 * height, 2 * width, channels // 2)
    return joined.permute(0, 3, 1, 2)
