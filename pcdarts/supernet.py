"""The PC-DARTS supernet (Xu et al. 2020): every operation on every edge, weighted by α and β.

Only the first C/K channels of an edge pass through the operations; the others bypass them and a
channel shuffle mixes the two (Eq. 2). Edges are normalised by softmax(β) over a node (Eq. 3).
All edges that leave one state are computed together (mixed_edges.py), with the same mathematics
as an operation a module: the plain form stands in the tests, which compare the two.
"""

from collections.abc import Sequence

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
from pcdarts.mixed_edges import MixedEdges
from pcdarts.operations import OPERATIONS, FactorizedReduce, ReluConvBn

STEM_MULTIPLIER = 3
# How many edges leave each input and node; the last node's none are left out.
EDGES_PER_SOURCE = tuple(
    sum(source < sources for sources in EDGES_PER_NODE)
    for source in range(NUM_INPUTS + NUM_NODES - 1)
)
_ARCHITECTURE_SCALE = 1e-3  # standard deviation of the first α and β


class Supernet(nn.Module):
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
        # α and β count edges by the node they lead to; a cell takes them by the one they leave.
        sources = torch.cat([torch.arange(sources) for sources in EDGES_PER_NODE])
        self.register_buffer("by_source", sources.argsort(stable=True), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [N, 3, H, W] to logits [N, num_classes]."""
        normal = self._edge_weights(self.alphas_normal, self.betas_normal)
        reduce = self._edge_weights(self.alphas_reduce, self.betas_reduce)
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

    def _edge_weights(
        self, alphas: Tensor, betas: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """For each source of a cell, α·β [edges, 8] and β [edges], softmaxed."""
        betas = normalize_edges(betas)
        weights = alphas.softmax(1) * betas[:, None]
        order = self.get_buffer("by_source")
        return (
            weights[order].split(EDGES_PER_SOURCE),
            betas[order].split(EDGES_PER_SOURCE),
        )


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
        self.reduction, self.partial = reduction, partial
        self.active = channels // partial
        self.preprocess0 = (FactorizedReduce if reduced else ReluConvBn)(
            before, channels, affine=False
        )
        self.preprocess1 = ReluConvBn(previous, channels, affine=False)
        self.sources = nn.ModuleList(
            MixedEdges(self.active, edges, 2 if reduction and source < NUM_INPUTS else 1)
            for source, edges in enumerate(EDGES_PER_SOURCE)
        )

    def forward(
        self, before: Tensor, previous: Tensor, weights: Sequence[Tensor], betas: Sequence[Tensor]
    ) -> Tensor:
        """The nodes, concatenated. For each source, `weights` [edges, 8] are α·β of its edges and
        `betas` [edges] their β, both softmaxed.
        """
        states = [self.preprocess0(before), self.preprocess1(previous)]
        # What has reached each node so far: through the operations, and past them.
        mixed: list[Tensor | None] = [None] * NUM_NODES
        bypassed: list[Tensor | None] = [None] * NUM_NODES
        for source, shares in enumerate(zip(weights, betas, strict=True)):
            self._send(source, states[source], *shares, mixed, bypassed)
            if source > 0:  # all that leads to the next node has been sent
                states.append(self._join(mixed[source - 1], bypassed[source - 1]))
        return torch.cat(states[NUM_INPUTS:], dim=1)

    def _send(
        self,
        source: int,
        state: Tensor,
        weights: Tensor,
        betas: Tensor,
        mixed: list[Tensor | None],
        bypassed: list[Tensor | None],
    ) -> None:
        """Add to every later node what the edges from `source` bring it."""
        first = NUM_NODES - len(betas)  # the first node that this source leads to
        brought = self.sources[source](state[:, : self.active], weights)
        for node, share in enumerate(brought.unbind(1), start=first):
            so_far = mixed[node]
            mixed[node] = share if so_far is None else so_far + share
        if self.partial == 1:
            return
        rest = state[:, self.active :]
        if self.reduction and source < NUM_INPUTS:
            rest = F.max_pool2d(rest, 2, ceil_mode=True)
        for node, beta in enumerate(betas.unbind(), start=first):
            so_far = bypassed[node]
            bypassed[node] = beta * rest if so_far is None else torch.addcmul(so_far, rest, beta)

    def _join(self, mixed: Tensor | None, bypassed: Tensor | None) -> Tensor:
        """A node: both parts, shuffled once, since a shuffle of a sum is the sum of shuffles."""
        assert mixed is not None  # two inputs lead to every node
        if bypassed is None:
            return mixed
        return F.channel_shuffle(torch.cat([mixed, bypassed], dim=1), self.partial)
