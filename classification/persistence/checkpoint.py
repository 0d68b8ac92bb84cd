"""Checkpoints: nested tensors and plain values in one checksummed file, without pickle.

The file is a safetensors file. Tensors of one type are concatenated, so that a thousand small ones
are copied from a device at once. The header metadata holds the nesting as JSON, with each tensor
as (type, offset, shape), and the SHA-256 of that JSON and of all bytes.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from classification.errors import ArtifactError
from classification.persistence.storage import write_atomically

State = dict[str, Any]
_TENSOR, _ITEMS, _TUPLE = "__tensor__", "__items__", "__tuple__"


def save_checkpoint(path: Path, state: State) -> None:
    """Write `state` (dicts, lists, tuples, tensors, JSON values) to `path`, atomically.

    A dict's keys are all strings or all integers. A tensor's device and strides are not stored.
    """
    piles: dict[str, _Pile] = {}
    tree = json.dumps(_pack(state, piles), sort_keys=True)
    tensors = {kind: torch.cat(pile.tensors).cpu() for kind, pile in piles.items()}
    metadata = {"tree": tree, "sha256": _digest(tree, tensors)}
    write_atomically(path, _in_order(save(tensors, metadata)))


def load_checkpoint(path: Path) -> State:
    """Read what `save_checkpoint` wrote, tensors on the CPU.

    Raises ArtifactError if the file is missing, damaged or not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        tree = metadata["tree"]
        if metadata["sha256"] != _digest(tree, tensors):
            raise ArtifactError(f"{path}: checksum differs; the file is damaged")
        state = _unpack(json.loads(tree), tensors)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ArtifactError(f"{path}: not a readable checkpoint ({error})") from error
    if not isinstance(state, dict):
        raise ArtifactError(f"{path}: not a checkpoint (expected a mapping)")
    return state


class _Pile:
    """Tensors of one type and device, to be concatenated."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.length = 0

    def add(self, tensor: Tensor) -> int:
        """Append `tensor` and return its offset."""
        offset = self.length
        self.tensors.append(tensor.detach().reshape(-1))
        self.length += tensor.numel()
        return offset


def _pack(value: Any, piles: dict[str, _Pile]) -> Any:
    if isinstance(value, Tensor):
        kind = f"{value.dtype} {value.device}"
        offset = piles.setdefault(kind, _Pile()).add(value)
        return {_TENSOR: [kind, offset, list(value.shape)]}
    if isinstance(value, dict):
        # Sorted, so that equal states give equal bytes.
        items = {key: _pack(value[key], piles) for key in sorted(value)}
        if all(isinstance(key, str) for key in items):
            return items
        return {_ITEMS: [[key, item] for key, item in items.items()]}
    if isinstance(value, list | tuple):
        packed = [_pack(item, piles) for item in value]
        return {_TUPLE: packed} if isinstance(value, tuple) else packed
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_TENSOR}:
        kind, offset, shape = value[_TENSOR]
        end = offset + math.prod(shape)
        return tensors[kind][offset:end].view(shape).clone()
    if set(value) == {_TUPLE}:
        return tuple(_unpack(item, tensors) for item in value[_TUPLE])
    if set(value) == {_ITEMS}:
        return {key: _unpack(item, tensors) for key, item in value[_ITEMS]}
    return {key: _unpack(item, tensors) for key, item in value.items()}


def _in_order(content: bytes) -> bytes:
    """Sort the header's keys of a safetensors file, so that equal states give equal bytes.

    The library's order of metadata varies between processes and calls.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the format's alignment
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(content)[end:]])


def _digest(tree: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].view(torch.uint8).numpy().data)
    return digest.hexdigest()
