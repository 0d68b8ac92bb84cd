"""What stands before the first cell: of a supernet or a found network, one layout for both."""

from torch import nn

STEM_MULTIPLIER = 3  # of the first cell's channels, where the stem is as wide as that


def cifar_stem(width: int) -> nn.Sequential:
    """One convolution at full size: [N, 3, H, W] to [N, `width`, H, W]."""
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))


def imagenet_stem(width: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Three convolutions of stride 2, in two parts whose outputs are the first cell's inputs.

    [N, 3, H, W] to [N, `width`, H/4, W/4], and that to [N, `width`, H/8, W/8]: 224 px to 28 px.
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
