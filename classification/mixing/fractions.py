"""Proportions of a mix: the symmetric Dirichlet distribution."""

import torch
from torch import Tensor


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
    gamma = torch._standard_gamma(
        torch.full(shape, alpha + 1.0, device=device), generator=generator
    )
    log_uniform = torch.rand(shape, generator=generator, device=device).neg_().log1p_()  # finite
    return gamma.log_().add_(log_uniform, alpha=1 / alpha).softmax(0).movedim(0, -1)
