"""The very mixes under which an image was scored, drawn and scored again, to be looked at."""

import torch
from torch import Tensor, nn

from classification.mixing import compose
from classification.trainer import evaluating
from classification.transforms import Normalization
from subsample.mixes import Mixes, draw_mixes
from subsample.scores_config import ScoresConfig
from subsample.uncertainty import anchors_in_block, score_mixes


def redraw_mixes(index: int, images: Tensor, config: ScoresConfig, seed: int) -> Mixes:
    """The M mixes of image `index` that `measure_losses` drew: [1, M, …], on the images' device.

    A generator draws otherwise on a GPU than on a CPU, so these are the same mixes only where
    `images` [N, C, H, W] lie on the kind of device that they were scored on.
    """
    block, place = divmod(index, anchors_in_block(config))
    start = index - place
    end = min(start + anchors_in_block(config), len(images))
    anchors = torch.arange(start, end, device=images.device)
    mixes = draw_mixes(anchors, images, config, seed, block)
    one = slice(place, place + 1)
    return Mixes(mixes.sources[one], mixes.owners[one], mixes.weights[one])


def mixed_images(mixes: Mixes, images: Tensor) -> Tensor:
    """What the mixes of one image look like, uint8 [M, C, H, W]."""
    return compose(images, mixes.sources[0], mixes.owners[0])


def losses_of(
    mixes: Mixes,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    normalization: Normalization,
    config: ScoresConfig,
) -> Tensor:
    """Losses of the mixes as they were measured, float32 [A, M], nats."""
    with evaluating(model):
        return score_mixes(model, images, labels, num_classes, normalization, config, mixes)
