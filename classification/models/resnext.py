"""ResNeXt for small images: bottlenecks whose 3×3 convolution is split into groups.

Xie et al. 2017, "Aggregated Residual Transformations for Deep Neural Networks", section 5.3, with
the block of Figure 3c and, as in the authors' implementation, shortcuts of option B.
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from classification.models.network import (
    ResidualBlock,
    StagedClassifier,
    conv1x1,
    conv3x3,
    initialize_convolutions,
)

_STEM_CHANNELS = 64
_WIDTHS = (256, 512, 1024)  # output maps of the stages


class ResNeXt(StagedClassifier):
    """Depth 9n + 2: three stages of n blocks with 256, 512 and 1,024 output maps.

    A block of the first stage has `cardinality` groups of `base_width` channels; these double from
    stage to stage.
    """

    def __init__(self, depth: int, cardinality: int, base_width: int, num_classes: int) -> None:
        super().__init__()
        if depth < 11 or (depth - 2) % 9:
            raise ValueError(f"depth {depth} is not 9n + 2 with n of at least 1")
        block = partial(ResNeXtBlock, cardinality=cardinality, base_width=base_width)
        self.conv1 = conv3x3(3, _STEM_CHANNELS)
        self.bn1 = nn.BatchNorm2d(_STEM_CHANNELS)
        self.add_stages(block, _STEM_CHANNELS, _WIDTHS, blocks=(depth - 2) // 9)
        self.fc = nn.Linear(_WIDTHS[-1], num_classes)
        initialize_convolutions(self)

    def stem(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 64, H, W]."""
        return F.relu(self.bn1(self.conv1(images)))


class ResNeXtBlock(ResidualBlock):
    """1×1-BN-ReLU, grouped 3×3-BN-ReLU, 1×1-BN plus the shortcut, then ReLU (Figure 3c).

    A shortcut that changes shape is a 1×1 convolution with BatchNorm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        cardinality: int,
        base_width: int,
    ) -> None:
        super().__init__()
        width = cardinality * base_width * out_channels // _WIDTHS[0]
        self.conv1 = conv1x1(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride, groups=cardinality)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.projection = (
            nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))
            if stride != 1 or in_channels != out_channels
            else None
        )

    @property
    def residual_end(self) -> nn.Module:
        return self.bn3

    def forward(self, maps: Tensor) -> Tensor:
        """[N, in, H, W] to [N, out, H / stride, W / stride], rounded up."""
        residual = F.relu(self.bn1(self.conv1(maps)))
        residual = F.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return F.relu(residual + (maps if self.projection is None else self.projection(maps)))
