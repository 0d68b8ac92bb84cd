"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019), drawn for each sample."""

import torch
from torch import Tensor

from classification.data.transforms import cutout
from classification.errors import ConfigError
from classification.mixing.boxes import Boxes
from classification.mixing.dirichlet import DMixup
from classification.mixing.mixer import BatchMixer, DirichletMixer, Mix


class Mixup(DMixup):
    """Weighted sums of two images, the weight drawn from Beta(α, α): DMixup with K = 2."""

    def __init__(
        self, alpha: float = 1.0, prob: float = 1.0, num_classes: int | None = None
    ) -> None:
        super().__init__(2, alpha, prob, num_classes)


class CutMix(DirichletMixer):
    """A patch of one image on another, labelled by the patch's exact area (Yun et al. 2019).

    The patch has √(1 - λ) of the image's sides, λ from Beta(α, α); its centre is any pixel, and
    the part outside the image is clipped. Images keep their type.
    """

    def __init__(
        self, alpha: float = 1.0, prob: float = 1.0, num_classes: int | None = None
    ) -> None:
        super().__init__(2, alpha, prob, num_classes)

    def _mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        fractions = self._draw_fractions(images, generator)
        height, width = images.shape[2:]
        boxes = centred_boxes(fractions, height, width, generator)
        partners = self._draw_partners(images, generator)
        weights = boxes.weights()
        targets = self._targets(labels, partners, weights)
        return Mix(boxes.compose(images, partners), targets, partners, weights, boxes=boxes)


def centred_boxes(fractions: Tensor, height: int, width: int, generator: torch.Generator) -> Boxes:
    """Draw CutMix's box for `fractions` float32 [..., 2] of canvas and patch, as Boxes of K = 2.

    Sides and half sides are rounded down, as in the authors' code, so before clipping both sides
    are even.
    """
    ratio = fractions[..., 1].sqrt()
    axes = []
    for length in (height, width):
        half = (ratio * length).long() // 2
        centre = torch.randint(length, ratio.shape, generator=generator, device=ratio.device)
        start, end = (centre - half).clamp(min=0), (centre + half).clamp(max=length)
        canvas = torch.zeros_like(start)
        axes.append(
            (torch.stack([canvas, start], -1), torch.stack([canvas + length, end - start], -1))
        )
    (top, rows), (left, columns) = axes
    return Boxes(torch.stack([top, left]), torch.stack([rows, columns]), height, width)


class Cutout(BatchMixer):
    """Blanks a square of `side` pixels, centred anywhere and clipped; the label does not change.

    Blank is 0: the mean, where images are normalised. Images keep their type.
    Raises ConfigError if `side` is not above 0.
    """

    def __init__(self, side: int, prob: float = 1.0, num_classes: int | None = None) -> None:
        super().__init__(prob, num_classes)
        if side < 1:
            raise ConfigError(f"mixing.side: found {side}; allowed: 1 pixel or more")
        self.side = side

    def _mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        """As `BatchMixer.mix`; each image is its only partner."""
        blanked = cutout(images, self.side, generator)
        if self.prob < 1:
            mixed = torch.rand((), generator=generator, device=images.device) < self.prob
            blanked = torch.where(mixed, blanked, images)
        partners = torch.arange(len(images), device=images.device)[:, None]
        weights = torch.ones(partners.shape, device=images.device)
        return Mix(blanked, self._targets(labels, partners, weights), partners, weights)
