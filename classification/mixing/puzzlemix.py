"""PuzzleMix (Kim, Choo & Song 2020): salient parts of two images, cut and transported.

"Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup", ICML 2020. The authors'
code (github.com/snu-mllab/PuzzleMix) settles what the paper leaves open; the constants are its
settings for CIFAR-100. An image is a grid of blocks, each of which shows the first image, the
second, or both by halves:

1. The mask minimises an energy: salience that is not shown, less a prior that follows the fraction,
   plus seams between neighbours that differ. The authors approach the minimum image by image, by
   α-β swap on rounded costs; this finds it exactly, by one minimum cut for the whole batch.
2. Within each image, salient patches that the mask hides move to where the image shows.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from classification.mixing.graph_cut import cut_grids
from classification.mixing.mixer import DirichletMixer, Mix, all_to_first
from classification.mixing.saliency import SaliencySource, check_saliency

_LOG2_BLOCKS = (1, 4)  # least and most blocks a side: 2¹ to 2⁴, drawn for each batch
_SMOOTHNESS = 1.2  # β, weight of a seam between different labels, for 1/16 of a block's side
_CONTRAST = 0.5  # γ, weight of the pixels' difference in it; at most 1 keeps costs ≥ 0
_PRIOR = 0.2  # η
_CELL = 4  # pixels a side of what is compared across a seam
_PATCH = 4  # pixels a side of what moves, where that makes at most _PATCHES a side (CIFAR);
_PATCHES = 8  # else whole blocks move, as in the authors' runs on Tiny ImageNet and ImageNet
_DISTANCE = 0.8  # ε, cost of moving by a whole side
_REFUSED = 1.0  # added to the cost of a place that another patch won
_UNITS = 4000  # to which costs are rounded, for the mean salience of a block
_TINY = 1e-8  # keeps the logarithms finite

Grid = tuple[int, int]
"""Blocks down and across."""


class PuzzleMix(DirichletMixer):
    """Two images, each shown where it is salient, labelled by exact pixel shares.

    `saliency` turns (images, labels) into a map [N, H, W]; `pixels` turns images into pixels in
    [0, 255]. The first image's fraction, Beta(α, α), is drawn for each sample (the authors: for the
    batch) and enters the prior only; the number of blocks a side, 2 to 16, for the batch. Blocks
    need not tile the image: their salience is then pooled over areas that may overlap by a pixel,
    and nothing moves. A sample that is its own partner does not change. Float images keep their
    type; uint8 images become float32 in [0, 255], since blocks may show both images by halves.
    """

    capturable = False  # the cut is made on the CPU

    def __init__(
        self,
        saliency: SaliencySource,
        pixels: Callable[[Tensor], Tensor],
        alpha: float = 1.0,
        prob: float = 1.0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(2, alpha, prob, num_classes)
        self.saliency, self.pixels = saliency, pixels

    def _mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        """As `BatchMixer.mix`. Raises ConfigError if the saliency is not a map for each image.

        If no sample is mixed, the saliency is not computed and is None.
        """
        fractions = self._draw_fractions(images, generator)
        partners = self._draw_partners(images, generator)
        size = (images.shape[2], images.shape[3])
        grid = _draw_grid(size, generator)
        second = partners[:, 1]
        stays = (fractions[:, 0] == 1) | (second == partners[:, 0])
        if bool(stays.all()):
            shares = enlarge(all_to_first(fractions)[..., None, None], size)
            return self._show(images, images[second], labels, partners, shares)
        with torch.no_grad():
            saliency = self.saliency(images, labels)
            check_saliency(saliency, images)
            pixels = self.pixels(images).float().div(255).clamp(0, 1)
            salience = salience_by_block(saliency, grid)
            energy = mask_energy(salience, pixels, second, fractions, grid)
            mask = (1 - energy.minimise() / 2).masked_fill(stays[:, None, None], 1)
            shares = torch.stack([mask, 1 - mask], 1)  # [N, 2, rows, columns]
        ours, theirs = images, images[second]
        patches = _patch_grid(size, grid)
        if patches is not None:
            salience = salience_by_block(saliency, patches)
            shown = enlarge(shares, patches) > 0
            ours = move(ours, plan_moves(shown[:, 0], salience), patches)
            theirs = move(theirs, plan_moves(shown[:, 1], salience[second]), patches)
        return self._show(ours, theirs, labels, partners, enlarge(shares, size), saliency)

    def _show(
        self,
        first: Tensor,
        second: Tensor,
        labels: Tensor,
        partners: Tensor,
        shares: Tensor,
        saliency: Tensor | None = None,
    ) -> Mix:
        """The mix of images [N, C, H, W] by `shares` [N, 2, H, W]."""
        dtype = torch.promote_types(first.dtype, torch.float32)
        mixed = torch.lerp(second.to(dtype), first.to(dtype), shares[:, :1].to(dtype))
        if first.is_floating_point():
            mixed = mixed.to(first.dtype)
        weights = shares.mean((2, 3))
        targets = self._targets(labels, partners, weights)
        return Mix(mixed, targets, partners, weights, shares=shares, saliency=saliency)


class Energy(NamedTuple):
    """The cost of a labelling: label i of a block means that i halves show the second image.

    Neighbours i and j cost w·(i - j)²/4, where w is their seam's weight.
    """

    labels: Tensor
    """Cost of each label at each block, [N, rows, columns, 3]."""
    down: Tensor
    """Weights of the seams below the blocks, not negative, [N, rows - 1, columns]."""
    across: Tensor
    """Weights of the seams to the right of the blocks, not negative, [N, rows, columns - 1]."""

    def minimise(self) -> Tensor:
        """Return the labels of least cost, int64 [N, rows, columns], computed on the CPU.

        Costs are rounded to a thousandth of a block's mean salience, or finer.
        """
        units = _UNITS * self.labels[0, ..., 0].numel()
        costs, down, across = (
            (units * part.double()).round().long().cpu().numpy()
            for part in (self.labels, self.down / 4, self.across / 4)
        )
        return torch.from_numpy(cut_grids(costs, down, across)).to(self.labels.device)


def mask_energy(
    salience: Tensor, pixels: Tensor, partners: Tensor, fractions: Tensor, grid: Grid
) -> Energy:
    """Return the energy of the batch's masks (section 4; weighted as in the authors' code).

    `salience` float32 [N, rows, columns] of each image sums to 1; `pixels` float32 [N, C, H, W] are
    in [0, 1]; `partners` int64 [N] give the second images; `fractions` float32 [N, 2].

    A seam between labels i and j costs β(i - j)²/4, and βγ times the difference of the pixels that
    meet there. For integer labels that difference splits exactly into label costs and the seam's
    weight. The weight is at least β(1 - γ), since differences are at most 1.
    """
    rows, columns = grid
    smoothness = _SMOOTHNESS / (16 * (rows * columns) ** 0.5)
    contrast = smoothness * _CONTRAST / 2
    cells = [
        max(1, side // count // _CELL) for side, count in zip(pixels.shape[2:], grid, strict=True)
    ]
    pooled = F.adaptive_avg_pool2d(pixels, (rows * cells[0], columns * cells[1]))
    unshown = torch.stack([salience[partners], salience])  # by the first image, by the second
    weights = []
    for axis in (0, 1):
        ours = pooled if axis == 0 else pooled.mT
        theirs, sides = ours[partners], (cells[axis], cells[1 - axis])
        both_first = _seams(ours, ours, *sides)
        both_second = both_first[partners]
        first_above, second_above = _seams(ours, theirs, *sides), _seams(theirs, ours, *sides)
        cost_first = _above(both_first + first_above) + _below(both_first + second_above)
        cost_second = _above(both_second + second_above) + _below(both_second + first_above)
        costs = contrast * torch.stack([cost_first, cost_second])
        weight = smoothness + contrast * (first_above + second_above - both_first - both_second)
        unshown = unshown + (costs if axis == 0 else costs.mT)
        weights.append(weight if axis == 0 else weight.mT)
    own, other = fractions.T
    binomial = torch.stack([own.square(), 2 * own * other, other.square()], 1)
    prior = -_PRIOR / (rows * columns) * (binomial + _TINY).log()
    labels = torch.stack([unshown[0], unshown.mean(0), unshown[1]], 3) + prior[:, None, None]
    return Energy(labels, *weights)


def plan_moves(shown: Tensor, salience: Tensor) -> Tensor:
    """Return the patch to move to each place of an image, int64 [N, rows · columns].

    `shown` bool and `salience` float32 [N, rows, columns]. Each patch bids for the place with the
    largest shown salience less distance; the best bid wins, and the others bid again with the cost
    of that place raised (Algorithm 1, Masked Transport, with the authors' number of rounds). A
    place without a winner is not shown and keeps its patch. No patch gets two shown places.
    """
    rows, columns = shown.shape[1:]
    device = shown.device
    longest = max(rows, columns)
    down, across = (torch.arange(side, device=device) for side in (rows, columns))
    where = torch.cartesian_prod(down, across).float()  # [P, 2]
    way = (where[:, None] - where).square().sum(2) / max(longest - 1, 1) ** 2
    gain = salience.flatten(1)[:, :, None] * shown.flatten(1)[:, None]
    cost = _DISTANCE * way - gain  # [N, patch, place]
    patches = torch.arange(rows * columns, device=device)
    nobody = len(patches)
    price, wanted = cost.min(2)  # the first of equals
    for _ in range(longest):
        best = torch.full_like(price, torch.inf).scatter_reduce_(1, wanted, price, "amin")
        bidders = torch.where(price == best.gather(1, wanted), patches, nobody)
        winners = torch.full_like(wanted, nobody).scatter_reduce_(1, wanted, bidders, "amin")
        losers = (winners.gather(1, wanted) != patches).nonzero(as_tuple=True)
        if not len(losers[0]):
            break
        cost[*losers, wanted[losers]] += _REFUSED
        price[losers], wanted[losers] = cost[losers].min(1)
    return torch.where(winners == nobody, patches, winners)


def move(images: Tensor, patches: Tensor, grid: Grid) -> Tensor:
    """Cut `images` [N, C, H, W] along `grid`, and place `patches` int64 [N, rows · columns]."""
    rows, columns = grid
    cut = images.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))  # [N, C, rows, h, columns, w]
    pieces = cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # [N, P, C, h, w]
    moved = pieces[torch.arange(len(images), device=images.device)[:, None], patches]
    return moved.unflatten(1, grid).permute(0, 3, 1, 4, 2, 5).reshape(images.shape)


def salience_by_block(saliency: Tensor, grid: Grid) -> Tensor:
    """Return each block's share of an image's saliency [N, H, W], float32 [N, rows, columns].

    All shares are equal if no saliency is above 0, or if one is not finite.
    """
    blocks = F.adaptive_avg_pool2d(saliency.float().clamp(min=0)[:, None], grid)[:, 0]
    total = blocks.sum((1, 2), keepdim=True)
    known = (total > 0) & total.isfinite()
    return torch.where(known, blocks / total, 1 / (grid[0] * grid[1]))


def enlarge(blocks: Tensor, size: Grid) -> Tensor:
    """Put `blocks` [..., rows, columns] on a finer grid: each place has its block's value."""
    for axis, fine in zip((-2, -1), size, strict=True):
        coarse = blocks.shape[axis]
        places = torch.arange(fine, device=blocks.device) * coarse // fine
        blocks = blocks.index_select(axis, places)
    return blocks


def _draw_grid(size: Grid, generator: torch.Generator) -> Grid:
    least, most = _LOG2_BLOCKS
    power = torch.randint(least, most + 1, (), generator=generator, device=generator.device)
    blocks = 2 ** int(power)
    return min(blocks, size[0]), min(blocks, size[1])


def _patch_grid(size: Grid, grid: Grid) -> Grid | None:
    """Return the grid of patches to move: small ones or the blocks; None if blocks do not tile."""
    if any(side % count for side, count in zip(size, grid, strict=True)):
        return None
    fine = size[0] // _PATCH, size[1] // _PATCH
    within = all(side % (count * _PATCH) == 0 for side, count in zip(size, grid, strict=True))
    return fine if within and max(fine) <= _PATCHES else grid


def _seams(upper: Tensor, lower: Tensor, along: int, beside: int) -> Tensor:
    """Return how much cells [N, C, h, w] of `upper` and `lower` differ where blocks meet.

    Blocks are `along` cells high and `beside` wide: [N, h / along - 1, w / beside].
    """
    difference = upper[:, :, along - 1 : -1 : along] - lower[:, :, along::along]
    return difference.abs().mean(1).unflatten(2, (-1, beside)).mean(3)


def _above(seams: Tensor) -> Tensor:
    """Give the seams [N, rows - 1, columns] to the blocks above them, [N, rows, columns]."""
    return F.pad(seams, (0, 0, 0, 1))


def _below(seams: Tensor) -> Tensor:
    return F.pad(seams, (0, 0, 1, 0))
