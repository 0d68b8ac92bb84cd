"""ResNet-9, the network of the CIFAR speedruns.

Page 2018, "How to Train Your ResNet" (the DAWNBench entry): convolutions of 64 to 512 channels, a
max pool after each widening, a residual block of two convolutions at the first and the last.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from classification.models.network import Classifier, conv3x3, initialize_convolutions

_LOGIT_SCALE = 0.125  # as published; keeps the first losses near ln(classes)


class ResNet9(Classifier):
    """Eight convolutions and a linear layer, 6.6 M parameters at ten classes; any image size."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.prepare = _conv_bn_relu(3, 64)
        self.widen1, self.residual1 = _conv_bn_relu(64, 128), _residual(128)
        self.widen2 = _conv_bn_relu(128, 256)
        self.widen3, self.residual3 = _conv_bn_relu(256, 512), _residual(512)
        self.fc = nn.Linear(512, num_classes, bias=False)
        initialize_convolutions(self)

    def features(self, images: Tensor) -> Tensor:
        """Return the input of the linear layer: [N, 3, H, W] to [N, 512]."""
        maps = F.max_pool2d(self.widen1(self.prepare(images)), 2, ceil_mode=True)
        maps = F.max_pool2d(self.widen2(maps + self.residual1(maps)), 2, ceil_mode=True)
        maps = F.max_pool2d(self.widen3(maps), 2, ceil_mode=True)
        # A global max pool; ONNX has no adaptive one.
        return F.max_pool2d(maps + self.residual3(maps), maps.shape[2:]).flatten(1)

    def logits(self, features: Tensor) -> Tensor:
        return _LOGIT_SCALE * self.fc(features)

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """The three widening convolutions; residual blocks are bypassed by a shortcut."""
        return self.widen1, self.widen2, self.widen3

    @property
    def residual_ends(self) -> list[nn.Module]:
        """The two residual blocks, whose shortcuts are outside of them."""
        return [self.residual1, self.residual3]


def _conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        conv3x3(in_channels, out_channels),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


def _residual(channels: int) -> nn.Sequential:
    return nn.Sequential(_conv_bn_relu(channels, channels), _conv_bn_relu(channels, channels))
