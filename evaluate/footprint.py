"""Bytes that a network needs at inference: of its weights in a file, and of its activations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from classification.seeding import seeded


@dataclass(frozen=True)
class Footprint:
    """Sizes in bytes."""

    float32_bytes: int
    """A safetensors file of the weights, with its header."""
    float16_bytes: int
    """The same with the weights in half precision."""
    peak_activation_bytes: int
    """The largest sum of the image and the tensors that are alive at once, in float32."""


def measure_footprint(build: Callable[[], nn.Module], image_size: int) -> Footprint:
    """Measure the network that `build` returns, for one RGB image of `image_size` pixels a side.

    Activations are counted on the meta device in eval mode, without gradients: after each operation
    its inputs, its outputs and what later operations still need. Memory that an operation allocates
    for itself, such as that of a convolution algorithm, is not counted.
    """
    with seeded(0, "footprint-weights"):
        weights = build().state_dict()
    halves = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    with torch.device("meta"), torch.no_grad():
        network, image = build().eval(), torch.empty(1, 3, image_size, image_size)
        with _LiveMemory(image) as memory:
            network(image)
    return Footprint(len(save(weights)), len(save(halves)), memory.peak)


class _LiveMemory(TorchDispatchMode):
    """Adds up the storages that operations have made and that are still referred to."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self._note(image)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {_key(each) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        for each in tree_leaves(result):
            if isinstance(each, Tensor) and _key(each) not in given:  # neither a view nor in place
                self._note(each)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._alive = {k: kept for k, kept in self._alive.items() if not kept[0].expired()}
        self._alive[_key(tensor)] = StorageWeakRef(storage), storage.nbytes()
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
