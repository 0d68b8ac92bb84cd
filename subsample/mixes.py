"""Mixes of an anchor: an image with others whose fractions, boxes and partners are random.

Jeong et al. 2023, Section III-C, which leaves open where the anchor lies and how much it keeps. By
default it is the canvas and keeps a fixed fraction. With `scores.box` there are no other images: a
box of the mean colour hides as much.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from classification.data.transforms import Normalization
from classification.mixing import compose, nest_boxes, sample_fractions
from classification.seeding import make_generator
from subsample.boxes import draw_boxes
from subsample.config import ScoresConfig


@dataclass(frozen=True)
class Mixes:
    """M mixes of each of A anchors, drawn but not composed.

    `sources` int64 [A, M, K] are rows of the training set, the anchor first; `owners` uint8
    [A, M, H, W] are positions in `sources`; `weights` float32 [A, M, K] are shares of the pixels.
    With a box K is 1, and so is the weight; owner 1 is the box.
    """

    sources: Tensor
    owners: Tensor
    weights: Tensor

    def split(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (sources, owners, weights) of at most `size` mixes, anchor by anchor."""
        parts = (self.sources, self.owners, self.weights)
        return zip(*(part.flatten(0, 1).split(size) for part in parts), strict=True)


def draw_mixes(
    anchors: Tensor, images: Tensor, config: ScoresConfig, seed: int, block: int
) -> Mixes:
    """Draw the M mixes of `anchors` int64 [A], rows of `images` [N, C, H, W].

    Fractions are `anchor_fraction`, then (1 - anchor_fraction) · Dir(α, …, α); or Dir(α, …, α) for
    all K. The anchor has the place in the nest that `config.anchor` says. Partners are uniform
    over all other images. With common draws, a partner that is the anchor is replaced by a spare,
    which is drawn once for all anchors. With `config.box`, only the box's place is drawn.
    """
    common, device = config.common_draws, images.device
    generator = make_generator(seed, "scores", *([] if common else [block]), device=device)
    num_images, (height, width) = len(images), images.shape[-2:]
    shape = (1 if common else len(anchors), config.draws, config.num_images - 1)
    canvas = anchors[:, None, None].expand(-1, config.draws, 1)
    if config.box is not None:
        owners = draw_boxes(config, shape[:2], height, width, generator)
        weights = torch.ones(canvas.shape, device=device)
        return Mixes(canvas, owners.expand(len(anchors), -1, -1, -1), weights)

    fractions = _draw_fractions(config, shape, generator)
    nested = _nest_order(config, shape[:2], generator)
    if nested is None:
        boxes = nest_boxes(fractions, height, width, generator)
        owners, weights = boxes.owners(), boxes.weights()
    else:
        boxes = nest_boxes(fractions.gather(-1, nested), height, width, generator)
        places = boxes.owners().long().flatten(-2)
        owners = nested.gather(-1, places).view(*shape[:2], height, width).byte()
        weights = torch.zeros_like(fractions).scatter_(-1, nested, boxes.weights())

    if common:
        shared = torch.randint(num_images, shape, generator=generator, device=device)
        spare = _draw_other(shared, num_images, generator)
        partners = torch.where(shared == canvas, spare, shared)
    else:
        partners = _draw_other(canvas.expand(shape), num_images, generator)
    return Mixes(
        torch.cat([canvas, partners], -1),
        owners.expand(len(anchors), -1, -1, -1),
        weights.expand(len(anchors), -1, -1),
    )


def compose_mixes(
    images: Tensor, sources: Tensor, owners: Tensor, normalization: Normalization
) -> Tensor:
    """Return the mixes [B, C, H, W] of `images` uint8 [N, C, H, W], with `sources` [B, K] and
    `owners` [B, H, W]; a box has the mean colour, which a network sees as nearly 0."""
    if sources.shape[-1] > 1:
        return compose(images, sources, owners)
    mean = torch.tensor(normalization.mean, device=images.device)
    colour = (255 * mean).round().to(images.dtype)[:, None, None]
    return torch.where(owners[:, None] == 1, colour, images[sources[:, 0]])


def _draw_fractions(
    config: ScoresConfig, shape: tuple[int, int, int], generator: torch.Generator
) -> Tensor:
    """Draw [..., K] fractions, the anchor's first; `shape` is that of the K - 1 others."""
    device = generator.device
    if config.fraction == "dirichlet":
        whole = (*shape[:2], config.num_images)
        return sample_fractions(config.alpha, whole, generator, device)
    others = sample_fractions(config.alpha, shape, generator, device)
    kept = others.new_full((*shape[:2], 1), config.anchor_fraction)
    return torch.cat([kept, (1 - config.anchor_fraction) * others], -1)


def _nest_order(
    config: ScoresConfig, shape: tuple[int, int], generator: torch.Generator
) -> Tensor | None:
    """Return which image has each place of the nest, int64 [..., K]; 0 is the anchor.

    None if the anchor is the canvas. The other images keep their order.
    """
    if config.anchor == "canvas":
        return None
    device, places = generator.device, torch.arange(config.num_images, device=generator.device)
    if config.anchor == "patch":
        rank = torch.full((*shape, 1), config.num_images - 1, device=device)
    else:
        rank = torch.randint(config.num_images, (*shape, 1), generator=generator, device=device)
    moved_up = places + (places < rank)
    return torch.where(places == rank, 0, moved_up)


def _draw_other(index: Tensor, num_images: int, generator: torch.Generator) -> Tensor:
    """Draw for each entry of `index` a different row of the training set, uniformly."""
    row = torch.randint(num_images - 1, index.shape, generator=generator, device=index.device)
    return row + (row >= index)  # the rows from `index` on move up by one
