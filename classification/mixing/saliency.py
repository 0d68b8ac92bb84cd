"""Saliency maps: from the image alone (Montabone & Soto 2010), and from gradients.

Fine-grained static saliency: Montabone & Soto 2010, "Human detection using a mobile platform and
novel features derived from a visual saliency mechanism": how much brighter and darker a pixel is
than the mean of its surroundings, at six scales, from one integral image.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classification.acceleration import Precision, autocast
from classification.data.transforms import Normalization
from classification.errors import ConfigError

SaliencySource = Callable[[Tensor, Tensor], Tensor]
"""(images [N, C, H, W], labels) to a map [N, H, W] of floats, the higher the more salient."""

_REACHES = (12, 24, 48, 28, 56, 112)  # pixels from the centre to either side, by scale
_LUMA = (9798, 19235, 3735)  # of red, green and blue, in parts of 2¹⁵ (ITU-R BT.601)


def fine_grained_saliency(images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Fine-grained saliency of the images, whole levels 0 … 255 in float32 [..., H, W].

    `images` [..., C, H, W] are pixels in [0, 255], uint8 or float, of one channel or of red, green
    and blue. `labels` are not used. Where an image's gray levels sum to at most 2²³ (as any 181×181
    do), equals OpenCV's StaticSaliencyFineGrained times 255 bit for bit, unless the sum of both
    polarities passes 255: there it wraps around, and this stays at 255. OpenCV's integral image is
    float32, which rounds sums above 2²⁴. The sums here are exact, so in larger images some pixels
    differ, most of them by one level. An even image is salient nowhere.
    Raises ConfigError if `images` has fewer than three dimensions, or other channels.
    """
    if images.ndim < 3 or images.shape[-3] not in (1, 3):
        raise ConfigError(
            f"mixing.saliency: found images of shape {tuple(images.shape)}; "
            "allowed: three dimensions or more, [..., C, H, W], with 1 or 3 channels"
        )
    gray = _blur(_blur(_to_gray(images)))
    bright, dark = _contrasts(gray)
    # As the reference rounds: quotients in float32, their multiples in float64, cut to integers.
    levels = [_stretch(polarity) for polarity in (bright, dark)]
    return (levels[0] + levels[1]).clamp_(max=255).float()


class PixelSaliency:
    """Fine-grained saliency of images that are already normalised: a SaliencySource."""

    def __init__(self, normalization: Normalization) -> None:
        self.normalization = normalization

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Normalised images [N, 3, H, W] to float32 [N, H, W]."""
        return fine_grained_saliency(self.normalization.invert(images))


class GradientSaliency:
    """How much the loss moves with each pixel: a SaliencySource.

    The root mean square over the channels of the gradient of the model's cross-entropy, taken in
    eval mode and in `precision`; the model's mode and gradients stay as they were (Kim et al. 2020,
    Puzzle Mix, section 3).
    """

    def __init__(self, model: nn.Module, precision: Precision = "fp32") -> None:
        self.model, self.precision = model, precision

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Normalised images [N, C, H, W] and labels to float32 [N, H, W]."""
        was_training = self.model.training
        self.model.eval()
        with torch.enable_grad():
            inputs = images.detach().requires_grad_()
            with autocast(self.precision, images.device):
                output = self.model(inputs)
            logits = output[0] if isinstance(output, tuple) else output
            loss = F.cross_entropy(logits.float(), labels)
            (gradient,) = torch.autograd.grad(loss, inputs)
        self.model.train(was_training)
        return gradient.float().square().mean(1).sqrt()


def check_saliency(saliency: Tensor, images: Tensor) -> None:
    """Raise ConfigError unless `saliency` is a map [N, H, W] for `images` [N, C, H, W]."""
    expected = (len(images), *images.shape[2:])
    if saliency.shape != expected:
        raise ConfigError(
            f"mixing.saliency: found a map of shape {tuple(saliency.shape)}; "
            f"allowed: three dimensions, [N, H, W], here {expected}"
        )


def _to_gray(images: Tensor) -> Tensor:
    """Luma, int32 [..., H, W] in 0 … 255."""
    pixels = images.round() if images.is_floating_point() else images
    pixels = pixels.clamp(0, 255).int()
    if images.shape[-3] == 1:
        return pixels.squeeze(-3)
    red, green, blue = pixels.unbind(-3)
    return (red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2] + (1 << 14)) >> 15


def _blur(gray: Tensor) -> Tensor:
    """Binomial 3×3 smoothing, mirrored at the border without repeating it, rounded."""
    for axis in (-2, -1):
        before, after = (_shifted(gray, step, axis) for step in (-1, 1))
        gray = before + 2 * gray + after
    return (gray + 8) >> 4


def _shifted(gray: Tensor, step: int, axis: int) -> Tensor:
    side = gray.shape[axis]
    places = torch.arange(side, device=gray.device) + step
    mirrored = (side - 1 - (side - 1 - places.abs()).abs()).clamp(min=0)
    return gray.index_select(axis, mirrored)


def _contrasts(gray: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over the scales of how much brighter and darker each pixel is, whole, [..., H, W]."""
    integral = F.pad(gray, (1, 0, 1, 0)).cumsum(-1, dtype=torch.int32)
    integral = integral.cumsum(-2, dtype=torch.int32)  # [..., H + 1, W + 1]
    bright = torch.zeros_like(gray)
    dark = torch.zeros_like(gray)
    longest = max(gray.shape[-2:])
    reaches = [min(reach, longest) for reach in _REACHES]  # from there on all see the whole image
    for reach in set(reaches):
        difference = gray - _surroundings(integral, gray, reach)
        scales = reaches.count(reach)
        bright += scales * difference.int().clamp_(min=0)
        dark += scales * (-difference).int().clamp_(min=0)
    return bright, dark


def _surroundings(integral: Tensor, gray: Tensor, reach: int) -> Tensor:
    """Mean of the pixels around each one, itself left out, float32 [..., H, W].

    From `reach` - 1 pixels before it to `reach` after it, as far as the image goes.
    """
    sums, counts = integral, []
    for axis in (-2, -1):
        side = gray.shape[axis]
        places = torch.arange(side, device=gray.device)
        first, last = (places - reach + 1).clamp(min=0), (places + reach + 1).clamp(max=side)
        sums = sums.index_select(axis, last) - sums.index_select(axis, first)
        counts.append(last - first)
    others = counts[0][:, None] * counts[1] - 1
    # An image of one pixel has no surroundings that it could differ from.
    return torch.where(others > 0, (sums - gray).float() / others, gray)


def _stretch(contrast: Tensor) -> Tensor:
    """`contrast` [..., H, W] in whole levels, its maximum at 255; int32."""
    highest = contrast.amax((-2, -1), keepdim=True).clamp(min=1)
    return (255 * (contrast.float() / highest.float()).double()).int()
