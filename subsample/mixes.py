"""Fixed-anchor mixes: each image is the canvas and keeps a fixed fraction of it.

Jeong et al. 2023, Section III-C. The other fractions, the boxes and the partners are random.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from classification.mixing import nest_boxes, sample_fractions
from classification.seeding import make_generator
from subsample.config import ScoresConfig


@dataclass(frozen=True)
class Mixes:
    """M mixes of each of A anchors, drawn but not composed.

    `sources` int64 [A, M, K] are rows of the training set, the anchor first; `owners` uint8
    [A, M, H, W] are positions in `sources`; `weights` float32 [A, M, K] are shares of the pixels.
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

    Fractions are `anchor_fraction`, then (1 - anchor_fraction) · Dir(α, …, α). Partners are
    uniform over all other images. With common draws, a partner that is the anchor is replaced by a
    spare, which is drawn once for all anchors.
    """
    common, device = config.common_draws, images.device
    generator = make_generator(seed, "scores", *([] if common else [block]), device=device)
    num_images, (height, width) = len(images), images.shape[-2:]
    shape = (1 if common else len(anchors), config.draws, config.num_images - 1)

    others = sample_fractions(config.alpha, shape, generator, device)
    kept = others.new_full((*shape[:2], 1), config.anchor_fraction)
    fractions = torch.cat([kept, (1 - config.anchor_fraction) * others], -1)
    boxes = nest_boxes(fractions, height, width, generator)

    canvas = anchors[:, None, None].expand(-1, config.draws, 1)
    if common:
        shared = torch.randint(num_images, shape, generator=generator, device=device)
        spare = _draw_other(shared, num_images, generator)
        partners = torch.where(shared == canvas, spare, shared)
    else:
        partners = _draw_other(canvas.expand(shape), num_images, generator)
    return Mixes(
        torch.cat([canvas, partners], -1),
        boxes.owners().expand(len(anchors), -1, -1, -1),
        boxes.weights().expand(len(anchors), -1, -1),
    )


def _draw_other(index: Tensor, num_images: int, generator: torch.Generator) -> Tensor:
    """Draw for each entry of `index` a different row of the training set, uniformly."""
    row = torch.randint(num_images - 1, index.shape, generator=generator, device=index.device)
    return row + (row >= index)  # the rows from `index` on move up by one
