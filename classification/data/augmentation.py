"""Colour jitter and random crops of a batch, with factors drawn per image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import torch
from torch import Tensor

NUM_COLOUR_DRAWS = 5  # that an image takes
_ORDERS = tuple(permutations(range(3)))  # of brightness 0, contrast 1, saturation 2
_GRAY = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision rounds it
_TO_LEVELS = 255.999 / 255  # before rounding down, as torchvision turns floats into uint8
_AT_ONCE = {"cpu": 2, "cuda": 128}  # images: what a core's cache holds; what a device can spare


@dataclass(frozen=True)
class ColourJitter:
    """torchvision's ColorJitter, one draw per image, of a batch on its device.

    Factors of brightness, contrast and saturation are uniform in 1 ± `strength`, the turn of the
    hue in ± `hue`, as a share of the full circle. All orders of the operations are as likely.
    """

    strength: float = 0.4
    hue: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return self.strength > 0 or self.hue > 0

    def draw(self, numbers: Sequence[float]) -> tuple[float, ...]:
        """Factors of brightness, contrast, saturation; the number of their order; the hue's turn.

        `numbers` are `NUM_COLOUR_DRAWS` uniform in [0, 1). An order is the number of that of the
        first three, plus 6 for each of them that comes before the hue.
        """
        factors = (1 + self.strength * (2 * u - 1) for u in numbers[:3])
        orders = len(_ORDERS) * (4 if self.hue else 1)
        return *factors, float(int(numbers[3] * orders)), self.hue * (2 * numbers[4] - 1)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Images uint8 [N, 3, H, W] by `draws` float32 [N, 5], rows of `draw`, on the same device.

        Equals torchvision's adjust_brightness, adjust_contrast, adjust_saturation and adjust_hue
        one after the other, each rounding down to uint8. Never waits for the device.
        """
        if not self.changes:
            return images
        number, turn = draws[:, 3].long(), draws[:, 4]
        order = _orders(images.device)[number % len(_ORDERS)]  # [N, 3]
        factors = draws[:, :3].gather(1, order)
        before = number // len(_ORDERS)  # how many operations come before the hue
        result = torch.empty(images.shape, dtype=torch.uint8, device=images.device)
        size = _AT_ONCE.get(images.device.type, len(images))
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            jittered, now = images[part].float(), factors[part]
            if self.hue:
                # One turn of all hues is cheaper than one in each step. So the other operations run
                # both before and after it, once of both with a factor of 1, which changes nothing.
                first = torch.arange(3, device=images.device) < before[part, None]
                jittered = _jitter(jittered, torch.where(first, now, 1), order[part])
                jittered = _turn_hue(jittered, turn[part])
                now = torch.where(first, 1, now)
            result[part] = _jitter(jittered, now, order[part])
        return result


def _jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Brightness, contrast and saturation, in place on float32 images of whole levels."""
    for factor, kind in zip(factors.T, order.T, strict=True):
        factor, kind = factor[:, None, None], kind[:, None, None]
        red, green, blue = images.unbind(1)
        gray = red.mul(_GRAY[0]).add_(green, alpha=_GRAY[1]).add_(blue, alpha=_GRAY[2]).floor_()
        mean = gray.mean((1, 2), keepdim=True)
        # What the image is blended with: black, its mean gray, or its own gray.
        other = gray.mul_(kind == 2).add_(mean * (kind == 1))[:, None]
        images.mul_(factor[:, None]).addcmul_(other, 1 - factor[:, None]).clamp_(0, 255).floor_()
    return images


def _turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Float32 images [N, 3, H, W] of whole levels, their hues turned by `turn` [N] of a circle.

    By way of HSV: a channel is the value less the range of the colour's channels times a
    trapezoid of the hue.
    """
    value, spread = images.amax(1), images.amax(1) - images.amin(1)
    red, green, blue = images.unbind(1)
    sixth = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red, red - green),
    ) / spread.clamp(min=1)
    place = torch.where(value == red, 0, torch.where(value == green, 2, 4))
    hue = sixth + place + 6 * turn[:, None, None]  # of six
    channels = []
    for offset in (5, 3, 1):
        k = (hue + offset).remainder(6)
        channels.append(value - spread * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1).mul_(_TO_LEVELS).floor_()


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
