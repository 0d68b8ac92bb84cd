"""Converts a network's input from one normalisation of its images to another."""

from typing import Any

import torch
from torch import Tensor, nn

from classification.data.transforms import Normalization


def adapt_inputs(network: nn.Module, given: Normalization, own: Normalization) -> None:
    """Let `network`, trained on images normalised with `own`, take images normalised with `given`.

    The input x of the first convolution becomes (x·s + m − m') / s', where m and s are the mean and
    deviation of `given`, m' and s' those of `own`. The weights and their names stay as they are.
    """
    if (given.mean, given.std) == (own.mean, own.std):
        return
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    m, s, m_own, s_own = (
        torch.tensor(values, dtype=torch.float64)[:, None, None]
        for values in (given.mean, given.std, own.mean, own.std)
    )
    # Buffers move with the network and are copied with it.
    first.register_buffer("input_scale", (s / s_own).float(), persistent=False)
    first.register_buffer("input_shift", ((m - m_own) / s_own).float(), persistent=False)
    first.register_forward_pre_hook(_convert)


def _convert(first: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
    (images,) = inputs
    scale, shift = first.get_buffer("input_scale"), first.get_buffer("input_shift")
    converted = torch.addcmul(shift, images.float(), scale)
    return (converted.to(images.dtype),)
