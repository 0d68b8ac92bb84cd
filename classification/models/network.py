"""The base of all classifiers: features, stages, and the ends of residual branches."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class Classifier(nn.Module, ABC):
    """Normalised images [N, 3, H, W] to logits [N, L] by a linear layer, `fc`, on features."""

    fc: nn.Linear

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Return the input of the linear layer: [N, 3, H, W] to [N, F]."""

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [N, 3, H, W] to logits [N, L]."""
        return self.logits(self.features(images))

    def logits(self, features: Tensor) -> Tensor:
        return self.fc(features)

    @property
    @abstractmethod
    def stages(self) -> tuple[nn.Module, ...]:
        """In order of depth; no connection bypasses a stage. Maps are [N, C, H, W]."""

    @property
    @abstractmethod
    def residual_ends(self) -> list[nn.Module]:
        """In order of depth, the modules whose outputs are added to a shortcut."""


class ResidualBlock(nn.Module, ABC):
    """A residual branch and a shortcut."""

    @property
    @abstractmethod
    def residual_end(self) -> nn.Module:
        """The last module of the branch: its output is added to the shortcut."""


class StagedClassifier(Classifier):
    """A stem, stages of residual blocks and a global average, for any image size.

    The stages are the children that are an nn.Sequential; no other child may be one.
    """

    @abstractmethod
    def stem(self, images: Tensor) -> Tensor:
        """Apply the layers before the first stage: [N, 3, H, W] to [N, C, H', W']."""

    def finish(self, maps: Tensor) -> Tensor:
        """Apply the layers between the last stage and the average; the shape stays the same."""
        return maps

    def features(self, images: Tensor) -> Tensor:
        """Return the averages of the last maps: [N, 3, H, W] to [N, F]."""
        maps = self.stem(images)
        for stage in self.stages:
            maps = stage(maps)
        return F.adaptive_avg_pool2d(self.finish(maps), 1).flatten(1)

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        return tuple(child for child in self.children() if isinstance(child, nn.Sequential))

    @property
    def residual_ends(self) -> list[nn.Module]:
        return [part.residual_end for part in self.modules() if isinstance(part, ResidualBlock)]

    def add_stages(
        self,
        block: Callable[[int, int, int], ResidualBlock],
        in_channels: int,
        widths: Sequence[int],
        blocks: int,
    ) -> None:
        """Add `layer1`, `layer2`, …, a stage of `blocks` blocks for each of `widths`.

        `block` takes channels in, channels out and a stride, which is 2 at the start of every stage
        but the first.
        """
        for number, width in enumerate(widths, start=1):
            first = block(in_channels, width, 1 if number == 1 else 2)
            others = (block(width, width, 1) for _ in range(blocks - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *others))
            in_channels = width


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A 3×3 convolution without bias that keeps the maps' size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1×1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


def initialize_convolutions(model: nn.Module) -> None:
    """Draw every convolution from N(0, 2 / (k² · outputs)) (He et al. 2015, Eq. 14)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
