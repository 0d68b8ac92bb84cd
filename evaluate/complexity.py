"""Parameters and multiply-adds of a network.

There are two conventions for the multiply-adds of an image. `multiply_adds` are those of the
convolutions and matrix products (the classifier), products with the zeros of a padding included;
budgets and warnings refer to them. `all_multiply_adds` adds two for each element that a BatchNorm
normalises and one for each of a ReLU. That gives the figures of Xu et al. 2020: 586 M for the
genotype of PC-DARTS searched on CIFAR-10, which counts 571.1 M without them, and 597 M for the one
searched on ImageNet, which counts 581.6 M.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
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
    """For one image, of convolutions and classifier: half their floating-point operations."""
    elementwise: int = 0
    """For one image: two per element of a BatchNorm, one per element of a ReLU."""

    @property
    def all_multiply_adds(self) -> int:
        """Multiply-adds with those of normalisation and activations."""
        return self.multiply_adds + self.elementwise

    def __str__(self) -> str:
        return (
            f"{self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds of "
            f"convolutions and classifier ({self.all_multiply_adds:,} with normalisation and "
            "activations)"
        )


def measure_complexity(build: Callable[[], nn.Module], image_size: int) -> Complexity:
    """Measure the network that `build` returns on RGB images of `image_size` × `image_size` pixels.

    The network is built and run on the meta device, in eval mode, so no memory is allocated.
    Submodules whose names start with "auxiliary" count as the auxiliary head.
    Raises ConfigError if the images are too small for the network's reductions.
    """
    with torch.device("meta"), torch.no_grad():
        network = build().eval()
        images = torch.empty(1, _IMAGE_CHANNELS, image_size, image_size)
        counter, elementwise = FlopCounterMode(display=False), _ElementwiseCounter()
        try:
            with counter, elementwise:
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
        elementwise=elementwise.total,
    )


def complexity_warning(complexity: Complexity, limit: float = MOBILE_MULTIPLY_ADDS) -> str | None:
    """Return a one-line warning if the network exceeds `limit` multiply-adds, else None."""
    if complexity.multiply_adds <= limit:
        return None
    return (
        f"{complexity.multiply_adds / 1e6:.1f} M multiply-adds of convolutions and classifier "
        f"exceed the {limit / 1e6:.0f} M of the mobile setting"
    )


class _ElementwiseCounter(TorchDispatchMode):
    """Counts the multiply-adds of BatchNorms and ReLUs, which torch's counter leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        aten = torch.ops.aten
        self._counted = {aten.native_batch_norm: 2, aten.relu: 1, aten.relu_: 1}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        per_element = self._counted.get(func.overloadpacket, 0)
        self.total += per_element * args[0].numel() if per_element else 0
        return func(*args, **(kwargs or {}))


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
