"""Residual networks for small images.

ResNet: He et al. 2016a, "Deep Residual Learning", section 4.2 (depth 6n + 2, shortcuts of option A,
which have no parameters). PreActResNet: He et al. 2016b, "Identity Mappings" (full pre-activation).
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from classification.models.network import (
    ResidualBlock,
    StagedClassifier,
    conv1x1,
    conv3x3,
    initialize_convolutions,
)


class ResNet(StagedClassifier):
    """The CIFAR network of depth 6n + 2: three stages of n blocks with 16, 32 and 64 channels."""

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth {depth} is not 6n + 2 with n of at least 1")
        self.conv1 = conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.add_stages(BasicBlock, 16, (16, 32, 64), blocks=(depth - 2) // 6)
        self.fc = nn.Linear(64, num_classes)
        initialize_convolutions(self)

    def stem(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 16, H, W]."""
        return F.relu(self.bn1(self.conv1(images)))


class PreActResNet(StagedClassifier):
    """A stem of one convolution and a stage of `blocks` pre-activation blocks for each width."""

    def __init__(
        self, stem_channels: int, widths: Sequence[int], blocks: int, num_classes: int
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, stem_channels)
        self.add_stages(PreActBlock, stem_channels, widths, blocks)
        self.bn_final = nn.BatchNorm2d(widths[-1])
        self.fc = nn.Linear(widths[-1], num_classes)
        initialize_convolutions(self)

    def stem(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, stem channels, H, W]."""
        return self.conv1(images)

    def finish(self, maps: Tensor) -> Tensor:
        """Apply the activation that a block leaves to its successor (He et al. 2016b, 3.2)."""
        return F.relu(self.bn_final(maps))


class PreActResNet18(PreActResNet):
    """Four stages of two pre-activation blocks with 64, 128, 256 and 512 channels."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(64, (64, 128, 256, 512), 2, num_classes)


class BasicBlock(ResidualBlock):
    """Conv-BN-ReLU-Conv-BN plus the shortcut, then ReLU (He et al. 2016a, Figure 2)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride

    @property
    def residual_end(self) -> nn.Module:
        return self.bn2

    def forward(self, maps: Tensor) -> Tensor:
        """[N, in, H, W] to [N, out, H / stride, W / stride], rounded up."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        shortcut = maps[:, :, :: self.stride, :: self.stride]
        return F.relu(residual + pad_channels(shortcut, residual.shape[1]))


class PreActBlock(ResidualBlock):
    """BN-ReLU-Conv twice; a projection takes the activated maps (He et al. 2016b, Figure 1)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.projection = (
            conv1x1(in_channels, out_channels, stride)
            if stride != 1 or in_channels != out_channels
            else None
        )

    @property
    def residual_end(self) -> nn.Module:
        return self.conv2

    def forward(self, maps: Tensor) -> Tensor:
        """[N, in, H, W] to [N, out, H / stride, W / stride], rounded up."""
        activated = F.relu(self.bn1(maps))
        shortcut = maps if self.projection is None else self.projection(activated)
        return self.conv2(F.relu(self.bn2(self.conv1(activated)))) + shortcut


def pad_channels(maps: Tensor, channels: int) -> Tensor:
    """Append maps of zeros until [N, C, H, W] has `channels` of them: option A's shortcut."""
    extra = channels - maps.shape[1]
    return F.pad(maps, (0, 0, 0, 0, 0, extra)) if extra else maps


class WideResNet(PreActResNet):
    """WRN-depth-widen of depth 6n + 4: three stages of n blocks, 16, 32 and 64 × `widen` wide."""

    def __init__(self, depth: int, widen: int, num_classes: int) -> None:
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth {depth} is not 6n + 4 with n of at least 1")
        if widen < 1:
            raise ValueError(f"widen {widen} is not at least 1")
        super().__init__(16, (16 * widen, 32 * widen, 64 * widen), (depth - 4) // 6, num_classes)
