"""All edges that leave one state of a supernet cell, computed together.

The edges of a state see the same input, so what they do to it is merged: one depthwise convolution
a kernel for all edges, one grouped pointwise convolution, one BatchNorm (without affine parameters
it works channel by channel, so merging it is exact), pools and their BatchNorm once. α·β enters as
the scale of the last BatchNorm. `none` is never computed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcdarts.operations import OPERATIONS

_FIRST_POOL = OPERATIONS.index("max_pool_3x3")  # then avg_pool_3x3, skip_connect
_SKIP = OPERATIONS.index("skip_connect")
_FIRST_CONVOLUTION = OPERATIONS.index("sep_conv_3x3")  # then sep 5×5, dil 3×3, dil 5×5
_KERNELS = (3, 5)


class MixedEdges(nn.Module):
    """`edges` mixed operations on the same `channels` channels of one state.

    Channels are ordered by (operation,) edge, channel.
    """

    def __init__(self, channels: int, edges: int, stride: int) -> None:
        super().__init__()
        self.channels, self.edges, self.stride = channels, edges, stride
        width = edges * channels
        self.separable = _depthwise_pair(width, stride, dilation=1)
        self.separable_pointwise = _pointwise(2 * width, 2 * edges)
        self.separable_norm = nn.BatchNorm2d(2 * width, affine=False)
        self.separable_again = _depthwise_pair(width, stride=1, dilation=1)
        self.dilated = _depthwise_pair(width, stride, dilation=2)
        self.pointwise = _pointwise(4 * width, 4 * edges)
        self.norm = nn.BatchNorm2d(4 * width, affine=False)
        self.pool_norm = nn.BatchNorm2d(2 * channels, affine=False)
        if stride == 2:
            half = channels // 2
            self.even = nn.Conv2d(channels, edges * half, 1, stride=2, bias=False)
            self.odd = nn.Conv2d(channels, edges * (channels - half), 1, stride=2, bias=False)
            self.skip_norm = nn.BatchNorm2d(width, affine=False)
        self.register_buffer("identity", torch.eye(channels), persistent=False)

    def forward(self, state: Tensor, weights: Tensor) -> Tensor:
        """[N, C, H, W] to [N, edges, C, H/stride, W/stride]; `weights` [edges, 8] are α·β."""
        rectified = state.relu()
        mixed = self._convolutions(rectified, weights) + self._shared(state, weights)
        return mixed if self.stride == 1 else mixed + self._reductions(rectified, weights)

    def _convolutions(self, rectified: Tensor, weights: Tensor) -> Tensor:
        """The separable and the dilated convolutions, weighted and summed: [N, edges, C, H, W]."""
        repeated = torch.cat([rectified] * self.edges, dim=1)
        first = torch.cat([convolution(repeated) for convolution in self.separable], dim=1)
        middle = self.separable_norm(self.separable_pointwise(first)).relu()
        spatial = [
            *(
                conv(part)
                for conv, part in zip(self.separable_again, middle.chunk(2, 1), strict=True)
            ),
            *(convolution(repeated) for convolution in self.dilated),
        ]
        scale = weights[:, _FIRST_CONVOLUTION:].t()  # [4, edges]
        normed = _scaled(self.norm, self.pointwise(torch.cat(spatial, dim=1)), scale)
        return self._by_edge(normed.unflatten(1, (4, -1)).sum(1))

    def _shared(self, state: Tensor, weights: Tensor) -> Tensor:
        """The pools and, at stride 1, the identity: computed once, weighted for each edge."""
        pools = [
            F.max_pool2d(state, 3, self.stride, padding=1),
            F.avg_pool2d(state, 3, self.stride, padding=1, count_include_pad=False),
        ]
        shared = self.pool_norm(torch.cat(pools, dim=1))
        last = _SKIP
        if self.stride == 1:
            shared, last = torch.cat([shared, state], dim=1), _SKIP + 1
        # One scalar for each (edge, operation), as a 1×1 convolution: [edges · C, operations · C].
        matrix = torch.kron(weights[:, _FIRST_POOL:last], self.get_buffer("identity"))
        return self._by_edge(F.conv2d(shared, matrix[:, :, None, None]))

    def _reductions(self, rectified: Tensor, weights: Tensor) -> Tensor:
        """The skip connections at stride 2: FactorizedReduce with each edge's own weights."""
        height, width = rectified.shape[2:]
        shifted = rectified[:, :, 1:, 1:]
        if height % 2 or width % 2:
            shifted = F.pad(shifted, (0, width % 2, 0, height % 2))
        halves = [self._by_edge(self.even(rectified)), self._by_edge(self.odd(shifted))]
        reduced = torch.cat(halves, dim=2).flatten(1, 2)
        return self._by_edge(_scaled(self.skip_norm, reduced, weights[:, _SKIP]))

    def _by_edge(self, values: Tensor) -> Tensor:
        return values.unflatten(1, (self.edges, -1))


def _scaled(norm: nn.BatchNorm2d, values: Tensor, scale: Tensor) -> Tensor:
    """`norm(values)`, each group of channels times its entry of `scale`, in one operation."""
    groups = scale.flatten()
    weight = groups[:, None].expand(-1, norm.num_features // len(groups)).flatten()
    return F.batch_norm(
        values,
        norm.running_mean,
        norm.running_var,
        weight,
        training=norm.training,
        momentum=norm.momentum or 0.0,
        eps=norm.eps,
    )


def _depthwise_pair(width: int, stride: int, dilation: int) -> nn.ModuleList:
    """A depthwise 3×3 and a depthwise 5×5 convolution."""
    return nn.ModuleList(
        nn.Conv2d(
            width,
            width,
            kernel,
            stride,
            padding=dilation * (kernel - 1) // 2,
            dilation=dilation,
            groups=width,
            bias=False,
        )
        for kernel in _KERNELS
    )


def _pointwise(width: int, groups: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 1, groups=groups, bias=False)
