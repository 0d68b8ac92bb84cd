"""Parameters and multiply-adds of a network.

Convolutions and matrix products (the classifier) are counted, for one image. Normalisation,
activations and pooling are not, so published figures with another convention differ slightly:
Jeong et al. 2023, Table 6, prints 597 M for a genotype that counts 581.6 M here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from classification.errors import ConfigError

MOBILE_MULTIPLY_ADDS = 600e6
"""Limit of the mobile setting at 224×224 (Liu et al. 2019, DARTS)."""

_AUXILIARY = "auxiliary"
_IMAGE_CHANNELS = 3


@dataclass(frozen=True)
class Complexity:
    """Size of a network at inference, without its auxiliary head."""

    parameters: int
    auxiliary_parameters: int
    """Parameters of the training-only auxiliary head, not part of `parameters`."""
    multiply_adds: int
    """For one image: half the number of floating-point operations."""


def measure_complexity(build: Callable[[], nn.Module], image_size: int) -> Complexity:
    """Measure the network that `build` returns on RGB images of `image_size` × `image_size` pixels.

    The network is built and run on the meta device, in eval mode, so no memory is allocated.
    Submodules whose names start with "auxiliary" count as the auxiliary head.
    Raises ConfigError if the images are too small for the network's reductions.
    """
    with torch.device("meta"), torch.no_grad():
        network = build().eval()
        images = torch.empty(1, _IMAGE_CHANNELS, image_size, image_size)
        counter = FlopCounterMode(display=False)
        try:
            with counter:
                network(images)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"image_size: {image_size} does not fit the network ({reason})"
            ) from error

    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    auxiliary = sum(size for name, size in sizes.items() if _is_auxiliary(name))
    operations = counter.get_total_flops() - _auxiliary_operations(counter)
    return Complexity(
        parameters=sum(sizes.values()) - auxiliary,
        auxiliary_parameters=auxiliary,
        multiply_adds=operations // 2,
    )


def complexity_warning(complexity: Complexity, limit: float = MOBILE_MULTIPLY_ADDS) -> str | None:
    """Return a one-line warning if the network exceeds `limit` multiply-adds, else None."""
    if complexity.multiply_adds <= limit:
        return None
    return (
        f"{complexity.multiply_adds / 1e6:.1f} M multiply-adds exceed "
        f"the {limit / 1e6:.0f} M of the mobile setting"
    )


def _is_auxiliary(name: str) -> bool:
    return any(part.startswith(_AUXILIARY) for part in name.split("."))


def _auxiliary_operations(counter: FlopCounterMode) -> int:
    """Count the floating-point operations of the outermost auxiliary modules."""
    total = 0
    for name, counts in counter.get_flop_counts().items():
        # A module's count includes its children; the first part of a name is the network's class.
        parent, _, last = name.partition(".")[2].rpartition(".")
        if last.startswith(_AUXILIARY) and not _is_auxiliary(parent):
            total += sum(counts.values())
    return total
