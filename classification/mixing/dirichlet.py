"""DMixup and DCutMix: mixes of K images in Dirichlet proportions (Jeong et al. 2023)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from classification.mixing.boxes import Boxes, centre_boxes, nest_boxes
from classification.mixing.mixer import DirichletMixer, Mix
from classification.mixing.saliency import SaliencySource, check_saliency, fine_grained_saliency


class DMixup(DirichletMixer):
    """Weighted sums of K images, and of their labels (Jeong et al. 2023, Eq. 2).

    The sums are taken in float32 at least. Float images keep their type; uint8 images become
    float32 in [0, 255], since rounding the sums would no longer be a mix in these proportions.
    """

    def _mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        fractions = self._draw_fractions(images, generator)
        partners = self._draw_partners(images, generator)
        targets = self._targets(labels, partners, fractions)
        return Mix(add_up(images, partners, fractions), targets, partners, fractions)


class DCutMix(DirichletMixer):
    """K images in nested boxes, labelled by exact pixel shares (Eq. 3-5, Algorithm 1).

    Image 1 is the canvas and image k+1 fills box k, inside box k-1. Algorithm 1 loses the last
    patch's label when K = 2 (lines 21-28); here it counts for every K. Images keep their type.
    """

    def _mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        fractions = self._draw_fractions(images, generator)
        height, width = images.shape[2:]
        boxes = nest_boxes(fractions, height, width, generator)
        partners = self._draw_partners(images, generator)
        return self._cut(images, labels, partners, boxes)

    def _cut(
        self,
        images: Tensor,
        labels: Tensor,
        partners: Tensor,
        boxes: Boxes,
        saliency: Tensor | None = None,
    ) -> Mix:
        weights = boxes.weights()
        targets = self._targets(labels, partners, weights)
        mixed = boxes.compose(images, partners)
        return Mix(mixed, targets, partners, weights, boxes=boxes, saliency=saliency)


class SaliencyDCutMix(DCutMix):
    """DCutMix with each box centred on the most salient pixel of its image.

    Sizes are DCutMix's; the pixel is chosen inside the parent, and the box is then shifted, not
    clipped, into the parent. The patch is cut from the same place of its image, as in Algorithm 1.
    (Jeong et al. 2023, section IV-A.2; the centre after SaliencyMix, Uddin et al. 2021.)
    `saliency` turns (images, labels) into a map [N, H, W]; the default takes pixels in [0, 255].
    """

    def __init__(
        self,
        num_images: int,
        alpha: float,
        prob: float = 1.0,
        num_classes: int | None = None,
        saliency: SaliencySource = fine_grained_saliency,
    ) -> None:
        super().__init__(num_images, alpha, prob, num_classes)
        self.saliency = saliency

    def _mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        """As `BatchMixer.mix`. Raises ConfigError if the saliency is not a map for each image."""
        fractions = self._draw_fractions(images, generator)
        partners = self._draw_partners(images, generator)
        saliency = self.saliency(images, labels)
        check_saliency(saliency, images)
        boxes = centre_boxes(fractions, saliency, partners)
        return self._cut(images, labels, partners, boxes, saliency)


def add_up(images: Tensor, partners: Tensor, fractions: Tensor) -> Tensor:
    """Return Σ_k fractions[n, k] · images[partners[n, k]], [N, ...]; types as `DMixup` states."""
    pixels = images.to(torch.promote_types(images.dtype, torch.float32)).flatten(1)
    # A bag is a sample, its members are the partners, so the batch is not copied per partner.
    mixed = F.embedding_bag(
        partners, pixels, mode="sum", per_sample_weights=fractions.to(pixels.dtype)
    )
    return mixed.to(images.dtype if images.is_floating_point() else mixed.dtype).view(images.shape)
