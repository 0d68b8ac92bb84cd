"""The PC-DARTS supernet (Xu et al. 2020): every operation on every edge, weighted by α and β.

Only the first C/K channels of an edge pass through the operations; the others bypass them and a
channel shuffle mixes the two (Eq. 2). Edges are normalised by softmax(β) over a node (Eq. 3).
The plain form, an operation a module, that reads like the paper: what tests and benchmarks compare
the merged supernet with.
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

    `channels` are those of the first cell, doubled at each reduction; one in `partial` (K) passes
    through the operations. α and β start at 1e-3·N(0, 1), drawn from `generator` (a CPU one).
    Raises ValueError if `partial` does not divide `channels`.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int = 16,
        cells: int = 8,
        partial: int = 4,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if channels % partial:
            raise ValueError(f"partial {partial} must divide channels {channels}")
        width = STEM_MULTIPLIER * channels
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        self.cells = nn.ModuleList()
        before, previous, reduced = width, width, False
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
        """Normalised images [N, 3, H, W] to logits [N, num_classes]."""
        normal = self.alphas_normal.softmax(1), normalize_edges(self.betas_normal)
        reduce = self.alphas_reduce.softmax(1), normalize_edges(self.betas_reduce)
        before = previous = self.stem(images)
        for cell in self.cells:
            weights = reduce if cell.reduction else normal
            before, previous = previous, cell(before, previous, *weights)
        return self.classifier(previous.mean((2, 3)))

    def architecture_parameters(self) -> list[nn.Parameter]:
        """α and β: normal and reduction α [14, 8], normal and reduction β [14]."""
        return [self.alphas_normal, self.alphas_reduce, self.betas_normal, self.betas_reduce]

    def weight_parameters(self) -> list[nn.Parameter]:
        """All that is not α or β."""
        architecture = {id(parameter) for parameter in self.architecture_parameters()}
        return [weight for weight in self.parameters() if id(weight) not in architecture]

    def genotype(self) -> Genotype:
        """What α and β now stand for."""
        return derive_genotype(*self.architecture_parameters())


class Cell(nn.Module):
    """Two inputs, four nodes, an edge from every input and earlier node to every node."""

    def __init__(
        self,
        before: int,
        previous: int,
        channels: int,
        partial: int,
        reduction: bool,
        reduced: bool,
    ) -> None:
        """`before` and `previous` are the inputs' channels; `reduced`: the last cell was one."""
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
        """The nodes, concatenated. `alphas` [14, 8] and `betas` [14] are softmaxed."""
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
    """One edge: all operations on C/K channels, the rest bypassed (max-pooled at stride 2)."""

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
        """[N, C, H, W] to the same at stride 1; `alphas` [8] sum to 1, that of none unused."""
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


def merge(plain: dict[str, Tensor], cells: int) -> dict[str, Tensor]:
    """A plain supernet's state, or its gradients, under the merged one's names."""
    merged = {
        key: value
        for key, value in plain.items()
        if ".edges." not in key and not key.startswith("edges.")
    }
    for cell in range(cells):
        for source in range(NUM_INPUTS + NUM_NODES - 1):
            places = [
                sum(EDGES_PER_NODE[:node]) + source
                for node in range(NUM_NODES)
                if source < EDGES_PER_NODE[node]
            ]
            edges = [f"cells.{cell}.edges.{place}.operations" for place in places]
            names = _merged_names(f"{edges[0]}.2.even.weight" in plain)
            for name, (parts, over_edges) in names.items():
                tensors = [
                    plain[f"{edge}.{part}"]
                    for part in parts
                    for edge in (edges if over_edges else edges[:1])
                ]
                scalar = tensors[0].ndim == 0  # BatchNorm's count of batches
                joined = tensors[0] if scalar else torch.cat(tensors)
                merged[f"cells.{cell}.sources.{source}.{name}"] = joined
    return merged


def _merged_names(reducing: bool) -> dict[str, tuple[list[str], bool]]:
    """Merged name → the plain operations' tensors it joins, and whether over all edges.

    Operations 0 to 6 are max pool, avg pool, skip, sep 3×3, sep 5×5, dil 3×3, dil 5×5.
    """
    names: dict[str, tuple[list[str], bool]] = {
        "separable.0.weight": (["3.1.weight"], True),
        "separable.1.weight": (["4.1.weight"], True),
        "separable_pointwise.weight": (["3.2.weight", "4.2.weight"], True),
        "separable_again.0.weight": (["3.5.weight"], True),
        "separable_again.1.weight": (["4.5.weight"], True),
        "dilated.0.weight": (["5.1.weight"], True),
        "dilated.1.weight": (["6.1.weight"], True),
        "pointwise.weight": (["3.6.weight", "4.6.weight", "5.2.weight", "6.2.weight"], True),
    }
    norms = {
        "separable_norm": (["3.3", "4.3"], True),
        "norm": (["3.7", "4.7", "5.3", "6.3"], True),
        "pool_norm": (["0.1", "1.1"], False),
    }
    if reducing:
        names["even.weight"] = (["2.even.weight"], True)
        names["odd.weight"] = (["2.odd.weight"], True)
        norms["skip_norm"] = (["2.norm"], True)
    for norm, (parts, over_edges) in norms.items():
        for kind in ("running_mean", "running_var", "num_batches_tracked"):
            names[f"{norm}.{kind}"] = ([f"{part}.{kind}" for part in parts], over_edges)
    return names
