"""One box over the scored image, at a chosen place, in place of the other images of its mixes."""

import math

import torch
from torch import Tensor

from classification.errors import ConfigError
from subsample.config import Place, ScoresConfig

_LEAST = 2  # places: with one, all draws would be the same


def box_size(config: ScoresConfig, height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of the box on height×width pixels.

    Each side is the image's times √(1 - `anchor_fraction`), rounded, as the largest box of a mix.
    """
    ratio = math.sqrt(1 - config.anchor_fraction)
    return round(ratio * height), round(ratio * width)


def box_corners(config: ScoresConfig, height: int, width: int) -> Tensor:
    """Return the first row and column at each place that `config.box` allows, int64 [P, 2].

    The middle is the central pixel, in each direction the central two if their number is even.
    `middle` are the places within the image that hide all of it, `edges` those that hide none of
    it, `anywhere` all. In the last two, what exceeds one edge of the image is at the opposite edge,
    so that a box hides as many pixels at every place, and with `anywhere` each pixel equally often.

    Raises ConfigError if there are fewer than two places, or if the box hides nothing or all at
    each of them.
    """
    assert config.box is not None
    sides = box_size(config, height, width)
    if 0 in sides or sides == (height, width):
        raise ConfigError(
            f"scores.box: found a box of {sides[0]}×{sides[1]} pixels on {height}×{width}, the "
            "same at every place; allowed: one that hides a part, by another anchor_fraction"
        )
    hit = [_hits(*each) for each in zip(sides, (height, width), strict=True)]
    places = _allowed(config.box, hit).nonzero()
    if len(places) < _LEAST:
        raise ConfigError(
            f"scores.box: places of a box of {sides[0]}×{sides[1]} pixels on {height}×{width} "
            f"with {config.box}: found {len(places)}; allowed: at least {_LEAST}, by another "
            "anchor_fraction"
        )
    return places


def draw_boxes(
    config: ScoresConfig,
    shape: tuple[int, int],
    height: int,
    width: int,
    generator: torch.Generator,
) -> Tensor:
    """Draw a box for each of `shape` mixes, its place uniform over those allowed; return uint8
    [*shape, height, width]: 1 where it hides the image, else 0."""
    device = generator.device
    corners = box_corners(config, height, width).to(device)
    drawn = torch.randint(len(corners), shape, generator=generator, device=device)
    hidden = [
        (torch.arange(length, device=device) - first[..., None]) % length < side
        for first, side, length in zip(
            corners[drawn].unbind(-1),
            box_size(config, height, width),
            (height, width),
            strict=True,
        )
    ]
    return (hidden[0][..., None] & hidden[1][..., None, :]).byte()


def _hits(side: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of a box of `side` pixels from each of `length` first pixels on: whether it hides all of the
    central ones, whether any, and whether it is within the image; bool [length] each."""
    first = torch.arange(length)
    central = torch.tensor([(length - 1) // 2, length // 2])
    hidden = (central - first[:, None]) % length < side
    return hidden.all(1), hidden.any(1), first + side <= length


def _allowed(place: Place, hits: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Return whether each first row and column is a place of the box, bool [H, W]."""
    (all_rows, any_row, rows_within), (all_columns, any_column, columns_within) = hits
    if place == "middle":
        return (all_rows & rows_within)[:, None] & (all_columns & columns_within)
    if place == "edges":
        return ~(any_row[:, None] & any_column)
    return torch.ones(len(any_row), len(any_column), dtype=torch.bool)
