"""PC-DARTS supernet in its plain form, one module per operation, as the paper describes it.

Only the first C/K channels of an edge pass through the operations; the others bypass them and a
channel shuffle mixes the two (Eq. 2). Edges are normalised by softmax(β) over a node (Eq. 3).
Tests and benchmarks compare the merged supernet with it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcdarts.genotype import (
    EDGES_PER_NODE,
    NUM_EDGES,
    NUM_INPUTS,
    NUM_NODES,
    Genotype,
    derive_genotype,
    normalize_edges,
)
from pcdarts.operations import (
    CANDIDATES,
    OPERATIONS,
    FactorizedReduce,
    ReluConvBn,
    build_operation,
)

STEM_MULTIPLIER = 3
_ARCHITECTURE_SCALE = 1e-3  # standard deviation of the first α and β


class PlainSupernet(nn.Module):
    """A stem, `cells` cells with reductions at one and two thirds of the depth, a classifier.

    `channels` are those of the first cell, doubled at each reduction; 1/`partial` of them (K) pass
    through the operations. α and β start at 1e-3·N(0, 1), drawn from `generator` on the CPU.
    `network` is "cifar" or "imagenet": a stem at full size, or one that divides the sides by 8.
    Raises ValueError if `partial` does not divide `channels`.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int = 16,
        cells: int = 8,
        partial: int = 4,
        generator: torch.Generator | None = None,
        network: str = "cifar",
    ) -> None:
        super().__init__()
        if channels % partial:
            raise ValueError(f"partial {partial} must divide channels {channels}")
        width = STEM_MULTIPLIER * channels
        self.large = network == "imagenet"
        if self.large:
            self.stem0 = nn.Sequential(
                nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width // 2),
                nn.ReLU(),
                nn.Conv2d(width // 2, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
            )
            self.stem1 = nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
            )
        else:
            self.stem = nn.Sequential(
                nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
            )
        self.cells = nn.ModuleList()
        before, previous, reduced = width, width, self.large
        for index in range(cells):
            reduction = index in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduction else 1
            self.cells.append(Cell(before, previous, channels, partial, reduction, reduced))
            before, previous, reduced = previous, NUM_NODES * channels, reduction
        self.classifier = nn.Linear(previous, num_classes)

        def start(*shape: int) -> nn.Parameter:
            return nn.Parameter(_ARCHITECTURE_SCALE * torch.randn(*shape, generator=generator))

        self.alphas_normal = start(NUM_EDGES, len(OPERATIONS))
        self.alphas_reduce = start(NUM_EDGES, len(OPERATIONS))
        self.betas_normal = start(NUM_EDGES)
        self.betas_reduce = start(NUM_EDGES)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [N, 3, H, W] to logits [N, num_classes]."""
        normal = self.alphas_normal.softmax(1), normalize_edges(self.betas_normal)
        reduce = self.alphas_reduce.softmax(1), normalize_edges(self.betas_reduce)
        before = self.stem0(images) if self.large else self.stem(images)
        previous = self.stem1(before) if self.large else before
        for cell in self.cells:
            weights = reduce if cell.reduction else normal
            before, previous = previous, cell(before, previous, *weights)
        return self.classifier(previous.mean((2, 3)))

    def architecture_parameters(self) -> list[nn.Parameter]:
        """Return normal and reduction α [14, 8], normal and reduction β [14]."""
        return [self.alphas_normal, self.alphas_reduce, self.betas_normal, self.betas_reduce]

    def weight_parameters(self) -> list[nn.Parameter]:
        """Return all parameters except α and β."""
        architecture = {id(parameter) for parameter in self.architecture_parameters()}
        return [weight for weight in self.parameters() if id(weight) not in architecture]

    def genotype(self) -> Genotype:
        """Derive the genotype of the current α and β."""
        return derive_genotype(*self.architecture_parameters())


class Cell(nn.Module):
    """Two inputs and four nodes, with an edge from every input and earlier node to every node."""

    def __init__(
        self,
        before: int,
        previous: int,
        channels: int,
        partial: int,
        reduction: bool,
        reduced: bool,
    ) -> None:
        """Build a cell; `before`, `previous`: inputs' channels; `reduced`: after a reduction."""
        super().__init__()
        self.reduction = reduction
        self.preprocess0 = (FactorizedReduce if reduced else ReluConvBn)(
            before, channels, affine=False
        )
        self.preprocess1 = ReluConvBn(previous, channels, affine=False)
        self.edges = nn.ModuleList(
            MixedOperation(channels, 2 if reduction and source < NUM_INPUTS else 1, partial)
            for sources in EDGES_PER_NODE
            for source in range(sources)
        )

    def forward(self, before: Tensor, previous: Tensor, alphas: Tensor, betas: Tensor) -> Tensor:
        """Return the concatenated nodes. `alphas` [14, 8] and `betas` [14] are softmaxed."""
        states = [self.preprocess0(before), self.preprocess1(previous)]
        first = 0
        for sources in EDGES_PER_NODE:
            incoming = zip(range(first, first + sources), states, strict=True)
            states.append(
                _total([betas[i] * self.edges[i](state, alphas[i]) for i, state in incoming])
            )
            first += sources
        return torch.cat(states[NUM_INPUTS:], dim=1)


class MixedOperation(nn.Module):
    """One edge: all operations on C/K channels; the rest bypass them (max-pooled at stride 2)."""

    def __init__(self, channels: int, stride: int, partial: int) -> None:
        super().__init__()
        self.stride, self.partial, self.active = stride, partial, channels // partial
        self.operations = nn.ModuleList()
        for name in CANDIDATES:
            operation = build_operation(name, self.active, stride, affine=False)
            if "pool" in name:
                operation = nn.Sequential(operation, nn.BatchNorm2d(self.active, affine=False))
            self.operations.append(operation)

    def forward(self, inputs: Tensor, alphas: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same at stride 1; `alphas` [8] sum to 1, none is unused."""
        active = inputs[:, : self.active]
        mixed = _total(
            [
                alpha * operation(active)
                for alpha, operation in zip(alphas[1:], self.operations, strict=True)
            ]
        )
        if self.partial == 1:
            return mixed
        bypassed = inputs[:, self.active :]
        if self.stride == 2:
            bypassed = F.max_pool2d(bypassed, 2, ceil_mode=True)
        return F.channel_shuffle(torch.cat([mixed, bypassed], dim=1), self.partial)


def _total(terms: list[Tensor]) -> Tensor:
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result
