"""The PC-DARTS supernet in its plain form: a module for each operation of each edge.

It reads like the paper (Xu et al. 2020, Eq. 2 and 3): what tests and benchmarks compare the merged
cells with. Stem, stack, α and β are `Supernet`'s.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcdarts.genotype import EDGES_PER_NODE, NUM_INPUTS, normalize_edges
from pcdarts.operations import CANDIDATES, FactorizedReduce, ReluConvBn, build_operation
from pcdarts.supernet import Supernet


class PlainSupernet(Supernet):
    """As `Supernet`, of plain cells."""

    _memory_format = torch.contiguous_format

    def _make_cell(self, *arguments: Any) -> nn.Module:
        return Cell(*arguments)

    def _edge_weights(self, alphas: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """α [14, 8] and β [14], softmaxed."""
        return alphas.softmax(1), normalize_edges(betas)


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
