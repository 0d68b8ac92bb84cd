"""The candidate operations of the DARTS search space (Liu et al. 2019, Section 3.1).

Every operation maps [N, C, H, W] to [N, C, ⌈H/stride⌉, ⌈W/stride⌉], at odd sizes too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcdarts.depthwise import DepthwiseConv2d
from pcdarts.pixels import even_and_odd_pixels

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
CANDIDATES = OPERATIONS[1:]  # `none` is part of the softmax, but is never computed or chosen


def build_operation(name: str, channels: int, stride: int, affine: bool) -> nn.Module:
    """Build the operation `name`, one of CANDIDATES, with `affine` BatchNorms or not.

    Raises ValueError for any other name.
    """
    match name:
        case "max_pool_3x3":
            return nn.MaxPool2d(3, stride, padding=1)
        case "avg_pool_3x3":
            return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        case "skip_connect" if stride == 1:
            return nn.Identity()
        case "skip_connect":
            return FactorizedReduce(channels, channels, affine)
        case "sep_conv_3x3" | "sep_conv_5x5":
            return separable_convolution(channels, int(name[-1]), stride, affine)
        case "dil_conv_3x3" | "dil_conv_5x5":
            return nn.Sequential(*_depthwise_separable(channels, int(name[-1]), stride, 2, affine))
    raise ValueError(f"unknown operation {name!r}; allowed: {', '.join(CANDIDATES)}")


def separable_convolution(channels: int, kernel: int, stride: int, affine: bool) -> nn.Sequential:
    """Build ReLU, depthwise, pointwise, BatchNorm, twice; the first depthwise has the stride."""
    return nn.Sequential(
        *_depthwise_separable(channels, kernel, stride, 1, affine),
        *_depthwise_separable(channels, kernel, 1, 1, affine),
    )


class ReluConvBn(nn.Sequential):
    """ReLU, 1×1 convolution and BatchNorm, which adapt a cell's input to the cell's width."""

    def __init__(self, in_channels: int, out_channels: int, affine: bool) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels, affine=affine),
        )


class FactorizedReduce(nn.Module):
    """Halves height and width with two 1×1 convolutions, one on even and one on odd pixels.

    For an odd size, the odd pixels are padded with one row or column of zeros.
    """

    def __init__(self, in_channels: int, out_channels: int, affine: bool) -> None:
        super().__init__()
        half = out_channels // 2
        self.even = nn.Conv2d(in_channels, half, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [N, C_in, H, W] to [N, C_out, ⌈H/2⌉, ⌈W/2⌉]."""
        height, width = inputs.shape[2:]
        if height % 2 or width % 2:
            inputs = F.pad(inputs, (0, width % 2, 0, height % 2))
        # Taken before the convolutions: the gradient of one with stride is 4 to 5 times as slow.
        even, odd = even_and_odd_pixels(inputs, self.training)
        reduced = [F.conv2d(even.relu(), self.even.weight), F.conv2d(odd.relu(), self.odd.weight)]
        return self.norm(torch.cat(reduced, dim=1))


def _depthwise_separable(
    channels: int, kernel: int, stride: int, dilation: int, affine: bool
) -> list[nn.Module]:
    return [
        nn.ReLU(),
        DepthwiseConv2d(channels, kernel, stride, dilation),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    ]


STEM_MULTIPLIER = 3  # width of the stem over the first cell's channels


def cifar_stem(width: int) -> nn.Sequential:
    """Build one convolution at full size: [N, 3, H, W] to [N, `width`, H, W]."""
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))


def imagenet_stem(width: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Build three convolutions with stride 2, in two parts, one for each input of the first cell.

    [N, 3, H, W] to [N, `width`, H/4, W/4], then to [N, `width`, H/8, W/8]: 224 px to 28 px.
    """
    return (
        nn.Sequential(
            *_halving_convolution(3, width // 2),
            nn.ReLU(inplace=True),
            *_halving_convolution(width // 2, width),
        ),
        nn.Sequential(nn.ReLU(), *_halving_convolution(width, width)),
    )


def _halving_convolution(in_channels: int, out_channels: int) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(out_channels)
