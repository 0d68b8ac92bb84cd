"""Random directions in weight space, normalised filter by filter.

The output of a network with ReLU and BatchNorm does not change if a filter is scaled, so steps of
equal length are not comparable between networks. Li et al. 2018 (Visualizing the Loss Landscape of
Neural Nets, section 4) therefore scale a random direction filter by filter to the norms of the
network's filters. A filter is the weights of one output of a convolution or linear layer. As in
their code, random directions are zero for biases and BatchNorm's scales and shifts.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from evaluate.landscape.config import NoiseScale

Weights = Mapping[str, Tensor]

_SMALLEST = 1e-10  # as in the code of Li et al.: avoids division by the norm of a zero filter


def random_direction(weights: Weights, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw a Gaussian direction in which every filter has the norm of the network's filter.

    `generator` is a CPU generator, so that the result does not depend on the device. Every tensor
    has the shape, type and device of the weight of its name.
    """
    direction = {}
    for name, drawn in _gaussian(weights, generator).items():
        norms = _filter_norms(weights[name])
        direction[name] = drawn * (norms / (_filter_norms(drawn) + _SMALLEST))
    return _completed(direction, weights)


def gaussian_noise(
    weights: Weights, generator: torch.Generator, scale: NoiseScale
) -> dict[str, Tensor]:
    """Draw Gaussian noise for all filters, to be multiplied by σ and added to the weights.

    With scale "filter" an entry is N(0, r²), r the root mean square of its filter's weights: the
    norm of the noise at σ = 0.1 is on average a tenth of the filter's. With "absolute" it is
    N(0, 1) (Zhang et al. 2018, Deep Mutual Learning).
    """
    noise = _gaussian(weights, generator)
    if scale == "filter":
        for name, drawn in noise.items():
            entries = weights[name][0].numel()
            noise[name] = drawn * (_filter_norms(weights[name]) / math.sqrt(entries))
    return _completed(noise, weights)


def eigenvector_direction(vector: Tensor, weights: Weights) -> dict[str, Tensor]:
    """Scale an eigenvector [P], over all weights in their order, to the norm of a random direction.

    It is scaled as one vector: scaled filter by filter it would not be an eigenvector. Its largest
    entry is made positive, because the sign from the solver is arbitrary.
    """
    length = math.sqrt(sum(float(w.norm()) ** 2 for w in weights.values() if w.ndim > 1))
    sign = 1.0 if vector[vector.abs().argmax()] >= 0 else -1.0
    scaled = vector * (sign * length / max(float(vector.norm()), _SMALLEST))
    parts = scaled.split([weight.numel() for weight in weights.values()])
    return {
        name: part.view(weight.shape).to(weight)
        for part, (name, weight) in zip(parts, weights.items(), strict=True)
    }


def moved(weights: Weights, *steps: tuple[float, Weights]) -> dict[str, Tensor]:
    """Return the weights plus each size times its direction, in new tensors."""
    result = dict(weights)
    for size, direction in steps:
        result = {name: weight + size * direction[name] for name, weight in result.items()}
    return result


def _gaussian(weights: Weights, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw N(0, 1) for every weight that has filters."""
    return {
        name: torch.randn(weight.shape, generator=generator, dtype=weight.dtype).to(weight.device)
        for name, weight in weights.items()
        if weight.ndim > 1
    }


def _completed(direction: Weights, weights: Weights) -> dict[str, Tensor]:
    """Return the direction over all weights, with zeros for missing ones."""
    return {
        name: direction[name] if name in direction else torch.zeros_like(weight)
        for name, weight in weights.items()
    }


def _filter_norms(weight: Tensor) -> Tensor:
    """Return the norms [F, 1, …] of the filters of a weight [F, …]."""
    return weight.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1))
