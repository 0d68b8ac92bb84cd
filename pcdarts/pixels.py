"""Every other pixel of maps, with a gradient that is written once."""

from typing import Any

import torch
from torch import Tensor


def even_and_odd_pixels(maps: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    """Return the pixels of even rows and columns of [N, C, H, W], and those of odd ones.

    H and W are even; both results are [N, C, H/2, W/2]. Only in `training` has the gradient its own
    code: Hessians, of networks in eval mode, need derivatives of every order.
    """
    if training and torch.is_grad_enabled() and maps.requires_grad:
        even, odd = _EvenAndOdd.apply(maps)
        return even, odd
    return maps[:, :, ::2, ::2], maps[:, :, 1::2, 1::2]


class _EvenAndOdd(torch.autograd.Function):
    """Autograd would write, and add up, a gradient of all pixels for each slice."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shape = maps.shape
        layout = torch.channels_last
        even, odd = maps[:, :, ::2, ::2], maps[:, :, 1::2, 1::2]
        return even.clone(memory_format=layout), odd.clone(memory_format=layout)

    @staticmethod
    def backward(ctx: Any, of_even: Tensor, of_odd: Tensor) -> Tensor:
        images, channels, height, width = ctx.shape
        # channels_last
        gradient = of_even.new_zeros(images, height, width, channels).permute(0, 3, 1, 2)
        gradient[:, :, ::2, ::2] = of_even
        gradient[:, :, 1::2, 1::2] = of_odd
        return gradient
