"""Residual networks for small images.

ResNet: He et al. 2016a, "Deep Residual Learning", section 4.2 (depth 6n + 2, shortcuts of option A,
which have no parameters). PreActResNet: He et al. 2016b, "Identity Mappings" (full pre-activation).
Both end in an average over whatever map remains, so any image size passes.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class ResNet(nn.Module):
    """The CIFAR network of depth 6n + 2: three stages of n blocks with 16, 32 and 64 channels."""

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth {depth} is not 6n + 2 with n of at least 1")
        blocks = (depth - 2) // 6
        self.conv1 = _conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(BasicBlock, 16, 16, blocks, stride=1)
        self.layer2 = _stage(BasicBlock, 16, 32, blocks, stride=2)
        self.layer3 = _stage(BasicBlock, 32, 64, blocks, stride=2)
        self.fc = nn.Linear(64, num_classes)
        initialize_convolutions(self)

    def features(self, images: Tensor) -> Tensor:
        """What the classifier sees: [N, 3, H, W] to [N, 64]."""
        maps = F.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        return F.adaptive_avg_pool2d(maps, 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [N, 3, H, W] to logits [N, L]."""
        return self.fc(self.features(images))


class PreActResNet18(nn.Module):
    """Four stages of two pre-activation blocks with 64, 128, 256 and 512 channels."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(3, 64)
        self.layer1 = _stage(PreActBlock, 64, 64, 2, stride=1)
        self.layer2 = _stage(PreActBlock, 64, 128, 2, stride=2)
        self.layer3 = _stage(PreActBlock, 128, 256, 2, stride=2)
        self.layer4 = _stage(PreActBlock, 256, 512, 2, stride=2)
        self.bn_final = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512, num_classes)
        initialize_convolutions(self)

    def features(self, images: Tensor) -> Tensor:
        """What the classifier sees: [N, 3, H, W] to [N, 512]."""
        maps = self.layer2(self.layer1(self.conv1(images)))
        maps = F.relu(self.bn_final(self.layer4(self.layer3(maps))))
        return F.adaptive_avg_pool2d(maps, 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [N, 3, H, W] to logits [N, L]."""
        return self.fc(self.features(images))


class BasicBlock(nn.Module):
    """Conv-BN-ReLU-Conv-BN beside the shortcut, then ReLU (He et al. 2016a, Figure 2)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """[N, in, H, W] to [N, out, H / stride, W / stride], rounded up."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        shortcut = maps[:, :, :: self.stride, :: self.stride]
        return F.relu(residual + pad_channels(shortcut, residual.shape[1]))


class PreActBlock(nn.Module):
    """BN-ReLU-Conv twice; a projection takes the activated maps (He et al. 2016b, Figure 1)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = _conv3x3(in_channels, out_channels, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv3x3(out_channels, out_channels)
        self.projection = (
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            if stride != 1 or in_channels != out_channels
            else None
        )

    def forward(self, maps: Tensor) -> Tensor:
        """[N, in, H, W] to [N, out, H / stride, W / stride], rounded up."""
        activated = F.relu(self.bn1(maps))
        shortcut = maps if self.projection is None else self.projection(activated)
        return self.conv2(F.relu(self.bn2(self.conv1(activated)))) + shortcut


def pad_channels(maps: Tensor, channels: int) -> Tensor:
    """Append maps of zeros until [N, C, H, W] has `channels` of them: option A's shortcut."""
    extra = channels - maps.shape[1]
    return F.pad(maps, (0, 0, 0, 0, 0, extra)) if extra else maps


def initialize_convolutions(model: nn.Module) -> None:
    """Draw every convolution from N(0, 2 / (k² · outputs)) (He et al. 2015, Eq. 14)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _stage(
    block: type[BasicBlock] | type[PreActBlock],
    in_channels: int,
    out_channels: int,
    blocks: int,
    stride: int,
) -> nn.Sequential:
    first = block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, 1) for _ in range(blocks - 1)))


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
