"""Mixed operations of all edges that leave one state, computed together.

The edges of a state have the same input, so their operations are merged: one convolution per kernel
size for all edges, and pools with their BatchNorm once. Both inputs of a cell are available at
once, so they share convolutions with two groups. A depthwise and a pointwise convolution in
sequence become one dense convolution with the product of their weights, which is faster for few
channels. BatchNorm without affine parameters is per channel, so merging it is exact, and α·β is the
scale of the last one. `none` is never computed.

Between convolutions, values are matrices [pixels, channels], the rows of channels_last maps, so
that operations linear over channels are one matrix product.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classification.distributed import SyncedBatchNorm2d, synced_batch_norm
from pcdarts.operations import OPERATIONS

_FIRST_POOL = OPERATIONS.index("max_pool_3x3")  # then avg_pool_3x3, skip_connect
_FIRST_CONVOLUTION = OPERATIONS.index("sep_conv_3x3")  # then sep 5×5, dil 3×3, dil 5×5
_SHARED = _FIRST_CONVOLUTION - _FIRST_POOL
_CONVOLUTIONS = len(OPERATIONS) - _FIRST_CONVOLUTION
_KERNELS = (3, 5)
_TILE = 16  # channels per vector in torch's BatchNorm of channels_last maps

Size = tuple[int, int, int]  # images, height, width


class MixedEdges(nn.Module):
    """The mixed operations from each of `states` states of `channels` channels to `nodes` nodes.

    Channels are ordered by state, node, channel. `stride` is 1 or 2.
    """

    def __init__(self, channels: int, states: int, nodes: int, stride: int) -> None:
        super().__init__()
        self.states, self.nodes, self.stride = states, nodes, stride
        width = states * nodes * channels

        def separable(kernel: int, dilation: int) -> DenseSeparable:
            return DenseSeparable(channels, states, nodes, kernel, stride, dilation)

        self.separable = nn.ModuleList(separable(kernel, dilation=1) for kernel in _KERNELS)
        # Of sep 3×3, sep 5×5, max and avg pool.
        self.first_norm = nn.BatchNorm2d(2 * width + 2 * states * channels, affine=False)
        self.separable_again = nn.ModuleList(
            nn.Sequential(_depthwise(width, kernel), _pointwise(width, states * nodes))
            for kernel in _KERNELS
        )
        self.dilated = nn.ModuleList(separable(kernel, dilation=2) for kernel in _KERNELS)
        self.norm = nn.BatchNorm2d(4 * width, affine=False)  # of sep 3×3, 5×5, dil 3×3, 5×5
        if stride == 2:
            self.reduction = Reduction(channels, channels, states, nodes)
        self.register_buffer("identity", torch.eye(channels), persistent=False)

    def forward(self, pixels: Tensor, size: Size, weights: Tensor) -> Tensor:
        """Map [N·H·W, states · C] to [N·H'·W', nodes · C], summed over the states.

        `weights` [8, states, nodes] are α·β.
        """
        maps = to_maps(pixels, size)
        rectified = maps.relu()
        *middles, largest, average = normalize(
            self.first_norm,
            [
                *(convolution(rectified) for convolution in self.separable),
                F.max_pool2d(maps, 3, self.stride, padding=1),
                F.avg_pool2d(maps, 3, self.stride, padding=1, count_include_pad=False),
            ],
        )
        _, shared_weights, scale = weights.split([_FIRST_POOL, _SHARED, _CONVOLUTIONS])
        convolved = normalize(
            self.norm,
            [
                *(
                    again(middle.relu())
                    for again, middle in zip(self.separable_again, middles, strict=True)
                ),
                *(convolution(rectified) for convolution in self.dilated),
            ],
            scale,
        )
        mixed = self._to_nodes(convolved)
        shared = [to_pixels(largest), to_pixels(average)]
        if self.stride == 1:
            shared.append(pixels)
        else:
            mixed = mixed + self._to_nodes([self.reduction(rectified, shared_weights[-1])])
        # One scalar for each (operation, state, node), as matrices [states · C, nodes · C].
        matrices = torch.kron(shared_weights.flatten(0, 1), self.get_buffer("identity"))
        for values, matrix in zip(shared, matrices.chunk(_SHARED), strict=False):
            mixed = torch.addmm(mixed, values, matrix)
        return mixed

    def _to_nodes(self, parts: Sequence[Tensor]) -> Tensor:
        """Sum `parts` [N, states · nodes · C, H, W] and their states to [N·H·W, nodes · C]."""
        total, *others = parts
        for part in others:
            total = total + part
        pixels = to_pixels(total)
        return pixels if self.states == 1 else pixels.unflatten(1, (self.states, -1)).sum(1)


class DenseSeparable(nn.Module):
    """Depthwise and pointwise convolutions of every edge, computed as one dense convolution."""

    def __init__(
        self, channels: int, states: int, nodes: int, kernel: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        self.states, self.stride, self.dilation = states, stride, dilation
        self.padding = dilation * (kernel - 1) // 2
        edges = states * nodes
        self.depthwise = _depthwise(edges * channels, kernel)
        self.pointwise = _pointwise(edges * channels, edges)

    def forward(self, maps: Tensor) -> Tensor:
        """Map [N, states · C, H, W] to [N, states · nodes · C, H/stride, W/stride]."""
        pointwise = self.pointwise.weight  # [edges · C, C, 1, 1]
        channels = pointwise.shape[1]
        depthwise = self.depthwise.weight.unflatten(0, (-1, 1, channels)).squeeze(3)
        weight = pointwise.unflatten(0, (-1, channels)) * depthwise  # [edges, C, C, k, k]
        return F.conv2d(
            maps,
            weight.flatten(0, 1),
            None,
            self.stride,
            self.padding,
            self.dilation,
            self.states,
        )


class Reduction(nn.Module):
    """FactorizedReduce of every edge after the ReLU, as one convolution.

    Its 1×1 convolutions on even and odd pixels are the first and last weights of a 2×2 kernel.
    """

    def __init__(self, in_channels: int, out_channels: int, states: int, nodes: int) -> None:
        super().__init__()
        self.states, self.edges = states, states * nodes
        half = out_channels // 2
        self.even = _halving(states, in_channels, self.edges * half)
        self.odd = _halving(states, in_channels, self.edges * (out_channels - half))
        self.norm = nn.BatchNorm2d(self.edges * out_channels, affine=False)

    def forward(self, rectified: Tensor, scale: Tensor | None = None) -> Tensor:
        """Map [N, states · C_in, H, W] to [N, states · nodes · C_out, ⌈H/2⌉, ⌈W/2⌉].

        `scale` [states, nodes] multiplies the edges.
        """
        height, width = rectified.shape[2:]
        if height % 2 or width % 2:
            rectified = F.pad(rectified, (0, width % 2, 0, height % 2))
        taps = [
            F.pad(convolution.weight.unflatten(0, (self.edges, -1)), place)
            for convolution, place in ((self.even, (0, 1, 0, 1)), (self.odd, (1, 0, 1, 0)))
        ]
        weight = torch.cat(taps, dim=1).flatten(0, 1)
        reduced = F.conv2d(rectified, weight, None, stride=2, groups=self.states)
        (normed,) = normalize(self.norm, [reduced], scale)
        return normed


class ReluReduction(Reduction):
    """FactorizedReduce with its ReLU, which adapts a cell's input to the cell's size and width."""

    def forward(self, maps: Tensor, scale: Tensor | None = None) -> Tensor:
        """Apply the ReLU, then `Reduction.forward`."""
        return super().forward(maps.relu(), scale)


def normalize(
    norm: nn.BatchNorm2d, parts: Sequence[Tensor], scale: Tensor | None = None
) -> list[Tensor]:
    """Apply `norm` and `scale` to the parts' channels, and return the parts.

    Channels are independent, so concatenation affects only the speed: parts whose width is a
    multiple of a tile are normalised alone, without a copy, and the others together.
    """
    widths = [part.shape[1] for part in parts]
    if scale is not None:
        scale = scale.flatten().repeat_interleave(norm.num_features // scale.numel())
    alone = sum(1 for _ in itertools.takewhile(lambda width: width % _TILE == 0, widths))
    groups = [*([part] for part in parts[:alone]), *([parts[alone:]] if parts[alone:] else [])]
    joined = [torch.cat(list(group), 1) if len(group) > 1 else group[0] for group in groups]
    spans = [values.shape[1] for values in joined]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    if norm.training:
        norm.num_batches_tracked.add_(1)
    batch_norm = synced_batch_norm if isinstance(norm, SyncedBatchNorm2d) else F.batch_norm
    normed = [
        batch_norm(
            values,
            mean,
            variance,
            weight,
            training=norm.training,
            momentum=norm.momentum or 0.0,
            eps=norm.eps,
        )
        for values, mean, variance, weight in zip(
            joined,
            norm.running_mean.split(spans),
            norm.running_var.split(spans),
            [None] * len(spans) if scale is None else scale.split(spans),
            strict=True,
        )
    ]
    if len(joined) == len(parts):
        return normed
    return [*normed[:alone], *normed[alone].split(widths[alone:], 1)]


def to_pixels(maps: Tensor) -> Tensor:
    """View maps [N, C, H, W] in channels_last as the matrix [N·H·W, C]."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def to_maps(pixels: Tensor, size: Size) -> Tensor:
    """Invert `to_pixels`; `size` is (N, H, W)."""
    return pixels.unflatten(0, size).permute(0, 3, 1, 2)


def _depthwise(width: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)


def _pointwise(width: int, edges: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 1, groups=edges, bias=False)


def _halving(states: int, in_channels: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(states * in_channels, width, 1, groups=states, bias=False)
