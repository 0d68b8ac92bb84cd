"""Nested boxes: which image shows at which pixel (Jeong et al. 2023, Eq. 4-5, Algorithm 1)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Boxes:
    """K nested boxes B_0 ⊃ … ⊃ B_{K-1}, in pixels; image k+1 fills B_k, so image 1 is the canvas.

    `corner` and `size` are int64 [2, ..., K], their first dimension being (vertical, horizontal);
    K's index 0 is B_0, the whole canvas. A box with a side of 0 is empty, as are those in it.
    """

    corner: Tensor
    size: Tensor
    canvas_height: int
    canvas_width: int

    @property
    def top(self) -> Tensor:
        """First row of each box, int64 [..., K]."""
        return self.corner[0]

    @property
    def left(self) -> Tensor:
        """First column of each box, int64 [..., K]."""
        return self.corner[1]

    @property
    def height(self) -> Tensor:
        """Number of rows of each box, int64 [..., K]."""
        return self.size[0]

    @property
    def width(self) -> Tensor:
        """Number of columns of each box, int64 [..., K]."""
        return self.size[1]

    def owners(self) -> Tensor:
        """Position 0 … K-1 of the image that shows at each pixel, uint8 [..., H, W].

        Since the boxes nest, it is also the number of B_1 … B_{K-1} that hold the pixel.
        """
        rows, columns = self._depths()
        return torch.minimum(rows.byte()[..., None], columns.byte()[..., None, :])

    def weights(self) -> Tensor:
        """Share of the pixels at which each image shows, float32 [..., K], counted exactly."""
        area = self.size[0] * self.size[1]
        ring = area.clone()
        ring[..., :-1] -= area[..., 1:]
        return ring / (self.canvas_height * self.canvas_width)

    def compose(self, images: Tensor, sources: Tensor) -> Tensor:
        """The same as `compose(images, sources, self.owners())`, but faster.

        A pixel depends on its row only through the row's depth, so one line of pixel addresses is
        computed per depth, and each row picks the line of its depth.
        """
        num_images, width, device = sources.shape[-1], self.canvas_width, sources.device
        rows, columns = self._depths()
        depths = torch.arange(num_images, device=device)[:, None]
        owners = torch.minimum(depths, columns[..., None, :])  # [..., K, W]
        starts = sources * images[0].numel()
        lines = starts.gather(-1, owners.flatten(-2)).view(-1, width)  # [... · K, W]
        lines += torch.arange(width, device=device)
        first = torch.arange(0, len(lines), num_images, device=device)
        picks = (rows.reshape(len(first), -1) + first[:, None]).view(-1)
        addresses = lines.index_select(0, picks).view(*rows.shape, width)
        return _gather(images, addresses)

    def _depths(self) -> tuple[Tensor, Tensor]:
        """Count the B_1 … B_{K-1} spanning each row, int64 [..., H], and each column, [..., W].

        The boxes nest, so the smaller of the two is the number of boxes that hold the pixel.
        """
        *batch, num_images = self.size.shape
        places = max(self.canvas_height, self.canvas_width) + 1
        change = self.size.new_zeros(*batch, places)
        edges = torch.cat([self.corner, self.corner + self.size], -1)
        step = torch.ones_like(edges)
        step[..., num_images:] = -1
        rows, columns = change.scatter_add_(-1, edges, step).cumsum(-1) - 1  # less B_0
        return rows[..., : self.canvas_height], columns[..., : self.canvas_width]


def nest_boxes(fractions: Tensor, height: int, width: int, generator: torch.Generator) -> Boxes:
    """Draw boxes whose areas follow `fractions` float32 [..., K] on height×width pixels.

    A corner is uniform over the places, both ends included, at which the box is inside its parent
    (Eq. 5; lines 17-18 of Algorithm 1 are misprinted), so boxes are never clipped.
    """
    size = _nest_sizes(fractions, height, width)
    places = size[..., :-1] - size[..., 1:] + 1
    # A float32 share below 1 of an integer below 2²⁴ never rounds up to that integer.
    share = torch.rand(places.shape, generator=generator, device=fractions.device)
    shift = share * places
    # Summed as integers: CUDA has no deterministic cumulative sum of floats.
    corner = F.pad(shift.long(), (1, 0)).cumsum(-1)
    return Boxes(corner, size.long(), height, width)


def centre_boxes(fractions: Tensor, saliency: Tensor, sources: Tensor) -> Boxes:
    """Return boxes of the sizes of `nest_boxes`, each centred on the most salient pixel.

    `fractions` float32 [N, K]; `saliency` [S, H, W]; `sources` int64 [N, K] are rows of it. The
    pixel is the most salient one (the first of equals) of the box's image inside the parent; the
    box is then shifted into the parent.
    """
    height, width = saliency.shape[1:]
    size = _nest_sizes(fractions, height, width).long()
    rows, columns = (torch.arange(side, device=saliency.device) for side in (height, width))
    corner = torch.zeros_like(size)
    for k in range(1, sources.shape[1]):
        (top, left), (tall, wide) = corner[..., k - 1, None], size[..., k - 1, None]
        above_or_below = (rows < top) | (rows >= top + tall)  # [N, H]
        beside = (columns < left) | (columns >= left + wide)  # [N, W]
        outside = above_or_below[:, :, None] | beside[:, None]
        peak = saliency[sources[:, k]].masked_fill_(outside, -torch.inf).flatten(1).argmax(1)
        centre = torch.stack([peak // width, peak % width])
        parent_corner, parent_size = corner[..., k - 1], size[..., k - 1]
        last = parent_corner + parent_size - size[..., k]
        corner[..., k] = torch.clamp(centre - size[..., k] // 2, parent_corner, last)
    return Boxes(corner, size, height, width)


def compose(images: Tensor, sources: Tensor, owners: Tensor) -> Tensor:
    """Return mixed images [..., C, H, W], each pixel from the same place of the image it shows.

    `images` [S, C, H, W] of any type; `sources` int64 [..., K] are rows of `images`; `owners`
    [..., H, W] are positions in `sources`. `images` is not copied if it is contiguous.
    """
    starts = sources * images[0].numel()
    addresses = starts.gather(-1, owners.long().flatten(-2)).view(owners.shape)
    return _gather(images, addresses + torch.arange(images.shape[-1], device=images.device))


def _nest_sizes(fractions: Tensor, height: int, width: int) -> Tensor:
    """Return heights and widths of the boxes, integers in float32 [2, ..., K] (Eq. 4).

    Each side is its parent's times √(R_k / R_{k-1}), rounded, where R_k is the mass of the images
    inside B_k: what Algorithm 1's √(1 - v) is before its divisions lose precision.
    """
    last, *earlier = reversed(fractions.unbind(-1))
    masses = [last]  # R_{K-1} … R_0
    for fraction in earlier:
        masses.append(masses[-1] + fraction)
    mass = torch.stack(masses)
    ratios = (mass[:-1] / mass[1:]).sqrt_().nan_to_num_(0.0)
    side = torch.stack([torch.full_like(last, side) for side in (height, width)])
    sides = [side]
    for ratio in reversed(ratios.unbind()):
        side = (side * ratio).round_()
        sides.append(side)
    return torch.stack(sides, -1)


def _gather(images: Tensor, addresses: Tensor) -> Tensor:
    """Return images whose pixel (c, h, w) is that (c·H + h)·W after `addresses`[..., h, w]."""
    channels, height, width = images.shape[1:]
    lines = channels * height
    shape = (*addresses.shape[:-2], channels, height, width)
    addresses = addresses.view(-1, 1, height, width)
    if images.requires_grad:  # the view below would need a gradient for each of its elements
        line = torch.arange(0, lines * width, width, device=images.device)
        return images.reshape(-1)[addresses + line.view(channels, height, 1)].view(shape)
    # One address serves all channels and rows: they read through views that begin lines later.
    reach = images.numel() - (lines - 1) * width
    views = images.reshape(-1).unfold(0, reach, width).view(1, channels, height, reach)
    addresses = addresses.expand(-1, channels, -1, -1)
    return views.expand(len(addresses), -1, -1, -1).gather(3, addresses).view(shape)
