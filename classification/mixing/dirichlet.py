"""DMixup and DCutMix: mixes of K images in Dirichlet proportions (Jeong et al. 2023)."""

from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from classification.mixing.boxes import nest_boxes
from classification.mixing.mixer import BatchMixer, draw_partners


class DMixup(BatchMixer):
    """Weighted sums of K images, and of their labels (Jeong et al. 2023, Eq. 2).

    The sums are taken in float32 at least. Float images keep their type; uint8 images become
    float32 in [0, 255], since rounding the sums would no longer be a mix in these proportions.
    """

    def __call__(
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """As `Mixer.__call__`."""
        size, device = len(images), images.device
        fractions = sample_fractions(self.alpha, (size, self.num_images), generator, device)
        fractions = self._only_first_if_unmixed(fractions, generator)
        partners = draw_partners(size, self.num_images, generator, device)
        targets = self._targets(labels, partners, fractions)
        pixels = images.to(torch.promote_types(images.dtype, torch.float32)).flatten(1)
        # A bag is a sample, its members are the partners: no copy of the batch for each of them.
        mixed = F.embedding_bag(
            partners, pixels, mode="sum", per_sample_weights=fractions.to(pixels.dtype)
        )
        dtype = images.dtype if images.is_floating_point() else mixed.dtype
        return mixed.to(dtype).view(images.shape), targets


class DCutMix(BatchMixer):
    """K images in nested boxes, labelled by exact pixel shares (Eq. 3-5, Algorithm 1).

    Image 1 is the canvas and image k+1 fills box k, which lies inside box k-1. Algorithm 1 loses
    the last patch's label when K = 2 (lines 21-28); here it has its weight for every K. Images
    keep their type.
    """

    @overload
    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        return_owners: Literal[False] = False,
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        return_owners: Literal[True],
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        return_owners: bool = False,
    ) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        """As `Mixer.__call__`; with `return_owners` also which image, 0 … K-1, shows where.

        The owner map is uint8 [N, H, W].
        """
        (size, _, height, width), device = images.shape, images.device
        fractions = sample_fractions(self.alpha, (size, self.num_images), generator, device)
        fractions = self._only_first_if_unmixed(fractions, generator)
        boxes = nest_boxes(fractions, height, width, generator)
        partners = draw_partners(size, self.num_images, generator, device)
        targets = self._targets(labels, partners, boxes.weights())
        mixed = boxes.compose(images, partners)
        return (mixed, targets, boxes.owners()) if return_owners else (mixed, targets)


def sample_fractions(
    alpha: float,
    shape: tuple[int, ...],
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draws of the symmetric Dirichlet distribution over the last axis, float32 `shape`.

    Computed from the logarithms of Gamma(α) draws, Gamma(α) = Gamma(α + 1) · U^(1/α) (Marsaglia &
    Tsang 2000, section 6), so that small α neither underflows nor divides zero by zero.
    """
    *batch, num_images = shape
    # The images come first in memory: many small softmaxes run faster across than along rows.
    shape = (num_images, *batch)
    gamma = torch._standard_gamma(torch.full(shape, alpha + 1, device=device), generator=generator)
    log_uniform = torch.rand(shape, generator=generator, device=device).neg_().log1p_()  # finite
    return gamma.log_().add_(log_uniform, alpha=1 / alpha).softmax(0).movedim(0, -1)
