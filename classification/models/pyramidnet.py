"""PyramidNet for small images, bottleneck form.

Han et al. 2017, "Deep Pyramidal Residual Networks".
Channels grow by α̃ / 3n a block instead of doubling a stage. Module names are those of the
implementation published with CutMix, so that its checkpoints load.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from classification.models.network import (
    ResidualBlock,
    StagedClassifier,
    conv1x1,
    conv3x3,
    initialize_convolutions,
)
from classification.models.resnet import pad_channels

_STEM_CHANNELS = 16
_EXPANSION = 4


class PyramidNet(StagedClassifier):
    """Depth 9n + 2: three stages of n bottlenecks; `alpha` (α̃) is the width's total growth.

    The width of block k (from 1) is round(16 + α̃ k / 3n), and it outputs four times as many.
    """

    def __init__(self, depth: int, alpha: int, num_classes: int) -> None:
        super().__init__()
        if depth < 11 or (depth - 2) % 9:
            raise ValueError(f"depth {depth} is not 9n + 2 with n of at least 1")
        number = (depth - 2) // 9
        widths = [round(_STEM_CHANNELS + alpha * (k + 1) / (3 * number)) for k in range(3 * number)]
        inputs = [_STEM_CHANNELS] + [_EXPANSION * width for width in widths]
        strides = [2 if k in (number, 2 * number) else 1 for k in range(3 * number)]
        blocks = [
            Bottleneck(in_channels, width, stride)
            for in_channels, width, stride in zip(inputs[:-1], widths, strides, strict=True)
        ]
        self.conv1 = conv3x3(3, _STEM_CHANNELS)
        self.bn1 = nn.BatchNorm2d(_STEM_CHANNELS)
        self.layer1 = nn.Sequential(*blocks[:number])
        self.layer2 = nn.Sequential(*blocks[number : 2 * number])
        self.layer3 = nn.Sequential(*blocks[2 * number :])
        self.bn_final = nn.BatchNorm2d(inputs[-1])
        self.fc = nn.Linear(inputs[-1], num_classes)
        initialize_convolutions(self)

    def stem(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 16, H, W]; no ReLU, since each block starts with a BatchNorm."""
        return self.bn1(self.conv1(images))

    def finish(self, maps: Tensor) -> Tensor:
        """Activate the last maps, [N, 4 · (16 + α̃), H, W]."""
        return F.relu(self.bn_final(maps))


class Bottleneck(ResidualBlock):
    """BN-1×1-BN-ReLU-3×3-BN-ReLU-1×1-BN plus a shortcut padded with zero maps (Figure 6d).

    The first ReLU of a pre-activation block is omitted and a BatchNorm is added at the end; at
    stride 2 the shortcut is averaged over 2×2.
    """

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv1x1(in_channels, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, _EXPANSION * width)
        self.bn4 = nn.BatchNorm2d(_EXPANSION * width)
        self.stride = stride

    @property
    def residual_end(self) -> nn.Module:
        return self.bn4

    def forward(self, maps: Tensor) -> Tensor:
        """[N, in, H, W] to [N, 4 · width, H / stride, W / stride], rounded up."""
        residual = self.conv1(self.bn1(maps))
        residual = self.conv2(F.relu(self.bn2(residual)))
        residual = self.bn4(self.conv3(F.relu(self.bn3(residual))))
        shortcut = maps if self.stride == 1 else F.avg_pool2d(maps, 2, ceil_mode=True)
        return residual + pad_channels(shortcut, residual.shape[1])
