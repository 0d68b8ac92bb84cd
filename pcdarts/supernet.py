"""PC-DARTS supernet (Xu et al. 2020): every operation on every edge, weighted by α and β.

Only the first C/K channels of an edge pass through the operations; the others bypass them and a
channel shuffle mixes the two (Eq. 2). Edges are normalised by softmax(β) over a node (Eq. 3).
All edges that leave one state are computed together (mixed_edges.py), with the same mathematics as
the plain form with one module per operation, with which the tests compare it.
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
from pcdarts.mixed_edges import MixedEdges, ReluReduction, Size, to_maps, to_pixels
from pcdarts.network_kind import NetworkKind
from pcdarts.operations import OPERATIONS, STEM_MULTIPLIER, ReluConvBn, cifar_stem, imagenet_stem

# Groups of edges computed together, by their sources, and the number of target nodes: both inputs,
# then every node except the last.
SOURCES = ((NUM_INPUTS, NUM_NODES), *((1, NUM_NODES - node) for node in range(1, NUM_NODES)))
_ARCHITECTURE_SCALE = 1e-3  # standard deviation of the first α and β


class Supernet(nn.Module):
    """A stem, `cells` cells with reductions at one and two thirds of the depth, a classifier.

    `channels` are those of the first cell, doubled at each reduction; 1/`partial` of them (K) pass
    through the operations. α and β start at 1e-3·N(0, 1), drawn from `generator` on the CPU.
    `network` selects the stem, as for found networks: at full size, or 224 px to 28 px.
    Raises ValueError if `partial` does not divide `channels`.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int = 16,
        cells: int = 8,
        partial: int = 4,
        generator: torch.Generator | None = None,
        network: NetworkKind = "cifar",
    ) -> None:
        super().__init__()
        if channels % partial:
            raise ValueError(f"partial {partial} must divide channels {channels}")
        width = STEM_MULTIPLIER * channels
        self.network = network
        if network == "cifar":
            self.stem = cifar_stem(width)
        else:
            self.stem0, self.stem1 = imagenet_stem(width)
        self.cells = nn.ModuleList()
        # The first of the ImageNet stem's two states is twice the size of the second.
        before, previous, reduced = width, width, network == "imagenet"
        for index in range(cells):
            reduction = index in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduction else 1
            self.cells.append(SearchCell(before, previous, channels, partial, reduction, reduced))
            before, previous, reduced = previous, NUM_NODES * channels, reduction
        self.classifier = nn.Linear(previous, num_classes)

        def start(*shape: int) -> nn.Parameter:
            return nn.Parameter(_ARCHITECTURE_SCALE * torch.randn(*shape, generator=generator))

        self.alphas_normal = start(NUM_EDGES, len(OPERATIONS))
        self.alphas_reduce = start(NUM_EDGES, len(OPERATIONS))
        self.betas_normal = start(NUM_EDGES)
        self.betas_reduce = start(NUM_EDGES)
        # α and β are ordered by the target node of an edge; a cell uses them by source.
        sources = torch.cat([torch.arange(sources) for sources in EDGES_PER_NODE])
        self.register_buffer("by_source", sources.argsort(stable=True), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [N, 3, H, W] to logits [N, num_classes]."""
        normal = self._edge_weights(self.alphas_normal, self.betas_normal)
        reduce = self._edge_weights(self.alphas_reduce, self.betas_reduce)
        # Depthwise convolutions with few channels are several times faster in channels_last.
        images = images.contiguous(memory_format=torch.channels_last)
        before, previous = self._stem_states(images)
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

    def _stem_states(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first cell's two inputs, in channels_last like `images`."""
        if self.network == "cifar":
            state = self.stem(images)
            return state, state
        state = self.stem0(images)
        return state, self.stem1(state)

    def _edge_weights(self, alphas: Tensor, betas: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return, for each of SOURCES, α·β [8, states, nodes] and β [states, nodes], softmaxed."""
        betas = normalize_edges(betas)
        order = self.get_buffer("by_source")
        weights = (alphas.softmax(1) * betas[:, None])[order].t().contiguous()
        counts = [states * nodes for states, nodes in SOURCES]
        return (
            [
                share.unflatten(1, source)
                for share, source in zip(weights.split(counts, 1), SOURCES, strict=True)
            ],
            [
                share.unflatten(0, source)
                for share, source in zip(betas[order].split(counts), SOURCES, strict=True)
            ],
        )


class SearchCell(nn.Module):
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
        """Build a cell. `before` and `previous`: the inputs' channels; `reduced`: sizes differ."""
        super().__init__()
        self.reduction = reduction
        self.active = channels // partial
        self.bypassed = channels - self.active
        self.preprocess0 = (
            ReluReduction(before, channels, states=1, nodes=1)
            if reduced
            else ReluConvBn(before, channels, affine=False)
        )
        self.preprocess1 = ReluConvBn(previous, channels, affine=False)
        self.sources = nn.ModuleList(
            MixedEdges(self.active, states, nodes, 2 if reduction and states > 1 else 1)
            for states, nodes in SOURCES
        )
        self.register_buffer("identity", torch.eye(self.bypassed), persistent=False)
        # Row i gives the position of channel i after the shuffle.
        channel = torch.eye(channels)[:, :, None, None]
        self.register_buffer(
            "shuffle", F.channel_shuffle(channel, partial).flatten(1), persistent=False
        )

    def forward(
        self, before: Tensor, previous: Tensor, weights: Sequence[Tensor], betas: Sequence[Tensor]
    ) -> Tensor:
        """Return the concatenated nodes. For each source, `weights` [8, states, nodes] are α·β of
        its edges and `betas` [states, nodes] their β, both softmaxed.
        """
        inputs = [self.preprocess0(before), self.preprocess1(previous)]
        images, _, *sides = inputs[1].shape
        size = images, *sides
        halved = images, *((side + 1) // 2 for side in sides)
        state = [
            torch.cat(parts, 1)
            for parts in zip(*(self._split(to_pixels(maps)) for maps in inputs), strict=True)
        ]
        nodes: list[Tensor] = []
        arrived: list[Tensor] = []  # partial sums at later nodes, [pixels, nodes · channels]
        for source, (shares, bypass) in enumerate(zip(weights, betas, strict=True)):
            sent = self._send(source, state, size, shares, bypass)
            arrived = [a + b for a, b in zip(arrived, sent, strict=True)] if nodes else sent
            size = halved if self.reduction else size
            # All inputs of the next node are complete.
            widths = [values.shape[1] // bypass.shape[1] for values in arrived]
            ends = [
                values.split([width, values.shape[1] - width], 1)
                for values, width in zip(arrived, widths, strict=True)
            ]
            nodes.append(self._join([end[0] for end in ends]))
            arrived = [end[1] for end in ends]
            state = self._split(nodes[-1])
        return to_maps(torch.cat(nodes, 1), size)

    def _split(self, state: Tensor) -> list[Tensor]:
        """Return the channels that pass through the operations, and those that bypass them."""
        return list(state.split([self.active, self.bypassed], 1)) if self.bypassed else [state]

    def _send(
        self, source: int, state: list[Tensor], size: Size, weights: Tensor, betas: Tensor
    ) -> list[Tensor]:
        """Return the contribution of `state` to all later nodes: mixed and, if any, bypassing."""
        active, *bypassing = state
        sent = [self.sources[source](active, size, weights)]
        for rest in bypassing:
            if self.reduction and source == 0:
                rest = to_pixels(F.max_pool2d(to_maps(rest, size), 2, ceil_mode=True))
            sent.append(rest @ torch.kron(betas, self.get_buffer("identity")))
        return sent

    def _join(self, parts: list[Tensor]) -> Tensor:
        """Join a node's parts and shuffle once: the shuffle of a sum is the sum of shuffles."""
        mixed, *bypassing = parts
        if not bypassing:
            return mixed
        to_mixed, to_bypassed = self.get_buffer("shuffle").split([self.active, self.bypassed])
        return torch.addmm(mixed @ to_mixed, bypassing[0], to_bypassed)
