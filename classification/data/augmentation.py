"""Colour jitter and random crops of a batch, with factors drawn per image."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations

import torch
from torch import Tensor

# Of brightness, contrast and saturation each; the DARTS family's ImageNet recipe adds hue 0.2.
STRENGTH = 0.4
NUM_COLOUR_DRAWS = 4  # that an image takes
_ORDERS = tuple(permutations(range(3)))  # of brightness 0, contrast 1, saturation 2
_GRAY = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision rounds it
_AT_ONCE = {"cpu": 2, "cuda": 128}  # images: what a core's cache holds; what a device can spare


def draw_colours(numbers: Sequence[float]) -> tuple[float, float, float, float]:
    """Factors of brightness, contrast and saturation, and the number of their order.

    `numbers` are uniform in [0, 1).
    """
    brightness, contrast, saturation = (1 + STRENGTH * (2 * u - 1) for u in numbers[:3])
    return brightness, contrast, saturation, float(int(numbers[3] * len(_ORDERS)))


def jitter_colours(images: Tensor, draws: Tensor) -> Tensor:
    """Images uint8 [N, 3, H, W] by `draws` float32 [N, 4], rows of `draw`, on the same device.

    Equals torchvision's adjust_brightness, adjust_contrast and adjust_saturation one after the
    other, each rounding down to uint8. Never waits for the device.
    """
    order = _orders(images.device)[draws[:, 3].long()]  # [N, 3]
    factors = draws[:, :3].gather(1, order)
    result = torch.empty(images.shape, dtype=torch.uint8, device=images.device)
    size = _AT_ONCE.get(images.device.type, len(images))
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        result[part] = _jitter(images[part].float(), factors[part], order[part])
    return result


def _jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """The three steps, in place on float32 images."""
    for factor, kind in zip(factors.T, order.T, strict=True):
        factor, kind = factor[:, None, None], kind[:, None, None]
        red, green, blue = images.unbind(1)
        gray = red.mul(_GRAY[0]).add_(green, alpha=_GRAY[1]).add_(blue, alpha=_GRAY[2]).floor_()
        mean = gray.mean((1, 2), keepdim=True)
        # What the image is blended with: black, its mean gray, or its own gray.
        other = gray.mul_(kind == 2).add_(mean * (kind == 1))[:, None]
        images.mul_(factor[:, None]).addcmul_(other, 1 - factor[:, None]).clamp_(0, 255).floor_()
    return images


@lru_cache(maxsize=8)
def _orders(device: torch.device) -> Tensor:
    """All orders, int64 [6, 3]; kept, since making it would halt a CUDA stream every batch."""
    return torch.tensor(_ORDERS, device=device)


_TRIES = 10
_AREA = (0.08, 1.0)  # of the image
_LOG_RATIO = (math.log(3 / 4), math.log(4 / 3))  # width over height
NUM_CROP_DRAWS = 4 * _TRIES  # that a box takes

Box = tuple[int, int, int, int]


def random_box(size: tuple[int, int], numbers: Sequence[float]) -> Box:
    """(left, top, width, height), pixels, inside an image of `size` (width, height).

    `numbers` are uniform in [0, 1). Of ten boxes of random area and shape the first that fits is
    taken, else the largest in the middle whose shape is allowed, as torchvision does.
    """
    width, height = size
    for start in range(0, NUM_CROP_DRAWS, 4):
        area, ratio, x, y = numbers[start : start + 4]
        pixels = width * height * _between(_AREA, area)
        shape = math.exp(_between(_LOG_RATIO, ratio))
        across, down = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
        if 0 < across <= width and 0 < down <= height:
            return int(x * (width - across + 1)), int(y * (height - down + 1)), across, down
    low, high = map(math.exp, _LOG_RATIO)
    across = min(width, max(1, round(height * high)))
    down = min(height, max(1, round(width / low)))
    return (width - across) // 2, (height - down) // 2, across, down


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + share * (limits[1] - limits[0])
