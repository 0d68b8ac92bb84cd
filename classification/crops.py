"""The box of a random resized crop (Szegedy et al. 2015), from numbers drawn beforehand."""

import math
from collections.abc import Sequence

_TRIES = 10
_AREA = (0.08, 1.0)  # of the image
_LOG_RATIO = (math.log(3 / 4), math.log(4 / 3))  # width over height
NUMBERS = 4 * _TRIES  # that a box takes

Box = tuple[int, int, int, int]


def random_box(size: tuple[int, int], numbers: Sequence[float]) -> Box:
    """(left, top, width, height), pixels, inside an image of `size` (width, height).

    `numbers` are uniform in [0, 1). Of ten boxes of random area and shape the first that fits is
    taken, else the largest in the middle whose shape is allowed, as torchvision does.
    """
    width, height = size
    for start in range(0, NUMBERS, 4):
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
