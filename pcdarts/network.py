"""The network built from a genotype, for CIFAR- and ImageNet-sized images (Liu et al. 2019)."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pcdarts.genotype import NUM_INPUTS, NUM_NODES, Genotype, Node
from pcdarts.operations import (
    STEM_MULTIPLIER,
    FactorizedReduce,
    ReluConvBn,
    build_operation,
    cifar_stem,
    imagenet_stem,
)

_AUXILIARY_CHANNELS = (128, 768)


class CellNetwork(nn.Module, ABC):
    """A stack of cells with reductions at one and two thirds of the depth; subclasses add the stem.

    `channels` are those of the first cell, doubled at each reduction. `drop_path_prob` is the
    probability of dropping an edge for one sample in training; set it before each epoch. The
    auxiliary head follows the cell at two thirds.
    """

    def __init__(
        self,
        genotype: Genotype,
        num_classes: int,
        channels: int,
        cells: int,
        *,
        stem_channels: int,
        stem_reduces: bool,
        auxiliary: bool,
        auxiliary_norm: bool,
    ) -> None:
        """Build the cells. `stem_reduces`: the first stem state is twice the size of the second."""
        super().__init__()
        self.drop_path_prob = 0.0
        self.cells = nn.ModuleList()
        self._auxiliary_cell = 2 * cells // 3
        self.auxiliary_head: nn.Module | None = None
        before, previous, reduced = stem_channels, stem_channels, stem_reduces
        for index in range(cells):
            reduction = index in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduction else 1
            self.cells.append(Cell(genotype, before, previous, channels, reduction, reduced))
            before, previous, reduced = previous, NUM_NODES * channels, reduction
            if auxiliary and index == self._auxiliary_cell:
                self.auxiliary_head = AuxiliaryHead(previous, num_classes, auxiliary_norm)
        self.classifier = nn.Linear(previous, num_classes)

    @abstractmethod
    def stem_states(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first cell's two inputs."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map normalised images [N, 3, H, W] to (logits, auxiliary logits), [N, num_classes] each.

        The auxiliary logits are None in eval mode and without an auxiliary head.
        """
        before, previous = self.stem_states(images)
        auxiliary_logits = None
        for index, cell in enumerate(self.cells):
            before, previous = previous, cell(before, previous, self.drop_path_prob)
            if index == self._auxiliary_cell and self.auxiliary_head and self.training:
                auxiliary_logits = self.auxiliary_head(previous)
        return self.classifier(previous.mean((2, 3))), auxiliary_logits


class CifarNetwork(CellNetwork):
    """The network for small images, with a stem of one convolution at full size."""

    def __init__(
        self,
        genotype: Genotype,
        num_classes: int,
        channels: int = 36,
        cells: int = 20,
        auxiliary: bool = True,
    ) -> None:
        width = STEM_MULTIPLIER * channels
        super().__init__(
            genotype,
            num_classes,
            channels,
            cells,
            stem_channels=width,
            stem_reduces=False,
            auxiliary=auxiliary,
            auxiliary_norm=True,
        )
        self.stem = cifar_stem(width)

    def stem_states(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the stem's output twice: [N, 3C, H, W]."""
        state = self.stem(images)
        return state, state


class ImageNetNetwork(CellNetwork):
    """The network for large images, with a stem of three strided convolutions, 224×224 to 28×28."""

    def __init__(
        self,
        genotype: Genotype,
        num_classes: int = 1000,
        channels: int = 48,
        cells: int = 14,
        auxiliary: bool = True,
    ) -> None:
        super().__init__(
            genotype,
            num_classes,
            channels,
            cells,
            stem_channels=channels,
            stem_reduces=True,
            auxiliary=auxiliary,
            auxiliary_norm=False,
        )
        self.stem0, self.stem1 = imagenet_stem(channels)

    def stem_states(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return [N, C, H/4, W/4] and [N, C, H/8, W/8]."""
        state = self.stem0(images)
        return state, self.stem1(state)


class Cell(nn.Module):
    """Two inputs and four nodes, each the sum of two edges."""

    def __init__(
        self,
        genotype: Genotype,
        before: int,
        previous: int,
        channels: int,
        reduction: bool,
        reduced: bool,
    ) -> None:
        """Build a cell. `before` and `previous`: the inputs' channels; `reduced`: sizes differ."""
        super().__init__()
        self.preprocess0 = (FactorizedReduce if reduced else ReluConvBn)(
            before, channels, affine=True
        )
        self.preprocess1 = ReluConvBn(previous, channels, affine=True)
        self._nodes: tuple[Node, ...] = genotype.reduce if reduction else genotype.normal
        self.edges = nn.ModuleList(
            build_operation(
                edge.operation,
                channels,
                2 if reduction and edge.source < NUM_INPUTS else 1,
                affine=True,
            )
            for node in self._nodes
            for edge in node
        )

    def forward(self, before: Tensor, previous: Tensor, drop_path_prob: float = 0.0) -> Tensor:
        """Return the concatenated nodes, [N, 4C, H, W], at half the size in a reduction cell."""
        states = [self.preprocess0(before), self.preprocess1(previous)]
        operations = iter(self.edges)
        for node in self._nodes:
            first, second = (
                self._path(next(operations), states[edge.source], drop_path_prob) for edge in node
            )
            states.append(first + second)
        return torch.cat(states[NUM_INPUTS:], dim=1)

    def _path(self, operation: nn.Module, state: Tensor, drop_path_prob: float) -> Tensor:
        output = operation(state)
        # An identity is never dropped, so that a sample always has a path through the cell.
        if self.training and drop_path_prob > 0 and not isinstance(operation, nn.Identity):
            return drop_path(output, drop_path_prob)
        return output


class AuxiliaryHead(nn.Module):
    """A second classifier on the maps after the last reduction (Szegedy et al. 2015).

    The reference pools 8×8 maps (CIFAR) with a 5×5 window at stride 3 and 7×7 maps (ImageNet) at
    stride 2, both to 2×2. Sizes of 6 to 8 are pooled like this, others adaptively to 2×2. The
    reference has no BatchNorm after its second convolution for ImageNet: `norm` is False there.
    """

    def __init__(self, channels: int, num_classes: int, norm: bool) -> None:
        super().__init__()
        hidden, features = _AUXILIARY_CHANNELS
        self.features = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            _Convolution2x2(hidden, features, 2, bias=False),
            nn.BatchNorm2d(features) if norm else nn.Identity(),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, state: Tensor) -> Tensor:
        """Map [N, C, H, W] to logits [N, num_classes]."""
        return self.classifier(self.features(_pool_to_2x2(state.relu())).flatten(1))


class _Convolution2x2(nn.Conv2d):
    """A 2×2 convolution of 2×2 maps, as the matrix product that it is: 3 times as fast on a CPU."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map [N, C_in, 2, 2] to [N, C_out, 1, 1]."""
        pixels, weight = (each.permute(0, 2, 3, 1).flatten(1) for each in (maps, self.weight))
        return nn.functional.linear(pixels, weight)[..., None, None]


def drop_path(paths: Tensor, probability: float) -> Tensor:
    """Zero each sample of [N, C, H, W] with `probability`, scale the others to keep the mean.

    Draws from torch's global generator, as dropout does (Larsson et al. 2017).
    """
    keep = 1 - probability
    mask = paths.new_empty(len(paths), 1, 1, 1).bernoulli_(keep)
    return paths * mask.div_(keep)


def _pool_to_2x2(maps: Tensor) -> Tensor:
    height, width = maps.shape[2:]
    if all(6 <= side <= 8 for side in (height, width)):
        return nn.functional.avg_pool2d(maps, 5, (height - 5, width - 5))
    return nn.functional.adaptive_avg_pool2d(maps, 2)
